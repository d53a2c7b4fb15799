"""Export a trained model into the package, measure it, write its card.

`python -m training.card mini-features runs/mini-features`, then the same with mini-adm.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

import taba_utils as taba
from taba_utils.evaluators import MiniFeatures
from taba_utils.fashion import load_fashion
from taba_utils.models.mini import WEIGHTS, build_mini_adm

CONFIDENT = 0.9
GOAL = 0.8
NUM_CONFIDENT = 500
NUM_FRECHET = 1000
NUM_STEPS = 50

DATA = """Fashion-MNIST in colour (`taba_utils/fashion.py`, seed 0): the 60,000 training images of
  Fashion-MNIST (Xiao et al., 2017, MIT licence), tinted and put on studio backdrops."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=list(CARDS))
    parser.add_argument("folder", type=Path, help="where the training script left weights.safetensors")
    given = parser.parse_args()
    target = WEIGHTS / given.model
    target.mkdir(parents=True, exist_ok=True)
    card = CARDS[given.model](given.folder, target)
    (target / "README.md").write_text(card + "\n")
    print(card)


def mini_features_card(folder: Path, target: Path) -> str:
    """Export mini-features and measure its accuracy on the test split."""
    weights = {name: tensor.half() for name, tensor in load_file(folder / "weights.safetensors").items()}
    save_file(weights, target / "model.safetensors")
    judge, data = MiniFeatures(), load_fashion("test")
    probabilities = judge.probabilities(data.images.float() / 255)
    accuracy = (probabilities.argmax(1) == data.labels).float().mean()
    return f"""# mini-features

A garment classifier of {parameters(judge.network)} parameters; its 128 features judge generated garments.

- **Data**: {DATA}
- **Training**: `python -m training.mini_features`, {training_facts(folder)}
- **Weights**: float16 safetensors, the exponential moving average of the run.

| measured on the 10,000 test images | value |
| --- | --- |
| accuracy | {accuracy:.3f} |
| share over {CONFIDENT} confident | {confident(probabilities):.3f} |
"""


def mini_adm_card(folder: Path, target: Path) -> str:
    """Export mini-adm, sample from it and measure the samples beside held-out real images."""
    unet = build_mini_adm()
    unet.load_state_dict(load_file(folder / "weights.safetensors"))
    with FlopCounterMode(display=False) as flops:
        unet(torch.zeros(1, 3, 32, 32), torch.zeros(1))
    unet.half().save_pretrained(target, safe_serialization=True)
    denoiser = taba.load_model("mini-adm")
    judge = MiniFeatures()
    began = time.monotonic()
    image = taba.sample(denoiser, denoiser.sample_noise(NUM_FRECHET), denoiser.schedule(NUM_STEPS)).image
    seconds = (time.monotonic() - began) / NUM_FRECHET / NUM_STEPS
    train = load_fashion("train").images.float() / 255
    sets = {
        "samples": (image + 1) / 2,
        "held-out real images": load_fashion("test").images[:NUM_FRECHET].float() / 255,
    }
    reference = statistics(judge, train)
    share = confident(judge.probabilities(sets["samples"][:NUM_CONFIDENT]))
    rows = "\n".join(
        f"| {name} | {confident(judge.probabilities(images[:NUM_CONFIDENT])):.3f} "
        f"| {frechet(statistics(judge, images), reference):.2f} |"
        for name, images in sets.items()
    )
    return f"""# mini-adm

Pixel U-Net of the ADM family on 3x32x32, unconditional: the embedded stand-in for ADM-32.
{parameters(unet)} parameters; an evaluation costs {flops.get_total_flops() / 1e9:.2f} GFLOP an image (multiply and add
counted apart), {1000 * seconds:.1f} ms on two cores.

- **Data**: {DATA}
- **Diffusion**: noise prediction, cosine chain of 4,000 steps, time told to the network rescaled to 0..1000.
- **Training**: `python -m training.mini_adm`, {training_facts(folder)}
- **Weights**: float16 safetensors, the exponential moving average of the run.

Measured with seed 0, T = {NUM_STEPS}, by mini-features: the share of {NUM_CONFIDENT} images of which the classifier is over
{CONFIDENT} confident, and the Fréchet distance of {NUM_FRECHET} images to the training set.

The goal is a confident share of {GOAL} among samples; this run {"reaches" if share >= GOAL else "does not reach"} it.

| images | confident | Fréchet distance |
| --- | --- | --- |
{rows}

The Fréchet distance is on the features of mini-features; it is not comparable with FID, which is on Inception's.
"""


def confident(probabilities: torch.Tensor) -> float:
    """Share of images whose most probable class has more than 0.9."""
    return (probabilities.amax(dim=1) > CONFIDENT).float().mean().item()


def statistics(judge: MiniFeatures, images: torch.Tensor) -> dict:
    """Mean and covariance of the features, as torch-fidelity keeps them."""
    return fid_features_to_statistics(judge.features(images))


def frechet(first: dict, second: dict) -> float:
    """Fréchet distance between two sets of feature statistics."""
    return float(fid_statistics_to_metric(first, second, verbose=False)["frechet_inception_distance"])


def parameters(network: torch.nn.Module) -> str:
    """Number of parameters, in millions."""
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}M"


def training_facts(folder: Path) -> str:
    """Steps, batch size, seed and time of a run, from what the run wrote."""
    with safe_open(folder / "weights.safetensors", "pt") as file:
        facts = file.metadata()
    return (
        f"{facts['steps']} steps of batch {facts['batch_size']}, seed {facts['seed']}, "
        f"{float(facts['seconds']) / 60:.0f} minutes on {facts['device']}."
    )


CARDS = {"mini-features": mini_features_card, "mini-adm": mini_adm_card}


if __name__ == "__main__":
    main()
