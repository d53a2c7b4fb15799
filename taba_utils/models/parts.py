"""The parts of a diffusers pipeline in a folder or on the hub, each verified when it is loaded."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers import ConfigMixin, DDIMScheduler, DiffusionPipeline

from taba_utils.models.chain import Chain, public, read_chain
from taba_utils.models.network import frozen
from taba_utils.models.places import refuse_pointer

Part = TypeVar("Part")
TextEncoder = Callable[[list[str]], torch.Tensor]

HUB = {"cache_dir", "force_download", "local_files_only", "proxies", "revision", "token"}
WEIGHTS = {"low_cpu_mem_usage", "use_safetensors", "variant"}
OPTIONAL = {"feature_extractor", "image_encoder", "safety_checker", "watermarker"}
"""Parts that have no influence on the diffusion. They are not loaded."""


@dataclass
class Source:
    """A pipeline's folder or hub repository.

    Attributes:
        place: a folder, or a hub id.
        options: for `from_pretrained` (`HUB`, `WEIGHTS`).
        changes: fields of the scheduler's configuration that take the place of the file's.
        dtype: of the weights.
    """

    place: str | Path
    options: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32

    @property
    def hub(self) -> dict[str, Any]:
        """The options that say where files are, not which."""
        return {key: value for key, value in self.options.items() if key in HUB}

    @property
    def bare(self) -> bool:
        """Whether the folder is that of a single network."""
        folder = Path(self.place)
        return (folder / "config.json").exists() and not (folder / "model_index.json").exists()

    @cached_property
    def index(self) -> dict[str, Any]:
        """Content of model_index.json; of a single network's folder, what a pipeline of this network would say."""
        if self.bare:
            kind = read_json(Path(self.place) / "config.json").get("_class_name")
            return {"_class_name": "DDPMPipeline", "unet": ["diffusers", kind]}
        return _config(DiffusionPipeline, self.place, **self.hub)

    @property
    def family(self) -> str:
        """Class of the pipeline."""
        return str(self.index.get("_class_name"))

    def refuse_other_parts(self, used: set[str]) -> None:
        """Raise ValueError unless the index names exactly the parts that a family uses, and what may be left aside."""
        named = {name for name, value in self.index.items() if isinstance(value, list) and value[0]}
        if missing := sorted(used - named - ({"scheduler"} if self.bare else set())):
            raise ValueError(
                f"model_index.json in {self.place} must name {missing[0]!r}, got {sorted(named)}"
            )
        if unknown := sorted(named - used - OPTIONAL):
            raise ValueError(
                f"{unknown[0]}={self.index[unknown[0]]!r} of model_index.json in {self.place} is not supported"
            )

    def chain(self) -> Chain:
        """The scheduler's chain."""
        return read_chain(self._scheduler(), **self.changes)

    def _scheduler(self) -> dict[str, Any]:
        if self.bare:
            folder = Path(self.place)
            files = [folder / "scheduler_config.json", folder / "scheduler/scheduler_config.json"]
            there = [file for file in files if file.exists()]
            if not there:
                raise FileNotFoundError(f"no scheduler_config.json beside the network in {folder}")
            return read_json(there[0])
        return _config(DDIMScheduler, self.place, subfolder="scheduler", **self.hub)

    def part(self, name: str, kinds: Mapping[str, type[Part]]) -> Part:
        """A network of the pipeline, every weight accounted for.

        Args:
            name: of the part, which is its folder.
            kinds: the classes that the part may have, by the name that model_index.json has for each.

        Raises:
            ValueError: another class, or weights that do not fit the configuration; names the keys.
        """
        named = self.index[name][1]
        if named not in kinds:
            raise ValueError(
                f"{name} of {self.family} in {self.place} must be one of {sorted(kinds)}, got {named!r}"
            )
        place = Path(self.place) if self.bare else Path(self.place) / name
        if Path(self.place).is_dir():
            if not place.is_dir():
                raise FileNotFoundError(f"no folder {name} in {self.place}, which model_index.json names")
            for file in place.iterdir():
                refuse_pointer(file)
        options = dict(self.options) | ({} if self.bare else {"subfolder": name})
        kind, dtype = (
            cast(Any, kinds[named]),
            "dtype" if self.index[name][0] == "transformers" else "torch_dtype",
        )
        try:
            part, report = kind.from_pretrained(
                self.place, output_loading_info=True, **{dtype: self.dtype}, **options
            )
        except (RuntimeError, ValueError) as error:  # keys or shapes
            raise ValueError(
                f"weights of {name} in {self.place} do not fit its config.json: {error}"
            ) from error
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
            if wrong := [str(key) for key in report.get(what) or ()]:
                raise ValueError(
                    f"weights of {name} in {self.place} do not fit its config.json: {len(wrong)} "
                    f"{what.replace('_', ' ')}, such as {sorted(wrong)[:3]}"
                )
        return part

    def text_encoder(
        self, device: str | torch.device, kind: type[Any], tokenizer: type[Any], most: int | None = None
    ) -> tuple[TextEncoder, Any]:
        """What turns prompts into hidden states (N, L, D), and its network.

        Args:
            device: where it runs.
            kind, tokenizer: classes of transformers.
            most: L, the number of tokens; None: the tokenizer's own, or the encoder's positions if they are fewer.
        """
        encoder = frozen(self.part("text_encoder", {kind.__name__: kind}), device)
        folder = Path(self.place) / "tokenizer"
        for file in folder.iterdir() if folder.is_dir() else []:
            refuse_pointer(file)
        tokens = tokenizer.from_pretrained(self.place, subfolder="tokenizer", **self.hub)
        places = getattr(encoder.config, "max_position_embeddings", None)
        length = min(tokens.model_max_length if most is None else most, places or most or 77)

        def encode_text(texts: list[str]) -> torch.Tensor:
            lengths = [len(ids) for ids in tokens(texts).input_ids]
            if cut := sum(one > length for one in lengths):
                warnings.warn(
                    f"{cut} of {len(texts)} prompts have over {length} tokens and are cut", stacklevel=2
                )
            told = tokens(
                texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
            )
            masked = most is not None or getattr(encoder.config, "use_attention_mask", False)
            mask = told.attention_mask.to(device) if masked else None
            with torch.inference_mode():
                return encoder(told.input_ids.to(device), attention_mask=mask)[0]

        return encode_text, encoder


