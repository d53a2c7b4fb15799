"""Export a trained model into the package, measure it, write its card: `python -m training.card NAME FOLDER`.

The order matters: mini-features, mini-autoencoder and mini-clip first, they serve the others; then mini-adm, beside
which the other generators' cards put theirs.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

import taba_utils as taba
from taba_utils.fashion import BACKDROPS, COLOURS, describe, load_fashion, measured_colours, to_model_range
from taba_utils.judges import MiniFeatures
from taba_utils.models import mini
from taba_utils.models.mini_clip import build_mini_clip, tokenize
from training import measures, mini_adm
from training.measures import CONFIDENT, NUM_FRECHET, NUM_JUDGED, NUM_STEPS

CONFIDENT_GOAL = 0.8
OBEDIENCE_GOAL = 0.85
GUIDANCE = 2.0

DATA = """Fashion-MNIST in colour (`taba_utils/fashion.py`, seed 0): the 60,000 training images of
  Fashion-MNIST (Xiao et al., 2017, MIT licence), tinted and put on studio backdrops."""
WEIGHTS = "- **Weights**: float16 safetensors, the exponential moving average of the run."
NOTE = "The Fréchet distance is on the features of mini-features; it is not comparable with FID, which is on Inception's."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=list(CARDS))
    parser.add_argument("folder", type=Path, help="where the training script left weights.safetensors")
    given = parser.parse_args()
    target = mini.WEIGHTS / given.model
    target.mkdir(parents=True, exist_ok=True)
    card = CARDS[given.model](given.folder, target)
    (target / "README.md").write_text(f"# {given.model}\n\n{card}")
    for path in target.iterdir():
        path.chmod(0o644)
    print(card)


def mini_features_card(folder: Path, target: Path) -> str:
    """Accuracy on the test split; the features of real training images go with the weights."""
    save_half(load_file(folder / "weights.safetensors"), target / "model.safetensors")
    judge, data = MiniFeatures(), load_fashion("test")
    real = judge.features(load_fashion("train").images[:10_000].float() / 255)
    save_file({"features": real.half()}, target / "reference.safetensors")
    probabilities = judge.probabilities(data.images.float() / 255)
    accuracy = (probabilities.argmax(1) == data.labels).float().mean()
    return f"""A garment classifier of {parameters(judge.network)} parameters; its 128 features judge generated garments.

- **Data**: {DATA}
- **Training**: `python -m training.mini_features`, {training_facts(folder)}
{WEIGHTS}
- `reference.safetensors`: its features of the first 10,000 training images.

| measured on the 10,000 test images | value |
| --- | --- |
| accuracy | {accuracy:.3f} |
| share over {CONFIDENT} confident | {measures.confident(probabilities):.3f} |
"""


def mini_autoencoder_card(folder: Path, target: Path) -> str:
    """The scaling factor that gives latents unit variance; reconstruction of the test split."""
    network = mini.build_mini_autoencoder().eval()
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    network.register_to_config(scaling_factor=1.0)
    network.half().save_pretrained(target)
    plain = mini.load_mini_autoencoder()
    latents = plain.encode(to_model_range(load_fashion("train").images[:5000]))
    network.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    network.save_pretrained(target)
    autoencoder = mini.load_mini_autoencoder()
    test = measures.held_out()
    again = autoencoder.decode(autoencoder.encode(test * 2 - 1))
    psnr, ssim = measures.reconstruction(test, (again.clamp(-1, 1) + 1) / 2)
    return f"""KL autoencoder, 3x32x32 pixels to 4x8x8 latents, of {parameters(network)} parameters: the space of mini-ldm and mini-dit.

- **Data**: {DATA}
- **Training**: `python -m training.mini_autoencoder`, {training_facts(folder)}
{WEIGHTS}
- **Scaling factor**: {autoencoder.scaling_factor}, one over the standard deviation of 5,000 training images' latents.

| measured on {len(test)} test images | value |
| --- | --- |
| PSNR | {psnr:.1f} dB |
| SSIM | {ssim:.3f} |
"""


def mini_clip_card(folder: Path, target: Path) -> str:
    """Retrieval of the right caption, and of the right garment name, on the test split."""
    save_half(load_file(folder / "weights.safetensors"), target / "model.safetensors")
    model, data = mini.load_mini_clip(), load_fashion("test")
    captions = [data.caption(i) for i in range(len(data))]
    with torch.inference_mode():
        parts = [model.encode_image(to_model_range(part), normalize=True) for part in data.images.split(64)]
        texts = [
            model.encode_text(tokenize(captions[i : i + 500]), normalize=True) for i in range(0, 10_000, 500)
        ]
        images, texts = torch.cat(parts), torch.cat(texts)
        similarity = [images[i : i + 32] @ texts[i : i + 32].T for i in range(0, len(images) - 31, 32)]
    share = measures.retrieval(similarity, captions)
    return f"""An open_clip model (`taba_utils/models/mini-clip.json`) of {parameters(build_mini_clip())} parameters: judge of text alignment, and the text
