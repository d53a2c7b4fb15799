"""The cache: whatever determines a result is in its key, nothing else is, and nothing damaged is believed."""

import contextlib
import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from toys import STEPS, Toy, assert_same, by_hand, shards

from taba_utils import trajectories
from taba_utils.cache import ShardStore, entries_digest, fingerprint, store
from taba_utils.ddim import sample
from taba_utils.inversion import method
from taba_utils.inversion.naive import Naive
from taba_utils.models.adm import ADM
from taba_utils.models.guided import Guided
from taba_utils.schedule import linear_alphas_cumprod
from taba_utils.trajectories import Trajectories

ROOT = Path(__file__).parents[1]


class Steered(Toy, Guided):
    """Toy whose guidance can be set."""

    def predict_conditional(self, x, timestep, condition):
        return Toy.predict_noise(self, x, timestep, condition)

    predict_noise = Guided.predict_noise


def unet(**changes):
    """A tiny U-Net; the same weights whatever the changes."""
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
        **changes,
    )
    chain = linear_alphas_cumprod(1000)
    return ADM(
        network,
        name="tiny",
        digest="one",
        training_alphas_cumprod=chain,
        timestep_scale=1,
        convention="target",
    )


def cost(runs, denoiser, **options):
    made = runs(denoiser, **options)
    made.latent(2)
    return made.evaluations


def attention_layers(denoiser):
    return [layer for layer in denoiser.unet.modules() if isinstance(layer, Attention)]


def scale_attention(denoiser):
    attention_layers(denoiser)[0].scale *= 1.5


def other_processor(denoiser):
    class Halved(AttnProcessor):
        def __call__(self, *given, **more):
            return super().__call__(*given, **more) / 2

    attention_layers(denoiser)[0].set_processor(Halved())


def test_a_network_of_the_same_weights_and_configuration_is_the_same(runs):
    assert cost(runs, unet()) == 2 * 2 * STEPS
    assert cost(runs, unet()) == 0


@pytest.mark.parametrize("changes", [{"flip_sin_to_cos": False}, {"freq_shift": 1}, {"norm_eps": 1e-3}])
def test_the_same_weights_in_another_configuration_are_another_model(runs, changes):
    cost(runs, unet())
    assert unet(**changes).digest == unet().digest
    assert cost(runs, unet(**changes)) == 2 * 2 * STEPS


@pytest.mark.parametrize(
    "change", [scale_attention, other_processor, lambda denoiser: denoiser.unet.double()]
)
def test_what_is_changed_in_a_loaded_network_changes_the_key(runs, change):
    cost(runs, unet())
    other = unet()
    change(other)
    assert cost(runs, other) == 2 * 2 * STEPS


def test_where_a_network_was_loaded_from_does_not_matter(tmp_path):
    unet().unet.save_pretrained(tmp_path)
    loaded = unet()
    loaded.unet = UNet2DModel.from_pretrained(tmp_path).eval()
    assert fingerprint(loaded) == fingerprint(unet())


def test_the_precision_of_matrix_products_is_part_of_the_key(runs):
    cost(runs, Toy())
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        assert cost(runs, Toy()) == 2 * 2 * STEPS
    finally:
        torch.set_float32_matmul_precision(before)
    with torch.autocast("cpu", torch.bfloat16):
        assert fingerprint(Toy()) != (plain := fingerprint(Toy())) or plain["precision"]["autocast"]
    assert cost(runs, Toy()) == 0


def test_guidance_is_that_of_the_moment_of_computing(runs):
    model = Steered()
    made = runs(model, condition=[1, 2])
    plain = made.image(2)
    model.guidance_scale = 7.5
    for again in (made, runs(model, condition=[1, 2])):
        assert not torch.equal(again.image(2), plain)
    model.guidance_scale = 1.0
    assert torch.equal(runs(Steered(left=0), condition=[1, 2]).image(2), plain)


