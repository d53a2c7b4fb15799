"""Put a finished run into the package, measure it, write its card: `python -m training.card mini-adm runs/mini-adm`.

The order matters: mini-features, mini-clip and mini-autoencoder serve the others and come first.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

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
from training.measures import LEVELS, NUM_REAL, NUM_SAMPLES, NUM_STEPS

GUIDANCE = 2.0
NUM_GRID = 40
DATA = """Fashion-MNIST in colour (`taba_utils/fashion.py`, seed 0): all 60,000 training images of
  Fashion-MNIST (Xiao et al., 2017, MIT licence), tinted and put on studio backdrops."""
LOSS = "squared error of ε at uniform random steps (Ho et al., 2020, Eq. 14), every step alike"
WEIGHTS = "- **Weights**: float16 safetensors, the exponential moving average of the run."
NOTE = "The judge is mini-features. Its Fréchet distance is not comparable with FID, which is on Inception's features."


@dataclass(frozen=True)
class Facts:
    """What a card says of a diffusion model before anything is measured."""

    what: str
    chain: str


STAGES = """mini-adm at a tenth of the weights, through its training (App. G, notebook 09): `step_*.safetensors` are the averaged
weights after so many steps. `taba.load_model("mini-adm-s", step=464)` loads a stage, without `step` the last one. What
follows is of the last one."""
COSINE = "noise prediction, cosine chain of {} steps, x_0 clipped when sampling"
LINEAR = "noise prediction, linear chain of 1,000 steps, in the latents of mini-autoencoder"
GENERATORS = {
    "mini-adm": Facts("Unconditional U-Net on pixels: the stand-in for ADM-32.", COSINE.format("4,000")),
    "mini-adm-s": Facts(STAGES, COSINE.format("4,000")),
    "mini-ldm": Facts("Unconditional U-Net on latents: the stand-in for LDM.", LINEAR),
    "mini-dit": Facts("Class-conditional transformer on latents: the stand-in for DiT-XL/2.", LINEAR),
    "mini-if": Facts("Text-conditional U-Net on pixels: the stand-in for DeepFloyd IF.", COSINE.format("1,000")),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.card", description=__doc__)
    parser.add_argument("model", choices=[*CARDS, *GENERATORS])
    parser.add_argument("folder", type=Path, help="of the run, with its folder export")
    given = parser.parse_args()
    target = mini.WEIGHTS / given.folder.name
    for stale in target.glob("step_*.safetensors"):  # another run may have kept other steps
        stale.unlink()
    shutil.copytree(given.folder / "export", target, dirs_exist_ok=True)
    for path in target.iterdir():
        path.chmod(0o644)
    card = CARDS[given.model](target) if given.model in CARDS else generator_card(given.model, target)
    (target / "README.md").write_text(f"# {target.name}\n\n{card}", encoding="utf-8")
    print(card)


def features_card(target: Path) -> str:
    """Accuracy on the test split; the features of real training images go with the weights."""
    judge, data = MiniFeatures(), load_fashion("test")
    real = judge.features(load_fashion("train").images[:10_000].float() / 255)
    save_file({"features": real.half()}, target / "real.safetensors")
    accuracy = measures.recognised(data.images.float() / 255, data.labels)
    return f"""A garment classifier of {size(judge.network)}; its 128 features judge generated garments.

- **Data**: {DATA}
- **Training**: {training(target / "model.safetensors")}
{WEIGHTS}
- `real.safetensors`: its features of the first 10,000 training images.

| measured on the 10,000 test images | value |
| --- | --- |
| accuracy | {accuracy:.3f} |
"""


def clip_card(target: Path) -> str:
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
    return f"""An open_clip model (`taba_utils/models/mini-clip.json`) of {size(model)}: judge of text alignment, and the
text encoder of mini-if. It knows the words of the captions and no others.

- **Data**: {DATA} Every fourth caption names the garment alone.
- **Training**: {training(target / "model.safetensors")}
{WEIGHTS}

| measured on the test split | value |
| --- | --- |
| right caption among those of 32 random images | {share:.3f} |
"""


def autoencoder_card(target: Path) -> str:
    """Reconstruction of test images."""
    autoencoder, test = mini.load_mini_autoencoder(), measures.held_out()
    again = autoencoder.decode(autoencoder.encode(test * 2 - 1))
    psnr, ssim = measures.reconstruction(test, (again.clamp(-1, 1) + 1) / 2)
    return f"""KL autoencoder of {size(autoencoder.network)}, 3x32x32 pixels to 4x16x16 latents: the space of mini-ldm and mini-dit.