encoder of mini-if. It knows the words of the captions and no others.

- **Data**: {DATA} Every fourth caption names the garment alone.
- **Training**: `python -m training.mini_clip`, {training_facts(folder)}
{WEIGHTS}

| measured on the test split | value |
| --- | --- |
| right caption among those of 32 random images | {share:.3f} |
"""


def mini_adm_card(folder: Path, target: Path) -> str:
    """Confident share and Fréchet distance of samples beside real images."""
    unet = mini.build_mini_adm()
    export(unet, folder, target)
    cost = gflop(unet, torch.zeros(1, 3, 32, 32), torch.zeros(1))
    samples, test = measures.draw_samples(taba.load_model("mini-adm")), load_fashion("test")
    sure = test.images[mini_adm.sureness(test) > mini_adm.SURE][:NUM_FRECHET].float() / 255
    return f"""Pixel U-Net of the ADM family on 3x32x32, unconditional: the embedded stand-in for ADM-32.
{parameters(unet)} parameters; an evaluation costs {cost:.2f} GFLOP an image (multiply and add
counted apart), {1000 * samples.seconds:.1f} ms with {torch.get_num_threads()} thread(s).

- **Data**: {DATA} The steps called *sure* saw only those to which
  mini-clip gives their garment's name with more than that probability: what it would take for another garment was left out.
- **Diffusion**: noise prediction, cosine chain of 4,000 steps, time told to the network rescaled to 0..1000.
- **Training**: `python -m training.mini_adm`, {training_facts(folder)}
{WEIGHTS}

{confidence(samples.pixels, more={"held-out real images of which mini-clip is sure": sure})}"""


def mini_adm_s_card(folder: Path, target: Path) -> str:
    """Confident share and Fréchet distance after each kept step."""
    unet = mini.build_mini_adm_s()
    cost = gflop(unet, torch.zeros(1, 3, 32, 32), torch.zeros(1))
    unet.save_config(target)
    for path in folder.glob("step_*.safetensors"):
        save_half(load_file(path), target / path.name)
    judge, rows = MiniFeatures(), []
    for step in mini.checkpoints():
        pixels = measures.draw_samples(taba.load_model("mini-adm-s", step=step), NUM_JUDGED).pixels
        share = measures.confident(judge.probabilities(pixels))
        rows.append(f"| {step} | {share:.3f} | {measures.frechet(pixels):.2f} |")
    real = measures.held_out(NUM_JUDGED)
    share = measures.confident(judge.probabilities(real))
    rows.append(f"| held-out real images | {share:.3f} | {measures.frechet(real):.2f} |")
    return f"""mini-adm at a fifth of the weights, {parameters(unet)} parameters and {cost:.2f} GFLOP an evaluation and image, through
its training (App. G): `step_*.safetensors` are the averaged weights after so many optimiser steps.
`taba.load_model("mini-adm-s", step=400)` loads those after 400; without `step`, the last.

- **Data**: {DATA}
- **Diffusion**: as mini-adm.
- **Training**: `python -m training.mini_adm_s`, {training_facts(folder)}
{WEIGHTS}

Measured with seed 0, T = {NUM_STEPS}, on {NUM_JUDGED} images, by mini-features, as in the card of mini-adm (whose Fréchet distance is of
{NUM_FRECHET} images, so a little smaller).

| step | confident | Fréchet distance |
| --- | --- | --- |
{chr(10).join(rows)}

{NOTE}
"""


def mini_ldm_card(folder: Path, target: Path) -> str:
    """Confident share and Fréchet distance of samples beside real images."""
    unet = mini.build_mini_ldm()
    export(unet, folder, target)
    cost = gflop(unet, torch.zeros(1, 4, 8, 8), torch.zeros(1))
    samples = measures.draw_samples(taba.load_model("mini-ldm"))
    return f"""U-Net in the 4x8x8 latents of mini-autoencoder, unconditional: the embedded stand-in for LDM.
{parameters(unet)} parameters; an evaluation costs {cost:.2f} GFLOP an image, {1000 * samples.seconds:.1f} ms with {torch.get_num_threads()} thread(s).