def typed(body, **names):
    """A model as it is typed into a session: it has no file. `own` is Toy's prediction."""
    names |= {"__name__": "__main__", "Toy": Toy}
    lines = [
        "class Typed(Toy):",
        "    def predict_noise(self, x, timestep, condition=None):",
        "        own = Toy.predict_noise(self, x, timestep)",
        *(f"        {line}" for line in body.splitlines()),
    ]
    exec("\n".join(lines), names)
    return names["Typed"]()


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("return own * 0.9", {}),
        ("return own[:, [2, 1, 0]]", {}),
        ("return factor * own", {"factor": 1}),
        ("return factor * own", {"factor": 2}),
        ("return inner(own)", {"inner": lambda x: x / 3}),
        ("return inner(own)", {"inner": lambda x: x / 4}),
        ("return own + shift", {"shift": torch.ones(1)}),
        ("return own + shift", {"shift": torch.zeros(1)}),
        ("inner = lambda x: x + 1\nreturn inner(own)", {}),
        ("inner = lambda x: x + 2\nreturn inner(own)", {}),
    ],
)
def test_code_typed_in_a_session_is_part_of_the_key(runs, known, body, names):
    made = fingerprint(typed(body, **names))
    assert json.dumps(made) not in known
    known.add(json.dumps(made))
    assert fingerprint(typed(f"# a comment\n\n{body}", **names)) == made
    assert cost(runs, typed(body, **names)) == 2 * 2 * STEPS
    assert cost(runs, typed(body, **names)) == 0


@pytest.fixture(scope="module")
def known():
    return {json.dumps(fingerprint(typed("return own")))}


def test_a_function_in_a_networks_place_is_part_of_the_key(runs):
    class Own(Toy):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def predict_noise(self, x, timestep, condition=None):
            return self.network(x)

    def times(factor, x):
        return factor * x

    networks = [
        lambda x: x,
        lambda x: x / 2,
        partial(times, 0.3),
        partial(times, 0.4),
        torch.nn.Identity().eval(),
    ]
    assert [cost(runs, Own(network)) for network in networks] == [2 * 2 * STEPS] * 5
    assert [cost(runs, Own(network)) for network in networks] == [0] * 5


def test_what_a_model_counts_is_not_part_of_the_key(runs):
    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x

    class Own(Toy):
        asked = 0

        def predict_noise(self, x, timestep, condition=None):
            Own.asked += 1
            return self.network(x)

    model = Own()
    model.network = Counting().eval()
    assert cost(runs, model) == 2 * 2 * STEPS
    assert cost(runs, model) == 0
    assert Own.asked == model.network.calls == 2 * STEPS


@dataclass(frozen=True)
class Weighted(Naive):
    """A method with a parameter, and with a state: the image itself."""

    name = "weighted"
    weight: float = 1.0

    def finish(self, state):
        return self.weight * state, torch.stack([state, -state], dim=1)


def test_a_methods_name_and_parameters_are_part_of_the_key(runs):
    made = runs()
    plain = made.latent(70)
    for place, chosen in enumerate([Weighted(), Weighted(weight=2.0), Weighted("source", 2.0)]):
        latent = made.latent(70, method=chosen)
        assert made.evaluations == 70 * STEPS * (3 + place)
        convention = chosen.convention or "target"
        assert_same(latent, chosen.weight * by_hand(70, convention=convention)[1])
    assert torch.equal(made.latent(70, method="naive", convention="target"), plain)
    assert torch.equal(made.latent(70, method=method("naive")), plain)
    assert made.evaluations == 70 * STEPS * 5


def test_a_methods_state_is_stored_next_to_the_latent(runs):
    made = runs()
    latent = made.latent(10, method=Weighted())
    again = runs(Toy(left=0))
    state = again.state(10, method=Weighted())
    assert again.evaluations == 0
    assert torch.equal(state, torch.stack([latent, -latent], dim=1))
    assert_same(made.state(70, method=Weighted())[:, 0], by_hand(70)[1])
    assert made.evaluations == 70 * STEPS * 2
    with pytest.raises(ValueError, match="method must be one that returns a state"):
        made.state(2, method="naive")


def test_predictions_that_are_asked_for_later_belong_to_the_stored_image(runs, monkeypatch):
    first, shift = runs().image(64), 1e-5
    monkeypatch.setattr(  # sums in another order, as in another micro-batch
        trajectories,
        "sample",
        lambda denoiser, noise, *given, **more: sample(denoiser, noise + shift, *given, **more),
    )
    made = runs(keep_predictions=STEPS)
    latent = made.latent(10, replace_first=STEPS)
    torch.testing.assert_close(latent, made.noise(10) + shift, rtol=0, atol=3e-6)
    assert made.evaluations == 64 * STEPS  # all that was stored is replaced
    image = made.image(64)
    assert made.evaluations == 64 * STEPS
    assert 0 < (image - first).abs().max() < 1e-3
    assert torch.equal(runs(Toy(left=0)).image(64), image)


