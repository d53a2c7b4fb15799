"""Put a finished run into the package and measure it: `python -m training.card mini-adm runs/mini-adm`.

card.json beside the weights holds what was measured, and README.md says it. The order matters: mini-features,
mini-clip and mini-autoencoder serve the others and come first.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode
from torchvision.utils import save_image

import taba_utils as taba
from taba_utils.denoiser import Denoiser
from taba_utils.fashion import load_fashion, to_model_range
from taba_utils.judges import MiniFeatures
from taba_utils.models import mini
from taba_utils.models.mini_clip import tokenize
from training import measures, networks
from training.card_text import GENERATORS, NUM_GRID, write_text
from training.measures import NUM_ERRORS

GUIDANCE = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.card", description=__doc__)
    parser.add_argument("model", choices=[*MEASURED, *GENERATORS])
    parser.add_argument("folder", type=Path, help="of the run, with its folder export")
    given = parser.parse_args()
    target = mini.WEIGHTS / given.folder.name
    for stale in target.glob("step_*.safetensors"):  # another run may have kept other steps
        stale.unlink()
    shutil.copytree(given.folder / "export", target, dirs_exist_ok=True)
    for path in target.iterdir():
        path.chmod(0o644)
    *_, weights = sorted(
        (given.folder / "export").glob("*.safetensors")
    )  # the last step, if there are several
    measured = MEASURED[given.model](target) if given.model in MEASURED else generator(given.model, target)
    card = {"model": given.model, "training": training(weights)} | measured
    (target / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(write_text(target))


def features(target: Path) -> dict[str, Any]:
    """Accuracy on the test split; the features of real training images go with the weights."""
    judge, data = MiniFeatures(), load_fashion("test")
    real = judge.features(load_fashion("train").images[:10_000].float() / 255)
    save_file({"features": real.half()}, target / "real.safetensors")
    sure = judge.probabilities(data.images.float() / 255).amax(dim=1) > 0.9
    return {
        "parameters": networks.num_parameters(judge.network),
        "accuracy": measures.recognised(data.images.float() / 255, data.labels),
        "confident": measures.share(sure),
    }


def clip(target: Path) -> dict[str, Any]:
    """Retrieval of the right caption on the test split."""
    model, data = mini.load_mini_clip(), load_fashion("test")
    captions = [data.caption(i) for i in range(len(data))]
    with torch.inference_mode():
        images = [model.encode_image(to_model_range(part), normalize=True) for part in data.images.split(32)]
        texts = [
            model.encode_text(tokenize(captions[i : i + 32]), normalize=True)
            for i in range(0, len(captions), 32)
        ]
    share = measures.retrieval([a @ b.T for a, b in zip(images, texts, strict=True)], captions)
    return {"parameters": networks.num_parameters(model), "retrieval": share}


def autoencoder(target: Path) -> dict[str, Any]:
    """Reconstruction of test images."""
    model, test = mini.load_mini_autoencoder(), measures.held_out()
    again = model.decode(model.encode(test * 2 - 1))
    psnr, ssim = measures.reconstruction(test, (again.clamp(-1, 1) + 1) / 2)
    return {
        "parameters": networks.num_parameters(model.network),
        "scaling_factor": model.scaling_factor,
        "PSNR": psnr,
        "SSIM": ssim,
    }


def generator(name: str, target: Path) -> dict[str, Any]:
    """What a diffusion model's samples are like, and how well it predicts the noise of real images."""
    denoiser = taba.load_model(name, source=target)
    samples = {"samples": measures.draw_samples(denoiser)}
    if denoiser.sample_condition(1):
        guided = taba.load_model(name, source=target, guidance_scale=GUIDANCE)
        samples = {
            "samples, w = 1": samples["samples"],
            f"samples, w = {GUIDANCE:g}": measures.draw_samples(guided),
        }
    first = next(iter(samples.values()))
    save_image(first.pixels[:NUM_GRID], target / "samples.png", nrow=10)
    sets = {
        label: measures.quality(drawn.pixels)
        | (measures.obedience(drawn.pixels, drawn.condition) if drawn.condition else {})
        for label, drawn in samples.items()
    }
    return {
        "parameters": networks.num_parameters(network_of(denoiser)),
        "GFLOP": cost(denoiser),
        "milliseconds": 1000 * first.seconds,
        "threads": torch.get_num_threads(),
        "sets": sets | {"real test images": measures.quality(measures.held_out())},
        "errors": errors(denoiser),
    }


def errors(denoiser: Denoiser, n: int = NUM_ERRORS) -> dict[int, float]:
    """Mean squared error of ε on test images, by level."""
    data = load_fashion("test")
    images = denoiser.encode(to_model_range(data.images[:n]).to(denoiser.device)).cpu()
    drawn = denoiser.sample_condition(1)
    named = (
        [data.caption(i) for i in range(n)]
        if drawn and isinstance(drawn[0], str)
        else data.labels[:n].tolist()
    )
    return measures.noise_errors(denoiser, images, named if drawn else None)


def network_of(denoiser: Denoiser) -> torch.nn.Module:
    """The denoising network of an embedded model."""
    return getattr(denoiser, "transformer", None) or getattr(denoiser, "unet")  # noqa: B009


def cost(denoiser: Denoiser) -> float:
    """GFLOP of an evaluation of one image; a multiplication and an addition count as two."""
    noise, condition = denoiser.sample_noise(1), denoiser.sample_condition(1)
    with FlopCounterMode(display=False) as flops, torch.inference_mode():
        denoiser.predict_noise(noise, torch.tensor(1.0), condition)
    return flops.get_total_flops() / 1e9


def training(weights: Path) -> dict[str, str]:
    """What the run wrote into its weights about itself."""
    with safe_open(weights, "pt") as file:
        facts = file.metadata()
    return {name: facts[name] for name in ("steps", "batch_size", "seed", "seconds", "device")}


MEASURED = {"mini-features": features, "mini-clip": clip, "mini-autoencoder": autoencoder}


if __name__ == "__main__":
    main()