- **Data**: {DATA}
- **Diffusion**: noise prediction, linear chain of 1,000 steps.
- **Training**: `python -m training.mini_ldm`, {training_facts(folder)}
{WEIGHTS}

{confidence(samples.pixels, mini_adm_row("- | "))}"""


def mini_dit_card(folder: Path, target: Path) -> str:
    """Whether the wanted class is recognised, without and with guidance."""
    transformer = mini.build_mini_dit()
    export(transformer, folder, target)
    cost = gflop(transformer, torch.zeros(1, 4, 8, 8), torch.zeros(1), class_labels=torch.zeros(1, dtype=int))
    samples, guided = draw_both("mini-dit")
    wanted = torch.tensor(samples.condition[:NUM_JUDGED])
    shares = [measures.recognised(pixels[:NUM_JUDGED], wanted) for pixels in (samples.pixels, guided)]
    return f"""Diffusion transformer in the 4x8x8 latents of mini-autoencoder, ten classes and a null class: the embedded
stand-in for DiT-XL/2. {parameters(transformer)} parameters; an evaluation costs {cost:.2f} GFLOP an image,
{1000 * samples.seconds:.1f} ms with {torch.get_num_threads()} thread(s).

- **Data**: {DATA}
- **Diffusion**: noise prediction, linear chain of 1,000 steps; one label in ten replaced by the null class.
- **Training**: `python -m training.mini_dit`, {training_facts(folder)}
- **Guidance**: the steps with guidance taught it, instead of the noise, its own prediction with classifier-free guidance
  (Ho and Salimans, 2022; taught as by Meng et al., 2023). So w = 1 is one evaluation of a network that is already guided
  a little, and another w guides it further.
{WEIGHTS}

{obedience({"garment, by mini-features": shares})}
{frechet_table(samples.pixels)}"""


def mini_if_card(folder: Path, target: Path) -> str:
    """Whether class, garment colour and backdrop are the wanted ones, without and with guidance."""
    unet = mini.build_mini_if()
    export(unet, folder, target)
    cost = gflop(
        unet, torch.zeros(1, 3, 32, 32), torch.zeros(1), encoder_hidden_states=torch.zeros(1, 12, 64)
    )
    samples, guided = draw_both("mini-if")
    wanted = torch.tensor([WANTED[prompt] for prompt in samples.condition[:NUM_JUDGED]])
    rows = {"garment, by mini-features": [], "garment colour, from pixels": [], "backdrop, from pixels": []}
    for pixels in (samples.pixels[:NUM_JUDGED], guided):
        colours, backdrops = measured_colours(pixels)
        rows["garment, by mini-features"].append(measures.recognised(pixels, wanted[:, 0]))
        rows["garment colour, from pixels"].append(share(colours == wanted[:, 1]))
        rows["backdrop, from pixels"].append(share(backdrops == wanted[:, 2]))
    return f"""Pixel U-Net with attention to the hidden states of mini-clip's text tower: the embedded stand-in for DeepFloyd IF.
{parameters(unet)} parameters; an evaluation costs {cost:.2f} GFLOP an image, {1000 * samples.seconds:.1f} ms with {torch.get_num_threads()} thread(s).

- **Data**: {DATA}
- **Diffusion**: noise prediction, cosine chain of 1,000 steps, x_0 clipped; one prompt in ten replaced by the empty one.
- **Training**: `python -m training.mini_if`, {training_facts(folder)}
{WEIGHTS}

{obedience(rows)}
{frechet_table(samples.pixels)}"""


def export(network: torch.nn.Module, folder: Path, target: Path) -> None:
    """Write the averaged weights of a run as float16 with the record of the run, and the network's configuration."""
    weights = load_file(folder / "weights.safetensors")
    network.load_state_dict(weights)
    network.save_config(target)
    save_half(weights, target / "diffusion_pytorch_model.safetensors", record(folder))


def save_half(weights: dict[str, torch.Tensor], path: Path, facts: dict[str, str] | None = None) -> None:
    tensors = {name: tensor.half() for name, tensor in weights.items()}
    save_file(tensors, path, {"format": "pt"} | (facts or {}))


def record(folder: Path) -> dict[str, str]:
    """What a run wrote about itself."""
    with safe_open(folder / "weights.safetensors", "pt") as file:
        return file.metadata()


def gflop(network: torch.nn.Module, *inputs, **more) -> float:
    """Cost of an evaluation of one image; a multiplication and an addition count as two."""
    with FlopCounterMode(display=False) as flops, torch.inference_mode():
        network.eval()(*inputs, **more)
    return flops.get_total_flops() / 1e9