def dangling(path):
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def folder_in_its_place(path):
    path.unlink()
    path.mkdir()


def letters_for_numbers(path):
    path.rename(path.with_name(f"{path.name[:9]}xx-0-0.safetensors"))


def of_another_user(path):
    """Root may read everything: stands for a file that the process may not read."""
    FORBIDDEN.add(path)


def bad_header(path):
    content = b"\xff" * 64
    path.rename(named := path.with_name(f"{path.name[:29]}{hashlib.sha256(content).hexdigest()}.safetensors"))
    named.write_bytes(content)


def other_content(path):
    content = safetensors.torch.save({"values": torch.zeros(5, 1)})
    path.rename(named := path.with_name(f"{path.name[:29]}{hashlib.sha256(content).hexdigest()}.safetensors"))
    named.write_bytes(content)


FORBIDDEN = set()


@pytest.fixture
def forbidden(monkeypatch):
    read = Path.read_bytes

    def guarded(path):
        if path in FORBIDDEN:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    yield
    FORBIDDEN.clear()


@pytest.mark.usefixtures("forbidden")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dangling, "is skipped: a link to nothing"),
        (folder_in_its_place, "is skipped: Is a directory"),
        (letters_for_numbers, "is skipped: not the name of a shard"),
        (of_another_user, "is skipped: Permission denied"),
        (bad_header, "is damaged (wrong content) and will be computed again"),
        (other_content, "is damaged (wrong content) and will be computed again"),
    ],
)
def test_what_is_no_shard_is_skipped_with_one_line(runs, tmp_path, capsys, change, said):
    image = runs().image(5)
    (path,) = shards(tmp_path)
    change(path)
    capsys.readouterr()
    again = runs()
    assert torch.equal(again.image(5), image)
    assert again.evaluations == 5 * STEPS
    lines = [line for line in capsys.readouterr().err.splitlines() if "could not be stored" not in line]
    assert len(lines) == 1
    assert said in lines[0]


def test_a_file_in_the_folders_place_costs_one_line(runs, tmp_path, capsys):
    image = runs().image(5)
    folder = shards(tmp_path)[0].parent
    shutil.rmtree(folder)
    folder.write_text("")
    assert torch.equal(runs().image(5), image)
    assert capsys.readouterr().err.count("\n") == 1


@contextlib.contextmanager
def read_only(folder, monkeypatch):
    """A read-only mount; where none can be made, every write fails as on one."""
    mounted = (
        [
            subprocess.run(["mount", *options, folder], capture_output=True, check=False).returncode == 0
            for options in (["--bind", folder], ["-o", "remount,ro,bind"])
        ]
        if shutil.which("mount")
        else [False]
    )

    def refuse(*_given, **_more):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        if not all(mounted):
            patched.setattr(Path, "unlink", refuse)
            patched.setattr(os, "replace", refuse)
            patched.setattr(os, "fsync", refuse)
        try:
            yield
        finally:
            if mounted[0]:
                subprocess.run(["umount", folder], check=True)


def test_a_complete_cache_on_a_read_only_mount_is_used(runs, tmp_path, monkeypatch, capsys):
    image, latent = runs().image(5), runs().latent(5)
    (folder := tmp_path / "copy").mkdir()
    for path in tmp_path.glob("*-*"):
        shutil.copytree(path, folder / path.name)
    capsys.readouterr()
    with read_only(folder, monkeypatch):
        stored = runs(Toy(left=0), cache_dir=folder)
        assert torch.equal(stored.image(5), image)
        assert torch.equal(stored.latent(5), latent)
        assert capsys.readouterr().err == ""
        more = runs(cache_dir=folder)
        assert_same(more.latent(70), by_hand(70)[1])
    line = capsys.readouterr().err
    assert line == f"cache: {folder} cannot be written (Read-only file system), the run goes on without\n"


