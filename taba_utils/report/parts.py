"""Parts of a reference: what it says about some of its models, and how it grows model by model.

References and parameters are those of `taba_utils.report.references`, as JSON holds them.
"""

from __future__ import annotations

import math
import re
from typing import Any

from taba_utils.models.registry import list_names


def models_of(parameters: dict[str, Any]) -> list[str]:
    """The models that a notebook's parameters list; empty if the notebook lists none."""
    return list(parameters.get("models") or [])


def about(models: list[str], reference: dict) -> dict:
    """What a reference says about some of its models; all of it if they are not some of its models."""
    whole = {*models_of(reference["parameters"])}
    if not models or not {*models} <= whole:
        return reference
    left_out = whole - {*models}
    return {
        "parameters": reference["parameters"] | {"models": models},
        "models": {name: it for name, it in reference["models"].items() if name not in left_out},
        "numbers": {name: it for name, it in reference["numbers"].items() if owner(name) not in left_out},
        "effects": {
            name: it
            for name, it in reference["effects"].items()
            if left_out.isdisjoint([it["model"], *map(str, it["at"].values())])
        },
    }


def joined(reference: dict, new: dict) -> dict:
    """A reference with what another run found about its own models put in, in the order of `list_models`."""
    every = dict.fromkeys([*models_of(reference["parameters"]), *models_of(new["parameters"])])
    models = sorted(every, key=lambda name: list_names().index(name) if name in list_names() else math.inf)
    place = {name: number for number, name in enumerate(models)}
    both = {part: reference[part] | new[part] for part in new}
    return both | {
        "parameters": both["parameters"] | {"models": models},
        "models": dict(sorted(both["models"].items(), key=lambda it: place.get(it[0], math.inf))),
        "effects": dict(sorted(both["effects"].items(), key=lambda it: place.get(it[1]["model"], -1))),
        "numbers": dict(sorted(both["numbers"].items(), key=lambda it: place.get(owner(it[0]), -1))),
    }


def owner(number: str) -> str:
    """The model that a number is about: all of its name before a colon or a comma."""
    return re.split("[:,]", number)[0]
