"""Which notebooks a run is of. A name that does not exist is an error that lists what there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "taba_utils"
OWN = "mini"  # the profile that the notebooks' own parameters cells are
FIRST = (
    "02_latents_vs_noise",  # samples the most images: the others find theirs in the cache
    "08_first_inversion_steps",
    "06_editing_diversity",
    "05_interpolation",
    "03_where_latents_lie",
    "09_training_dynamics",
    "11_inversions_compared",
)


def profiles(root: Path) -> list[str]:
    """The notebooks' own profile, then every folder of params/."""
    return [OWN, *sorted(folder.name for folder in (root / "params").glob("*") if folder.is_dir())]


def notebooks(root: Path, profile: str = OWN) -> list[str]:
    """Names of the notebooks of a profile, in order.

    Raises:
        ValueError: there is no such profile.
    """
    if profile not in profiles(root):
        raise ValueError(f"PROFILE must be one of {profiles(root)}, got {profile!r}")
    names = sorted(path.stem for path in (root / "notebooks").glob("*.ipynb"))
    return [name for name in names if profile == OWN or parameter_file(root, profile, name).exists()]


def chosen(root: Path, profile: str, asked: Sequence[str]) -> list[str]:
    """Names of the notebooks that were asked for, in the order in which they start. Those of `FIRST` are the longest.

    Args:
        root: folder of the repository.
        profile: one of `profiles(root)`.
        asked: names, numbers ("02") or paths; none: all notebooks of the profile.

    Raises:
        ValueError: no such profile, or no such notebook in it.
    """
    there = notebooks(root, profile)
    names = [_named(there, one, profile) for one in asked] or there
    return sorted(dict.fromkeys(names), key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def sources(root: Path, profile: str, name: str) -> list[Path]:
    """The files that a run of a notebook follows from, besides the package: itself, its parameters and references."""
    found = [root / "notebooks" / f"{name}.ipynb", root / "references" / profile / f"{name}.json"]
    if profile != OWN:
        found.append(parameter_file(root, profile, name))
    return [path for path in found if path.exists()]


def package() -> list[Path]:
    """Code, data and weights of the package."""
    return sorted(path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc")


def given(root: Path, profile: str, name: str) -> list[str]:
    """What papermill is told of a notebook's parameters: nothing but where pictures go, in the own profile."""
    if profile == OWN:
        return ["-p", "figures_dir", f"results/{OWN}/figures"]
    return ["-f", str(parameter_file(root, profile, name).relative_to(root))]


def _named(there: list[str], asked: str, profile: str) -> str:
    stem = Path(asked).name.removesuffix(".ipynb")
    found = [name for name in there if name == stem or name.split("_")[0] == stem]
    if not found:
        raise ValueError(f"NOTEBOOKS of the profile {profile!r} are {there}, got {asked!r}")
    return found[0]


def parameter_file(root: Path, profile: str, name: str) -> Path:
    """Where a profile other than the own one says a notebook's parameters."""
    return root / "params" / profile / f"{name}.yaml"