def test_a_damaged_shard_on_a_read_only_mount_costs_one_line(runs, tmp_path, monkeypatch, capsys):
    image = runs().image(5)
    (path,) = shards(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with read_only(tmp_path, monkeypatch):
        for _ in range(2):
            assert_same(runs().image(5), image)
    damaged, unwritable = capsys.readouterr().err.splitlines()
    assert "is damaged (wrong checksum)" in damaged
    assert "cannot be written" in unwritable


def test_what_is_not_finite_is_not_stored_and_named(tmp_path, capsys):
    values = torch.zeros(4, 2)
    values[1, 0], values[3, 1] = torch.nan, torch.inf
    kept = ShardStore(tmp_path, {"kind": "image"}, "toy")
    kept.write(64, values)
    assert len(kept.read(64)) == 0
    assert "image shard 1" in (line := capsys.readouterr().err)
    assert "is not stored: NaN or infinity in images 65, 67\n" in line
    kept.write(64, torch.ones(4, 2))
    assert torch.equal(kept.read(64), torch.ones(4, 2))


def test_a_newer_shard_of_the_same_length_counts(tmp_path):
    kept = ShardStore(tmp_path, {"kind": "image"}, "toy")
    for value in (3.0, 1.0, 2.0, 2.0, 0.0):
        kept.write(0, torch.full((4, 2), value))
        assert torch.equal(kept.read(0), torch.full((4, 2), value))
    assert len(shards(tmp_path)) == 1


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A copy of the package, to edit."""
    folder = tmp_path_factory.mktemp("workshop")
    ignored = shutil.ignore_patterns("weights", "__pycache__")
    shutil.copytree(ROOT / "taba_utils", folder / "taba_utils", ignore=ignored)
    (folder / "taba_utils" / "models" / "weights").symlink_to(ROOT / "taba_utils" / "models" / "weights")
    return folder


SCRIPT = """
import sys
import taba_utils as taba
model = taba.load_model("gaussian")
made = taba.Trajectories(model, 4, keep_predictions=1)
if len(sys.argv) > 1:  # an edit while the session runs
    from pathlib import Path
    path = Path(taba.__file__).with_name("ddim.py")
    path.write_text(path.read_text().replace("(1 - end) ** 0.5 * noise", "(1.1 - end) ** 0.5 * noise"))
made.latent(2)
print(made.evaluations)
"""


def run(folder, *given, script=SCRIPT):
    variables = os.environ | {"PYTHONPATH": str(folder), "TABA_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", script, *given]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@contextlib.contextmanager
def edited(folder, file, old, new):
    path = folder / "taba_utils" / file
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(source)


def costs(folder, *given):
    return int(run(folder, *given).stdout)


@pytest.mark.timeout(900)
def test_an_edit_of_the_package_changes_the_key_if_it_can_change_a_result(workshop):
    assert costs(workshop) == 2 * 2 * 4
    kept = [
        ("ddim.py", '"""DDIM sampling', '"""Sampling by DDIM'),
        (
            "ddim.py",
            "Move a state from one noise level",
            "# a comment\n    Move the state from a noise level",
        ),
        ("schedule.py", "import math", "# a comment\nimport math  # and another"),
        ("metrics/errors.py", "import torch", "import torch\n\nUNUSED = 1"),
        ("report/run.py", "import ", "import math\nimport "),
        ("inversion/__init__.py", "METHODS = {", "UNUSED = 1\nMETHODS = {"),
    ]
    with contextlib.ExitStack() as stack:
        for edit in kept:
            stack.enter_context(edited(workshop, *edit))
        assert costs(workshop) == 0
    for file, old, new in [
        ("ddim.py", "end**0.5 * image +", "end**0.5 * 1.0 * image +"),
        ("trajectories.py", "return result.image", "return 1.0 * result.image"),
        ("observers.py", "step.noise_prediction, levels", "1.0 * step.noise_prediction, levels"),
        ("models/gaussian.py", "return noise.to(x.dtype)", "return 1.0 * noise.to(x.dtype)"),
    ]:
        with edited(workshop, file, old, new):
            assert costs(workshop) == 2 * 2 * 4
    assert costs(workshop) == 0


@pytest.mark.timeout(600)
def test_an_edit_between_import_and_first_use_poisons_neither_code(workshop):
    shutil.rmtree(workshop / "cache", ignore_errors=True)
    with edited(workshop, "ddim.py", "import annotations", "import annotations  #"):
        done = run(workshop, "edit")
        assert int(done.stdout) == 2 * 2 * 4
        assert done.stderr.count("taba_utils.ddim was edited after this session began") == 1
        assert costs(workshop) == 2 * 2 * 4  # the new code
    assert costs(workshop) == 2 * 2 * 4  # the old code


TEXTS = """
import json
import taba_utils as taba
from taba_utils.cache import fingerprint
from taba_utils.judges import MiniClip
print(json.dumps([fingerprint(taba.load_model("mini-adm")), fingerprint(taba.load_model("mini-if")), fingerprint(MiniClip())]))
"""


@pytest.mark.timeout(600)
def test_edits_of_the_embedded_models_change_the_keys_of_those_whose_results_change(workshop):
    plain = json.loads(run(workshop, script=TEXTS).stdout)
    with edited(workshop, "models/mini_clip.py", "text.lower().split()", "text.lower().split()[::-1]"):
        adm, text, judge = json.loads(run(workshop, script=TEXTS).stdout)
    assert [adm == plain[0], text == plain[1], judge == plain[2]] == [True, False, False]
    scaled = "for module in network.modules():\n        module.scale = 0.1"
    with edited(workshop, "models/mini.py", "for module in network.modules():", scaled):
        assert json.loads(run(workshop, script=TEXTS).stdout)[0] != plain[0]


@pytest.mark.timeout(600)
def test_folders_of_old_code_are_pruned(workshop):
    shutil.rmtree(workshop / "cache", ignore_errors=True)
    costs(workshop)
    with edited(workshop, "ddim.py", "end**0.5 * image +", "end**0.5 * 1.0 * image +"):
        costs(workshop)
    folders = {path for path in (workshop / "cache").iterdir() if path.is_dir()}
    (workshop / "cache" / "photographs").mkdir()
    (workshop / "cache" / f"image-{'0' * 32}").mkdir()  # without key.json
    prune_command = "import runpy, sys; sys.argv = ['cache', '--prune', *sys.argv[1:]]; " + (
        "runpy.run_module('taba_utils.cache', run_name='__main__')"
    )
    would = run(workshop, "--dry-run", script=prune_command).stdout.splitlines()
    assert len([line for line in would if line.startswith("would remove") and "ddim" in line]) == 3
    assert all(folder.exists() for folder in folders)
    done = run(workshop, script=prune_command).stdout.splitlines()
    assert len([line for line in done if line.startswith("removed")]) == 3
    assert len([line for line in done if line.startswith("skipped")]) == 1
    left = {path for path in folders if path.exists()}
    assert len(left) == 3 == len(folders) - 3
    assert (workshop / "cache" / "photographs").exists()
    assert costs(workshop) == 0


def test_nothing_heavy_is_imported(workshop):
    script = "import sys, taba_utils.trajectories, taba_utils.judges.remembered; print(*sys.modules)"
    loaded = set(run(workshop, script=script).stdout.split())
    assert not loaded & {"pandas", "diffusers", "scipy", "IPython", "matplotlib", "transformers", "open_clip"}
    assert "torch" not in run(workshop, script="import sys, taba_utils; print(*sys.modules)").stdout.split()


def flip(place):
    def damage(content):
        content[place] ^= 1
        return content

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        *(flip(place) for place in (0, 8, 20, 60, 200, 5000, -1)),
        lambda content: b"",
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content + b"\0",
    ],
)
@pytest.mark.parametrize("kind", ["image", "latent"])
def test_a_damaged_shard_is_said_in_one_line_and_redone(runs, tmp_path, capsys, damage, kind):
    image, latent = runs().image(70), runs().latent(70)
    capsys.readouterr()
    victim = shards(tmp_path, kind)[0]
    victim.write_bytes(damage(bytearray(victim.read_bytes())))
    again = runs()
    assert_same(again.image(70), image)
    assert_same(again.latent(70), latent)
    assert again.evaluations == 64 * STEPS
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"cache: {kind} shard 0" in line
    assert "damaged" in line
    assert runs(Toy(left=0)).latent(70).equal(again.latent(70))
    assert capsys.readouterr().err == ""


def test_a_damaged_shard_is_said_once_even_if_fewer_images_are_wanted(runs, tmp_path, capsys):
    image = runs().image(20)
    (victim,) = shards(tmp_path)
    victim.write_bytes(victim.read_bytes()[:-1])
    assert_same(runs().image(10), image[:10])
    assert capsys.readouterr().err.count("\n") == 1
    assert_same(runs(Toy(left=0)).image(10), image[:10])
    assert capsys.readouterr().err == ""


def test_a_full_disk_loses_nothing_that_is_in_memory(runs, tmp_path, monkeypatch, capsys):
    latent = by_hand(70)[1]

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    made = runs()
    assert_same(made.latent(70), latent)
    assert made.evaluations == 70 * 2 * STEPS
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4  # two shards of images and two of latents
    assert all("could not be stored" in line and "No space left" in line for line in lines)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_temporary_files_of_dead_runs_are_removed_and_those_of_living_ones_kept(runs, tmp_path):
    runs().image(2)
    folder = shards(tmp_path)[0].parent
    dead, living = folder / "dead.tmp", folder / "living.tmp"
    for path in (dead, living):
        path.write_bytes(b"half a shard")
    os.utime(dead, (time.time() - 2 * store.STALE_AFTER,) * 2)
    runs(Toy(left=0)).image(2)
    assert not dead.exists()
    assert living.exists()


def grow(folder, batch_size, barrier):
    """What each of two processes does, both asking for the same shards at the same moment."""
    for seed in range(3):
        for n in (1, 2, 63, 70, 130):
            barrier.wait(120)
            made = Trajectories(
                Toy(), STEPS, seed, cache_dir=folder, batch_size=batch_size, keep_predictions=1
            )
            assert_same(made.latent(n, replace_first=1), by_hand(n, seed=seed, replace_first=1)[1])


def test_two_processes_share_a_cache(runs, tmp_path, capfd):
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    other = spawn.Process(target=grow, args=(tmp_path, 3, barrier))
    other.start()
    grow(tmp_path, 32, barrier)
    other.join(120)
    assert other.exitcode == 0
    assert capfd.readouterr().err == ""  # no shard was ever seen damaged or half written
    for seed in range(3):
        stored = runs(Toy(left=0), seed=seed, keep_predictions=1)
        image, latent = by_hand(130, seed=seed, replace_first=1)
        assert_same(stored.image(130), image)
        assert_same(stored.latent(130, replace_first=1), latent)
    assert not list(tmp_path.rglob("*.tmp"))
    assert len(shards(tmp_path)) == 3 * 3 * 3  # seeds, shards, and images, predictions, latents


def hang(folder):
    """Stores one shard of images and never gets beyond the temporary file of the second."""
    replace, names = os.replace, []

    def hanging(source, target):  # key.json, the first shard, the second
        names.append(target)
        replace(source, target) if len(names) < 3 else time.sleep(600)

    os.replace = hanging
    Trajectories(Toy(), STEPS, cache_dir=folder).image(130)


def test_a_run_killed_while_writing_resumes(runs, tmp_path):
    worker = multiprocessing.get_context("spawn").Process(target=hang, args=(tmp_path,))
    worker.start()
    deadline = time.monotonic() + 120
    while not (shards(tmp_path) and list(tmp_path.rglob("*.tmp"))):
        assert worker.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    worker.kill()
    worker.join()
    resumed = runs()
    assert_same(resumed.image(130), by_hand(130)[0])
    assert resumed.evaluations == 66 * STEPS


def test_a_folder_that_cannot_be_written_is_refused_before_any_sampling(runs, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="cache_dir must be a folder that can be written"):
            runs(cache_dir=folder)


def test_the_environment_names_the_default_folder(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("TABA_CACHE", str(tmp_path / "elsewhere"))
    assert runs(cache_dir=None).cache_dir == tmp_path / "elsewhere"
    monkeypatch.delenv("TABA_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runs(cache_dir=None).cache_dir == tmp_path / ".cache" / "taba"


def test_conditions_are_told_apart_by_value_type_and_order():
    conditions = [
        None,
        ["a", "bc"],
        ["ab", "c"],
        ["bc", "a"],
        [1, 2],
        [1.0, 2.0],
        torch.tensor([[1, 2], [1, 2]]),
        torch.tensor([[1, 2], [1, 2]]).bfloat16(),
        torch.tensor([[1, 2]]).expand(2, 2).short(),
    ]
    digests = [entries_digest(condition, 2) for condition in conditions]
    assert len(set(digests)) == len(digests)
    assert entries_digest(np.array([1, 2, 3]), 2) == digests[4]
    assert entries_digest(torch.tensor([1, 2]), 2) == digests[4]