def confidence(pixels: torch.Tensor, beside: str = "", more: dict[str, torch.Tensor] | None = None) -> str:
    """Table of the confident share and the Fréchet distance beside real images, more images, and another row."""
    judge = MiniFeatures()
    sets = {"samples": pixels, "held-out real images": measures.held_out()} | (more or {})
    shares = {
        name: measures.confident(judge.probabilities(images[:NUM_JUDGED])) for name, images in sets.items()
    }
    rows = "\n".join(
        f"| {name} | {shares[name]:.3f} | {measures.frechet(images):.2f} |" for name, images in sets.items()
    )
    reached = "reaches" if shares["samples"] >= CONFIDENT_GOAL else "does not reach"
    return f"""Measured with seed 0, T = {NUM_STEPS}, by mini-features: the share of {NUM_JUDGED} images of which the classifier is over
{CONFIDENT} confident, and the Fréchet distance of {NUM_FRECHET} images to real training images.

The goal is a confident share of {CONFIDENT_GOAL} among samples; this run {reached} it.

| images | confident | Fréchet distance |
| --- | --- | --- |
{rows}{beside}

{NOTE}
"""


def mini_adm_row(cells: str = "") -> str:
    """Row with the Fréchet distance of mini-adm, as its card has it; `cells` come before the number."""
    card = (mini.WEIGHTS / "mini-adm" / "README.md").read_text()
    return f"\n| samples of mini-adm | {cells}{re.search(r'samples .* (.+) .$', card, re.MULTILINE)[1]} |"


def draw_both(name: str) -> tuple[measures.Samples, torch.Tensor]:
    """Samples of a conditional model without guidance; and pixels of the first NUM_JUDGED of them with guidance."""
    guided = taba.load_model(name, guidance_scale=GUIDANCE)
    return measures.draw_samples(taba.load_model(name)), measures.draw_samples(guided, NUM_JUDGED).pixels


def obedience(shares: dict[str, list[float]]) -> str:
    """Table of what was asked for and is there, as shares without and with guidance."""
    verdict = lambda i: (  # noqa: E731
        "reaches" if all(pair[i] >= OBEDIENCE_GOAL for pair in shares.values()) else "does not reach"
    )
    rows = "\n".join(f"| {name} | {plain:.3f} | {guided:.3f} |" for name, (plain, guided) in shares.items())
    return f"""The goal is that what was asked for is there in {OBEDIENCE_GOAL:.0%} of {NUM_JUDGED} samples (seed 0, T = {NUM_STEPS}); the garment is
judged by mini-features, trained on real images only. Without guidance (w = 1, the paper's setting and the
default) this run {verdict(0)} it; with w = {GUIDANCE:g} it {verdict(1)} it.

| asked for | w = 1 | w = {GUIDANCE:g} |
| --- | --- | --- |
{rows}
"""


def share(right: torch.Tensor) -> float:
    """Share of True."""
    return right.float().mean().item()


def frechet_table(pixels: torch.Tensor) -> str:
    """Table of the Fréchet distance of samples, of real test images, and of samples of mini-adm."""
    return f"""| {NUM_FRECHET} images | Fréchet distance to real training images |
| --- | --- |
| samples | {measures.frechet(pixels):.2f} |
| held-out real images | {measures.frechet(measures.held_out()):.2f} |{mini_adm_row()}

{NOTE}
"""


def parameters(network: torch.nn.Module) -> str:
    """Number of parameters, in millions."""
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}M"


def training_facts(folder: Path) -> str:
    """Steps, batch size, seed and time of a run, from what the run wrote."""
    facts = record(folder)
    schedules = {leg.split(" of ")[1] for leg in facts["legs"].split(", ")}
    resumed = f" Resumed with other `--steps`: {facts['legs']}." if len(schedules) > 1 else ""
    return (
        f"{facts['steps']} steps of batch {facts['batch_size']}, seed {facts['seed']}, "
        f"{float(facts['seconds']) / 60:.0f} minutes on {facts['device']}.{resumed}"
    )


WANTED = {
    describe(label, colour, backdrop): (label, colour, backdrop)
    for label in range(10)
    for colour in range(len(COLOURS))
    for backdrop in range(len(BACKDROPS))
}
CARDS: dict[str, Callable[[Path, Path], str]] = {
    "mini-features": mini_features_card,
    "mini-autoencoder": mini_autoencoder_card,
    "mini-clip": mini_clip_card,
    "mini-adm": mini_adm_card,
    "mini-adm-s": mini_adm_s_card,
    "mini-ldm": mini_ldm_card,
    "mini-dit": mini_dit_card,
    "mini-if": mini_if_card,
}


if __name__ == "__main__":
    main()
