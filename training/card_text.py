"""The text of a model's card, README.md, from what was measured of the model, card.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.measures import NUM_ERRORS, NUM_REAL, NUM_SAMPLES, NUM_STEPS

Card = Mapping[str, Any]
"""What card.json holds: the model, its training and its size, and the measurements that its own text names."""
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
    dropped: str = ""


STAGES = """mini-adm at a tenth of the weights, through its training (App. G, notebook 09): `step_*.safetensors` are the averaged
weights after so many steps. `taba.load_model("mini-adm-s", step=464)` loads a stage, without `step` the last one. What
follows is of the last one."""
COSINE = "noise prediction, cosine chain of {} steps, x_0 clipped when sampling"
LINEAR = "noise prediction, linear chain of 1,000 steps, in the latents of mini-autoencoder"
DROPPED = " One condition in ten is dropped."
GENERATORS = {
    "mini-adm": Facts("Unconditional U-Net on pixels: the stand-in for ADM-32.", COSINE.format("4,000")),
    "mini-adm-s": Facts(STAGES, COSINE.format("4,000")),
    "mini-ldm": Facts("Unconditional U-Net on latents: the stand-in for LDM.", LINEAR),
    "mini-dit": Facts("Class-conditional transformer on latents: the stand-in for DiT-XL/2.", LINEAR, DROPPED),
    "mini-if": Facts(
        "Text-conditional U-Net on pixels: the stand-in for DeepFloyd IF.", COSINE.format("1,000"), DROPPED
    ),
}  # fmt: skip


def write_text(folder: Path) -> str:
    """Write README.md beside card.json, and return it."""
    told = text(folder.name, json.loads((folder / "card.json").read_text(encoding="utf-8")))
    (folder / "README.md").write_text(told, encoding="utf-8")
    return told


def text(title: str, card: Card) -> str:
    """Markdown, under the name of the model's folder."""
    return f"# {title}\n\n{TEXTS.get(card['model'], generator_text)(card)}"


def features_text(card: Card) -> str:
    """Of mini-features."""
    return f"""A garment classifier of {size(card)}; its 128 features judge generated garments.

- **Data**: {DATA}
- **Training**: {training(card)}
{WEIGHTS}
- `real.safetensors`: its features of the first 10,000 training images.

| measured on the 10,000 test images | value |
| --- | --- |
| accuracy | {card["accuracy"]:.3f} |
| share over 0.9 confident | {card["confident"]:.3f} |
"""


def clip_text(card: Card) -> str:
    """Of mini-clip."""
    return f"""An open_clip model (`taba_utils/models/mini-clip.json`) of {size(card)}: judge of text alignment, and the
text encoder of mini-if. It knows the words of the captions and no others.

- **Data**: {DATA} Every fourth caption names the garment alone.
- **Training**: {training(card)}
{WEIGHTS}

| measured on the test split | value |
| --- | --- |
| right caption among those of 32 random images | {card["retrieval"]:.3f} |
"""


def autoencoder_text(card: Card) -> str:
    """Of mini-autoencoder."""
    return f"""KL autoencoder of {size(card)}, 3x32x32 pixels to 4x16x16 latents: the space of mini-ldm and mini-dit.

- **Data**: {DATA}
- **Training**: {training(card)}
{WEIGHTS}
- **Scaling factor**: {card["scaling_factor"]}, one over the standard deviation of 5,000 training images' latents.

| measured on {NUM_SAMPLES} test images | value |
| --- | --- |
| PSNR | {card["PSNR"]:.1f} dB |
| SSIM | {card["SSIM"]:.3f} |
"""


def generator_text(card: Card) -> str:
    """Of a diffusion model: what its samples are like, and how well it predicts the noise of real images."""
    facts = GENERATORS[card["model"]]
    return f"""{facts.what} {size(card)}; an evaluation costs {card["GFLOP"]:.2f} GFLOP an image (a
multiplication and an addition count as two), {card["milliseconds"]:.1f} ms with {card["threads"]} thread(s).

- **Data**: {DATA}
- **Diffusion**: {facts.chain}.
- **Training**: {LOSS}. {training(card)}{facts.dropped}
{WEIGHTS}

The first {NUM_GRID} samples of seed 0, T = {NUM_STEPS}, w = 1:

![{NUM_GRID} samples](samples.png)

Measured on {NUM_SAMPLES} images of seed 0, T = {NUM_STEPS}, against real training images ({NUM_REAL} for precision and recall).
{NOTE}

{sets_table(card["sets"])}

Mean squared error of ε on {NUM_ERRORS} test images, by level of T = 1,000 (1 is what the prediction 0 would get):

{errors_table(card["errors"])}
"""


def sets_table(sets: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown, a row a set of images; a dash where a set has no such number."""
    columns = list(dict.fromkeys(name for row in sets.values() for name in row))
    lines = [f"| images | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for label, row in sets.items():
        cells = " | ".join(f"{row[name]:.3f}" if name in row else "-" for name in columns)
        lines.append(f"| {label} | {cells} |")
    return "\n".join(lines)


def errors_table(errors: Mapping[str, float]) -> str:
    """A row of levels and a row of errors."""
    cells = " | ".join(f"{error:.3f}" for error in errors.values())
    return f"| level | {' | '.join(errors)} |\n| --- |{' --- |' * len(errors)}\n| error | {cells} |"


def size(card: Card) -> str:
    """Number of parameters, in millions."""
    return f"{card['parameters'] / 1e6:.2f}M parameters"


def training(card: Card) -> str:
    """Steps, batch size, training seed and time of the run."""
    run = card["training"]
    return (
        f"{run['steps']} steps of batch {run['batch_size']}, training seed {run['seed']}, "
        f"{float(run['seconds']) / 60:.0f} minutes on {run['device']}."
    )


TEXTS = {"mini-features": features_text, "mini-clip": clip_text, "mini-autoencoder": autoencoder_text}