- **Data**: {DATA}
- **Training**: {training(target / networks.WEIGHTS)}
{WEIGHTS}
- **Scaling factor**: {autoencoder.scaling_factor}, one over the standard deviation of 5,000 training images' latents.

| measured on {len(test)} test images | value |
| --- | --- |
| PSNR | {psnr:.1f} dB |
| SSIM | {ssim:.3f} |
"""


def generator_card(name: str, target: Path) -> str:
    """What a diffusion model's samples are like, and how well it predicts the noise of real images."""
    facts, weights = GENERATORS[name], sorted(target.glob("*.safetensors"))[-1]
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
    rows = {
        label: measures.quality(drawn.pixels)
        | (measures.obedience(drawn.pixels, drawn.condition) if drawn.condition else {})
        for label, drawn in samples.items()
    }
    rows["real test images"] = measures.quality(measures.held_out())
    return f"""{facts.what} {size(network_of(denoiser))}; an evaluation costs {cost(denoiser):.2f} GFLOP an image (a
multiplication and an addition count as two), {1000 * first.seconds:.1f} ms with {torch.get_num_threads()} thread(s).

- **Data**: {DATA}
- **Diffusion**: {facts.chain}.
- **Training**: {LOSS}. {training(weights)}{" One condition in ten is dropped." if first.condition else ""}
{WEIGHTS}

The first {NUM_GRID} samples of seed 0, T = {NUM_STEPS}, w = 1:

![{NUM_GRID} samples](samples.png)

Measured on {NUM_SAMPLES} images of seed 0, T = {NUM_STEPS}, against real training images ({NUM_REAL} for precision and recall).
{NOTE}

{table(rows)}

Mean squared error of ε on 512 test images, by level of T = 1,000 (1 is what the prediction 0 would get):

{errors_table(denoiser)}
"""


def errors_table(denoiser: Denoiser, n: int = 512) -> str:
    """A row of levels and a row of errors."""
    data = load_fashion("test")
    images = denoiser.encode(to_model_range(data.images[:n]).to(denoiser.device)).cpu()
    drawn = denoiser.sample_condition(1)
    named = (
        [data.caption(i) for i in range(n)]
        if drawn and isinstance(drawn[0], str)
        else data.labels[:n].tolist()
    )
    errors = measures.noise_errors(denoiser, images, named if drawn else None)
    head = " | ".join(str(level) for level in LEVELS)
    cells = " | ".join(f"{errors[level]:.3f}" for level in LEVELS)
    return f"| level | {head} |\n| --- |{' --- |' * len(LEVELS)}\n| error | {cells} |"


def table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown, a row a set of images; a dash where a set has no such number."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"| images | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for label, row in rows.items():
        cells = " | ".join(f"{row[name]:.3f}" if name in row else "-" for name in columns)
        lines.append(f"| {label} | {cells} |")
    return "\n".join(lines)


def network_of(denoiser: Denoiser) -> torch.nn.Module:
    """The denoising network of an embedded model."""
    return getattr(denoiser, "transformer", None) or getattr(denoiser, "unet")  # noqa: B009


def cost(denoiser: Denoiser) -> float:
    """GFLOP of an evaluation of one image; a multiplication and an addition count as two."""
    noise, condition = denoiser.sample_noise(1), denoiser.sample_condition(1)
    with FlopCounterMode(display=False) as flops, torch.inference_mode():
        denoiser.predict_noise(noise, torch.tensor(1.0), condition)
    return flops.get_total_flops() / 1e9


def size(network: torch.nn.Module) -> str:
    """Number of parameters, in millions."""
    return f"{networks.num_parameters(network) / 1e6:.2f}M parameters"


def training(weights: Path) -> str:
    """Steps, batch size, training seed and time of a run, from what the run wrote into its weights."""
    with safe_open(weights, "pt") as file:
        facts = file.metadata()
    return (
        f"{facts['steps']} steps of batch {facts['batch_size']}, training seed {facts['seed']}, "
        f"{float(facts['seconds']) / 60:.0f} minutes on {facts['device']}."
    )


CARDS = {"mini-features": features_card, "mini-clip": clip_card, "mini-autoencoder": autoencoder_card}


if __name__ == "__main__":
    main()
