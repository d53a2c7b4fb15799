"""The model zoo: names, facts and loading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from taba_utils.denoiser import Denoiser
from taba_utils.models import gaussian, mini


@dataclass(frozen=True)
class Entry:
    """What the zoo knows of a model without loading it.

    Attributes:
        stands_for: the paper's model whose kind it is ("" for none).
        space: "pixel" or "latent".
        shape: (C, H, W) of the diffusion.
        training_set, condition, backbone: as in Tab. 1.
        training_steps: N of the training chain, the largest T.
        load: (source folder, device) -> Denoiser.
        source: folder of the shipped weights; None where none are needed.
    """

    stands_for: str
    space: str
    shape: tuple[int, int, int]
    training_set: str
    condition: str
    backbone: str
    training_steps: int
    load: Callable[[Path | None, str], Denoiser]
    source: Path | None = None

    @property
    def present(self) -> bool:
        """Whether the model can be loaded without `source`."""
        return self.source is None or (self.source / "config.json").exists()


ZOO: dict[str, Entry] = {
    "gaussian": Entry(
        stands_for="",
        space="pixel",
        shape=(3, 32, 32),
        training_set="closed form",
        condition="none",
        backbone="closed form",
        training_steps=gaussian.TRAINING_STEPS,
        load=lambda source, device: gaussian.half_plain(device=device),
    ),
    "mini-adm": Entry(
        stands_for="ADM-32",
        space="pixel",
        shape=(3, 32, 32),
        training_set="Fashion-MNIST in colour",
        condition="none",
        backbone="U-Net",
        training_steps=mini.MINI_ADM_TRAINING_STEPS,
        load=mini.load_mini_adm,
        source=mini.WEIGHTS / "mini-adm",
    ),
}


def list_names() -> list[str]:
    """Names that `load_model` takes."""
    return list(ZOO)


def training_steps(name: str) -> int:
    """N of a model's training chain, the largest T; raises ValueError for an unknown name."""
    return _entry(name).training_steps


def list_models() -> pd.DataFrame:
    """The zoo as a table, one row a model (the columns of Tab. 1 and what it takes to run it)."""
    rows = {
        name: {
            "stands for": entry.stands_for or "-",
            "diffusion": entry.space,
            "shape": "x".join(map(str, entry.shape)),
            "training set": entry.training_set,
            "condition": entry.condition,
            "backbone": entry.backbone,
            "training steps": entry.training_steps,
            "weights": "none needed" if entry.source is None else "shipped" if entry.present else "missing",
        }
        for name, entry in ZOO.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def load_model(name: str, device: str | torch.device = "cpu", source: str | Path | None = None) -> Denoiser:
    """A model of the zoo, ready to sample.

    Args:
        name: one of `list_models()`; with `source`, the family of the weights there.
        device: where it runs; not guessed.
        source: folder with weights to use instead of the shipped ones.

    Raises:
        ValueError: unknown name.
        FileNotFoundError: the weights are not there; says where they were looked for.
    """
    entry = _entry(name)
    folder = Path(source) if source is not None else entry.source
    if folder is not None and not (folder / "config.json").exists():
        raise FileNotFoundError(
            f"no weights of {name} in {folder}: expected config.json and *.safetensors there"
        )
    return entry.load(folder, device)


def _entry(name: str) -> Entry:
    if name not in ZOO:
        raise ValueError(f"model must be one of {list_names()}, got {name!r}")
    return ZOO[name]
