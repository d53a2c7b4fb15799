"""Which trajectories the notebooks of a profile share, and the jobs that make them, from the params files alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import yaml

from workflow import selection

if TYPE_CHECKING:
    from taba_utils.studies.needs import Need

EVALUATIONS_A_JOB = 100_000  # some minutes of an embedded model on one core
FORMS = """'-p NAME VALUE' or '-y "NAME: VALUE"'"""  # of PARAMETERS


class Key(NamedTuple):
    """What the images of one `Trajectories` have in common; in pairs, images 0 and 1 share a condition."""

    model: str
    seed: int
    num_steps: int
    paired: bool


class Part(NamedTuple):
    """Images start..stop-1 of some trajectories: what a job computes. The first four are a `Key`."""

    model: str
    seed: int
    num_steps: int
    paired: bool
    start: int
    stop: int

    def __str__(self) -> str:
        images = f"images {self.start} to {self.stop - 1}{' in pairs' if self.paired else ''}"
        return f"{Path(self.model).name}, seed {self.seed}, T = {self.num_steps}, {images}"

    @property
    def slug(self) -> str:
        """A file name that no other part of a profile has."""
        where = f"{'-paired' if self.paired else ''}-{self.start:06d}"
        return f"{quote(self.model, safe='')}-seed{self.seed}-T{self.num_steps}{where}"


def plan(
    root: Path,
    profile: str,
    names: Sequence[str],
    options: Sequence[str] = (),
    evaluations: int = EVALUATIONS_A_JOB,
) -> dict[str, list[Part]]:
    """Notebook -> the parts that it waits for; none in the notebooks' own profile, whose trajectories are short.

    Args:
        root: folder of the repository.
        profile: one of `selection.profiles(root)`.
        names: the notebooks that will run.
        options: further options of papermill.
        evaluations: of a job. Trajectories that need fewer are left to the notebooks, those that need more are cut
            into ranges of images.
    """
    wanted = {name: _shared(root, profile, name, options) for name in names}
    every = [need for needs in wanted.values() for need in needs]
    keys = dict.fromkeys(map(_key, every))
    at_once = _at_once(parameters(root, profile, name, options) for name, needs in wanted.items() if needs)
    parts = {key: list(_cut(key, _of(key, every), evaluations, at_once)) for key in keys}
    waits: dict[str, list[Part]] = {}
    for name, needs in wanted.items():
        most = {key: max(need.images for need in _of(key, needs)) for key in dict.fromkeys(map(_key, needs))}
        waits[name] = [part for key, images in most.items() for part in parts[key] if part.start < images]
    return waits


def fill(root: Path, profile: str, names: Sequence[str], options: Sequence[str], part: Part) -> int:
    """Compute what the cache lacks of what the notebooks need of a part.

    Returns:
        Evaluations that were made, counted by image.

    Raises:
        ValueError: no notebook needs the part, or a parameter that is not allowed.
    """
    from taba_utils.cache import SHARD_SIZE
    from taba_utils.models import entry_of
    from taba_utils.studies.models import Models

    key = Key(*part[:4])
    wanted = {name: _of(key, _shared(root, profile, name, options)) for name in names}
    needs = [need for found in wanted.values() for need in found if need.images > part.start]
    if not needs:
        raise ValueError(f"a notebook of {list(names)} must need the trajectories, got {part}")
    p = parameters(root, profile, next(name for name in names if wanted[name]), options)
    name = entry_of(part.model).name
    told = {key: p[key] for key in ("batch_size", "cache_dir")}
    models = Models([name], p["device"], sources={name: part.model}, **told)
    # The cache knows a shard by the conditions of all its images: whole shards are told.
    images = SHARD_SIZE * math.ceil(max(need.images for need in needs) / SHARD_SIZE)
    exact = max(need.work.exact for need in needs)
    options = {"paired": part.paired, "keep_predictions": exact}
    r = models.trajectories(name, part.seed, images, part.num_steps, **options)
    for need in sorted(needs, key=lambda need: (need.work.inverted, -need.images)):
        stop = min(need.images, part.stop)
        if need.work.inverted:
            r.latent(stop, need.work.convention, start=part.start, replace_first=need.work.exact)
        else:
            r.image(stop, start=part.start)
    return r.evaluations


def parameters(root: Path, profile: str, name: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """Parameters of a notebook in a profile that has files.

    Raises:
        ValueError: options of papermill other than "-p NAME VALUE" and "-y YAML".
    """
    given = dict(yaml.safe_load(selection.parameter_file(root, profile, name).read_text(encoding="utf-8")))
    in_yaml, single, left = {}, {}, [*options]
    while left:
        if left[0] in ("-p", "--parameters") and len(left) >= 3:
            single[left[1]] = yaml.safe_load(left[2])
            del left[:3]
        elif left[0] in ("-y", "--parameters_yaml") and len(left) >= 2:
            in_yaml |= _mapping(left[1])
            del left[:2]
        else:
            raise ValueError(f"PARAMETERS must be of the form {FORMS}, got {' '.join(left)!r}")
    return given | in_yaml | single  # in papermill's order


def _mapping(text: str) -> dict[str, Any]:
    """Parameters as YAML; raises ValueError for anything else."""
    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError:
        told = None
    if not isinstance(told, dict):
        raise ValueError(f"PARAMETERS must be of the form {FORMS}, got '-y' with {text!r}")
    return told


def _shared(root: Path, profile: str, name: str, options: Sequence[str]) -> list[Need]:
    """Needs of a notebook that a job can compute: not those of a model without weights.

    None, if its parameters cannot be read: it will say so itself.
    """
    if profile == selection.OWN:
        return []
    from taba_utils.models import entry_of
    from taba_utils.studies.needs import Shared, needs

    try:
        found = needs(name, parameters(root, profile, name, options))
        return [n for n in found if isinstance(n.work, Shared) and entry_of(n.model).weights != "missing"]
    except (KeyError, TypeError, ValueError):
        return []


def _key(need: Need) -> Key:
    return Key(need.model, need.seed, need.num_steps, need.work.paired)


def _of(key: Key, needs: Sequence[Need]) -> list[Need]:
    return [need for need in needs if _key(need) == key]


def _at_once(given: Iterable[dict[str, Any]]) -> int:
    """Images after which the micro-batches of all notebooks begin anew."""
    sizes = {p.get("batch_size") for p in given}
    return math.lcm(*(64 * max(1, size // 64) for size in sizes if isinstance(size, int)))


def _cut(key: Key, needs: Sequence[Need], evaluations: int, at_once: int) -> Iterator[Part]:
    """Ranges of images, about `evaluations` each; none if all together need fewer."""
    longest = {need.work: need for need in sorted(needs, key=lambda need: need.images)}.values()
    if sum(need.images * need.evaluations for need in longest) < evaluations:
        return
    an_image = sum(need.evaluations for need in longest)
    step = at_once * math.ceil(evaluations / an_image / at_once)
    images = max(need.images for need in needs)
    for start in range(0, images, step):
        yield Part(*key, start, min(start + step, images))