def read_json(file: Path) -> dict[str, Any]:
    """Content of a JSON file; raises ValueError with the file's name if it is none."""
    refuse_pointer(file)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} must be a JSON file: {error}") from error


def refuse_settings(part: str, network: Any, neutral: Mapping[str, Sequence[Any]]) -> None:
    """Raise ValueError if a field of a network's configuration has another value than those given, the fields by name."""
    for name, allowed in neutral.items():
        if (value := network.config.get(name)) not in allowed:
            raise ValueError(f"{name}={value!r} of {part} is not supported; supported: {list(allowed)}")


def check_channels(part: str, network: Any, latent_channels: int | None = None) -> None:
    """Raise ValueError unless a network returns as many channels as it takes, or twice as many (learned variance).

    Args:
        part, network: name and network.
        latent_channels: of the autoencoder; the network takes as many.
    """
    taken, returned = (
        network.config["in_channels"],
        network.config["out_channels"] or network.config["in_channels"],
    )
    if returned not in (taken, 2 * taken):
        raise ValueError(
            f"out_channels of {part} must be {taken} or {2 * taken} (in_channels), got {returned}"
        )
    if latent_channels not in (None, taken):
        raise ValueError(
            f"in_channels of {part} must be {latent_channels}, which its autoencoder has, got {taken}"
        )


def facts(chain: Chain, **networks: Any) -> list[Any]:
    """What determines results besides weights: the scheduler's and the networks' configurations, for digests."""
    configs = {name: getattr(network, "config", None) for name, network in networks.items()}
    told = {
        name: public(config if isinstance(config, Mapping) else config.to_dict())
        for name, config in configs.items()
        if config is not None
    }
    return [chain.facts, sorted(told.items())]


def _config(kind: type[ConfigMixin], place: str | Path, **options: Any) -> dict[str, Any]:
    """A configuration in a folder or on the hub."""
    folder, subfolder = Path(place), options.get("subfolder", "")
    if folder.is_dir():
        file = folder / subfolder / str(kind.config_name)
        if not file.exists() and subfolder == "scheduler" and (folder / subfolder / "config.json").exists():
            file = folder / subfolder / "config.json"
        if not file.exists():
            raise FileNotFoundError(f"no {Path(subfolder, str(kind.config_name))} in {folder}")
        return read_json(file)
    return cast(dict[str, Any], kind.load_config(str(place), **options))
