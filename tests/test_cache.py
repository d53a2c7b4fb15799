"""The cache on disk: what belongs together is stored together, and nothing odd or damaged is believed."""

import contextlib
import errno
import hashlib
import multiprocessing
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from toys import STEPS, Toy, Weighted, assert_same, by_hand, grow, hang, shards

from taba_utils import trajectories
from taba_utils.cache import ShardStore, entries_digest, store
from taba_utils.ddim import sample


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
