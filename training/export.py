"""A finished run as the package ships it: float16 weights, configuration, record of the run."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from taba_utils.fashion import load_fashion, to_model_range
from training import networks


def export(network: torch.nn.Module, folder: Path) -> Path:
    """Write `folder`/export from the weights that the run left; a diffusers network gets its config.json."""
    target = folder / "export"
    target.mkdir(exist_ok=True)
    weights = load_file(folder / "weights.safetensors")
    network.load_state_dict(weights)
    network.eval()
    diffuses = hasattr(network, "save_config")
    if folder.name.startswith("mini-autoencoder"):
        network.register_to_config(scaling_factor=scaling_factor(network))
    if diffuses:
        network.save_config(target)
    kept = sorted(folder.glob("step_*.safetensors"))  # the last one of them is the end of the run
    for path in kept:
        done = {"kept_after": str(int(path.stem.removeprefix("step_")))}  # of the steps of the whole run
        save_half(load_file(path), target / path.name, record(folder) | done)
    if not kept:
        save_half(weights, target / (networks.WEIGHTS if diffuses else "model.safetensors"), record(folder))
    return target


def scaling_factor(network: torch.nn.Module, count: int = 5000) -> float:
    """One over the standard deviation of training images' latents, rounded to four digits."""
    images = to_model_range(load_fashion("train").images[:count])
    with torch.inference_mode():
        latents = torch.cat([network.encode(part).latent_dist.mode() for part in images.split(64)])
    return round(1 / latents.std().item(), 4)


def save_half(weights: dict[str, torch.Tensor], path: Path, facts: dict[str, str] | None = None) -> None:
    """Write weights as float16."""
    save_file(
        {name: tensor.half() for name, tensor in weights.items()}, path, {"format": "pt"} | (facts or {})
    )


def record(folder: Path) -> dict[str, str]:
    """What a run wrote about itself."""
    with safe_open(folder / "weights.safetensors", "pt") as file:
        return file.metadata()
