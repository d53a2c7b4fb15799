"""What a parameter may be, given the others: which T the models have, how many parts of a whole there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from taba_utils import models
from taba_utils.report import rules
from taba_utils.report.rules import RULES, Rule
from taba_utils.schedule import leading_steps


def dependent_rules(given: dict[str, Any]) -> dict[str, Rule]:
    """Rules that replace those of RULES for these parameters; `model` and `models` have passed theirs."""
    chosen = [*([given["model"]] if "model" in given else []), *given.get("models", [])]
    chosen += ["mini-adm-s"] if "checkpoints" in given else []
    return step_rules(chosen) | picture_rules(chosen) | count_rules(given)


def models_rule(given: dict[str, Any]) -> Rule:
    """Where nothing but edits is judged (Sec. 4.2), a model needs a condition to replace."""
    if "judges" not in given or "judge" in given:
        return RULES["models"]
    return rules.list_of(_conditional)


def step_rules(chosen: list[str]) -> dict[str, Rule]:
    """Rules of T for these models: each model's training chain must have a grid of T levels."""
    if not chosen:
        return {}
    shortest = min(chosen, key=lambda name: models.entry_of(name).training_steps)
    longest_grid = models.entry_of(shortest).training_steps
    steps = rules.integer(2, longest_grid, f" ({shortest}'s training steps)")

    def has_grid(value):
        problem, without = (
            steps(value),
            [name for name in chosen if not steps(value) and not _fits(name, value)],
        )
        if problem or not without:
            return problem
        fit = [_nearest(chosen, range(value, 1, -1)), _nearest(chosen, range(value, longest_grid + 1))]
        cut = f"a number of steps that the {models.entry_of(without[0]).training_steps} training steps of {without[0]}"
        return f"{cut} can be cut into (the nearest are {fit[0]} and {fit[1]})"

    return {
        "num_steps": has_grid,
        "steps_grid": rules.ascending(rules.list_of(has_grid)),
        "budget": lambda value: RULES["budget"](value) or has_grid(value),  # naive: as many steps
    }


def picture_rules(chosen: list[str]) -> dict[str, Rule]:
    """Models of other pictures than garments need real images of their kind, and judges that know more."""
    foreign = [name for name in chosen if models.entry_of(name).training_set != models.GARMENTS]
    if not foreign:
        return {}

    def folder(value):
        return (problem := rules.picture_folder(value)) and f"{problem} such as {foreign[0]} was trained on"

    def general(names: Callable[[], list[str]]) -> Rule:
        why = f" ({foreign[0]} does not draw garments)"
        return rules.one_of(lambda: [name for name in names() if not name.startswith("mini-")], why)

    judges = rules.list_of(general(rules.judges))
    return {"real_images": folder, "judge": general(rules.feature_judges), "judges": judges}


def count_rules(given: dict[str, Any]) -> dict[str, Rule]:
    """Rules of counts: pools divide the images, and no part has more images than the whole."""
    num_images: Any = given.get("num_images")
    found = {"num_real": _real_rule(given.get("real_images"))} if "num_real" in given else {}

    def pool(value):
        divides = f"a divisor of {num_images} (num_images)"
        return RULES["pool_size"](value) or ("" if num_images % value == 0 else divides)

    if "num_edits" in given and not RULES["num_images"](num_images):
        found["num_images"] = rules.integer(
            8, 1_000_000, " (four pairs: precision looks at third neighbours)"
        )
    if isinstance(num_images, int):
        firsts = " (half of num_images: the firsts of pairs)"
        found |= {
            "num_edits": rules.integer(2, (num_images + 1) // 2, firsts),
            "num_reconstructions": rules.integer(1, num_images, " (num_images)"),
            "num_grid_images": rules.integer(2, num_images, " (num_images)"),
            "num_long_images": rules.integer(2, num_images, " (num_images)"),
            "pool_size": pool,
        }
    return found


def _fits(name: str, num_steps: int) -> bool:
    try:
        leading_steps(models.entry_of(name).training_steps, num_steps)
    except ValueError:
        return False
    return True


def _nearest(chosen: list[str], candidates: range) -> int | None:
    return next((steps for steps in candidates if all(_fits(name, steps) for name in chosen)), None)


def _conditional(value: Any) -> str:
    if not rules.model(value) and models.entry_of(value).condition != "none":
        return ""
    names = [name for name, entry in models.ZOO.items() if entry.condition != "none"]
    return f"one of {names}, or a folder with a pipeline (with a condition to replace)"


def _real_rule(folder: Any) -> Rule:
    from taba_utils.judges.real_images import NUM_SHIPPED
    from taba_utils.pictures import picture_files

    if folder is None:
        return rules.integer(4, NUM_SHIPPED, " (real images whose features ship)")
    there = 0 if rules.picture_folder(folder) else len(picture_files(Path(folder).expanduser()))
    return rules.integer(4, max(there, 4), " (pictures in real_images)")
