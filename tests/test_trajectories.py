"""Stored trajectories: nothing computed twice, nothing lost, nothing damaged believed."""

import errno
import json
import multiprocessing
import os
import time

import numpy as np
import pytest
import torch

from taba_utils import observers, trajectories
from taba_utils.ddim import invert, sample
from taba_utils.models.gaussian import GaussianMixture
from taba_utils.trajectories import Trajectories

STEPS = 4
SHAPE = (3, 8, 8)


class Toy(GaussianMixture):
    """Two Gaussians; `left`: images the network takes before it breaks; a condition shifts its ε."""

    def __init__(self, left=float("inf"), variance=0.3):
        means = torch.stack([torch.zeros(SHAPE), torch.linspace(-1, 1, 192).reshape(SHAPE)])
        super().__init__(torch.full((2, *SHAPE), variance), means)
        self.left = left

    def predict_noise(self, x, timestep, condition=None):
        self.left -= len(x)
        if self.left < 0:
            raise RuntimeError("interrupted")
        shift = 0 if condition is None else torch.as_tensor(condition).reshape(-1, 1, 1, 1) / 100
        return (super().predict_noise(x, timestep) + shift).float()


@pytest.fixture
def runs(tmp_path):
    def make(denoiser=None, num_steps=STEPS, seed=0, **options):
        return Trajectories(denoiser or Toy(), num_steps, seed, **{"cache_dir": tmp_path, **options})

    return make


def by_hand(n, condition=None, clip=None, convention="target", seed=0, **options):
    """Images and latents of one uncached run."""
    model, schedule = Toy(), Toy().schedule(STEPS)
    keep = observers.noise_predictions()
    image = sample(model, model.sample_noise(n, seed), schedule, condition, [keep], clip).image
    truth = {"ground_truth": keep} if options else {}
    back = invert(model, image, schedule, condition, clip=clip, convention=convention, **truth, **options)
    return image, back.latent


def shards(folder, kind=""):
    return sorted(folder.glob(f"{kind}*/*.safetensors"))


def assert_same(result, expected):
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


def test_stored_results_equal_an_uncached_run(runs):
    image, latent = by_hand(70)
    for made in (runs(), runs()):
        assert torch.equal(made.noise(70), Toy().sample_noise(70))
        assert_same(made.latent(70), latent)
        assert_same(made.image(70), image)


def test_noise_is_the_models_whatever_the_shards(runs, monkeypatch):
    monkeypatch.setattr(trajectories, "SHARD_SIZE", 3)
    assert torch.equal(runs(seed=4).noise(8), Toy().sample_noise(8, seed=4))


def test_a_second_run_makes_no_evaluation(runs):
    first = runs()
    latent = first.latent(70)
    assert first.evaluations == first.denoiser.evaluations == 70 * 2 * STEPS
    second = runs(Toy(left=0), batch_size=5)
    assert torch.equal(second.latent(70), latent)
    assert torch.equal(second.image(70), first.image(70))
    assert second.evaluations == 0
    assert first.evaluations == 70 * 2 * STEPS


def test_more_images_cost_only_the_new_ones_and_fewer_cost_nothing(runs, tmp_path):
    image, latent = by_hand(130)
    for n, new in [(3, 3), (10, 7), (5, 0), (70, 60), (64, 0), (130, 60), (1, 0)]:
        made = runs()
        assert_same(made.image(n), image[:n])
        assert made.evaluations == new * STEPS
        assert_same(made.latent(n), latent[:n])
        assert made.evaluations == new * 2 * STEPS
    names = [path.name.split("-")[:2] for path in shards(tmp_path, "latent")]
    assert names == [["00000000", "64"], ["00000064", "64"], ["00000128", "02"]]


@pytest.mark.parametrize(("shard_size", "batch_size"), [(3, 32), (64, 1), (64, 7), (5, 2)])
def test_neither_shards_nor_micro_batches_change_the_result(runs, monkeypatch, shard_size, batch_size):
    image, latent = by_hand(30)
    monkeypatch.setattr(trajectories, "SHARD_SIZE", shard_size)
    made = runs(batch_size=batch_size)
    assert_same(made.latent(30), latent)
    assert_same(made.image(30), image)


def test_a_large_batch_takes_several_shards_at_once_and_only_those_that_are_missing(
    runs, tmp_path, monkeypatch
):
    monkeypatch.setattr(trajectories, "SHARD_SIZE", 4)
    taken = []
    monkeypatch.setattr(
        trajectories, "sample", lambda *given, **more: taken.append(len(given[1])) or sample(*given, **more)
    )
    image, latent = by_hand(18)
    assert_same(runs(batch_size=9).image(18), image)
    assert taken == [8, 8, 2]
    _, second, *_ = shards(tmp_path, "image")
    second.unlink()
    made = runs(batch_size=9)
    assert_same(made.latent(18), latent)
    assert taken[3:] == [4]
    assert made.evaluations == (4 + 18) * STEPS


def test_given_starts_are_sampled_once(runs):
    start, told = torch.randn(70, *SHAPE, generator=torch.Generator().manual_seed(3)), list(range(70))
    expected = sample(Toy(), start, Toy().schedule(STEPS), told).image
    first, second = runs(), runs(seed=1, condition=[5])  # neither seed nor condition of the run matters
    assert_same(first.sample_from(start, told), expected)
    assert torch.equal(second.sample_from(start, told), first.sample_from(start, told))
    assert (first.evaluations, second.evaluations) == (70 * STEPS, 0)


@pytest.mark.parametrize("changed", ["start", "condition", "clip"])
def test_other_starts_or_conditions_are_other_results(runs, changed):
    start = Toy().sample_noise(3)
    runs().sample_from(start, [0, 1, 2])
    other = runs(clip=changed == "clip")
    image = other.sample_from(start + (changed == "start"), [0, 1, 2 + (changed == "condition")])
    assert other.evaluations == 3 * STEPS
    assert image.shape == (3, *SHAPE)


def test_an_interrupted_run_from_given_starts_resumes_at_its_shard(runs):
    start = Toy().sample_noise(130)
    with pytest.raises(RuntimeError, match="interrupted"):
        runs(Toy(left=70 * STEPS)).sample_from(start)
    again = runs()
    assert_same(again.sample_from(start), sample(Toy(), start, Toy().schedule(STEPS)).image)
    assert again.evaluations == (130 - 64) * STEPS


@pytest.mark.parametrize(
    ("start", "condition", "message"),
    [
        (torch.zeros(2, 3, 8, 9), None, "start must be"),
        (torch.zeros(2, *SHAPE, dtype=torch.float64), None, "float64"),
        (torch.zeros(0, *SHAPE), None, "n must be at least 1"),
        (torch.zeros(2, *SHAPE), [1], "n must be at most 1"),
    ],
)
def test_wrong_starts_are_refused(runs, start, condition, message):
    with pytest.raises(ValueError, match=message):
        runs().sample_from(start, condition)


def test_all_conventions_share_the_sampled_images(runs, tmp_path):
    made = runs()
    for place, convention in enumerate(["target", "shifted", "source"]):
        assert_same(made.latent(5, convention), by_hand(5, convention=convention)[1])
        assert made.evaluations == 5 * STEPS * (2 + place)
    assert len(shards(tmp_path, "image")) == 1


def test_whatever_determines_a_result_has_its_own_place(runs, tmp_path):
    variations = [
        {},
        {"seed": 1},
        {"num_steps": STEPS + 1},
        {"clip": True},
        {"denoiser": Toy(variance=0.2)},
        {"condition": torch.ones(5)},
    ]
    images, latents = [], []
    for options in variations:
        made = runs(**options)
        images.append(made.image(5))
        latents += [made.latent(5), made.latent(5, "shifted")]
        steps = options.get("num_steps", STEPS)
        assert made.evaluations == 5 * steps * 3
    for results in (images, latents):
        pairs = [(x - y).abs().max() for i, x in enumerate(results) for y in results[:i]]
        assert min(pairs) > 1e-4
    assert_same(images[0], runs(Toy(left=0), clip=False).image(5))  # the model's own habit, spelt out


def test_another_code_of_the_model_is_another_place():
    typed = type("Typed", (Toy,), {"__module__": "__main__"})  # in a session, without a file
    digests = {trajectories._code_digest(model) for model in (GaussianMixture, Toy)}
    assert len(digests) == 2
    assert isinstance(trajectories._code_digest(typed), str)


def test_the_key_says_what_is_stored(runs, tmp_path):
    runs(seed=3).latent(2)
    (path,) = tmp_path.glob("latent-*/key.json")
    key, schedule = json.loads(path.read_text()), Toy().schedule(STEPS)
    assert (key["model"], key["digest"], key["seed"]) == ("gaussian", Toy().digest, 3)
    assert (key["convention"], key["replace_first"], key["clip"]) == ("target", 0, False)
    assert key["alphas_cumprod"] == schedule.alphas_cumprod.tolist()
    assert key["timesteps"] == schedule.timesteps.tolist()


def test_a_condition_may_grow_but_another_one_is_another_result(runs):
    labels = torch.arange(130.0)
    image, latent = by_hand(130, labels)
    for n, new in [(10, 10), (70, 60), (130, 60)]:
        made = runs(condition=labels[:n])
        assert_same(made.latent(n), latent[:n])
        assert made.evaluations == new * 2 * STEPS
    changed = labels.clone()
    changed[100] = -5
    made = runs(condition=changed)
    assert_same(made.image(130), by_hand(130, changed)[0])
    assert made.evaluations == 64 * STEPS  # the shard that holds image 100, no other
    assert_same(runs(Toy(left=0), condition=labels).image(130), image)


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
    digests = [trajectories._condition_digest(condition, 2) for condition in conditions]
    assert len(set(digests)) == len(digests)
    assert trajectories._condition_digest(np.array([1, 2, 3]), 2) == digests[4]
    assert trajectories._condition_digest(torch.tensor([1, 2]), 2) == digests[4]


@pytest.mark.parametrize("broken_at", [0, 10 * STEPS, 64 * STEPS, 100 * STEPS, 130 * STEPS - 1])
def test_an_interrupted_run_resumes_at_its_shard(runs, broken_at):
    image, latent = by_hand(130)
    with pytest.raises(RuntimeError, match="interrupted"):
        runs(Toy(left=broken_at), batch_size=1).image(130)
    resumed = runs()
    assert_same(resumed.image(130), image)
    assert resumed.evaluations == STEPS * (130 - 64 * (broken_at // (64 * STEPS)))
    with pytest.raises(RuntimeError, match="interrupted"):
        runs(Toy(left=broken_at), batch_size=1).latent(130)
    resumed = runs()
    assert_same(resumed.latent(130), latent)
    assert resumed.evaluations == STEPS * (130 - 64 * (broken_at // (64 * STEPS)))


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


def test_the_samplers_own_noise_is_kept_in_the_same_pass(runs):
    made = runs(keep_predictions=3)
    made.image(10)
    assert made.evaluations == 10 * STEPS
    for replaced in (1, 3):
        before = made.evaluations
        assert_same(made.latent(10, replace_first=replaced), by_hand(10, replace_first=replaced)[1])
        assert made.evaluations - before == 10 * (STEPS - replaced)
    stored = runs(Toy(left=0), keep_predictions=3)
    assert_same(stored.latent(10, replace_first=3), made.latent(10, replace_first=3))
    assert stored.evaluations == 0


def test_replacing_every_step_returns_the_noise(runs):
    made = runs(keep_predictions=STEPS, clip=True)
    assert_same(made.latent(70, replace_first=STEPS), made.noise(70))
    assert made.evaluations == 70 * STEPS


def test_images_stored_without_their_predictions_are_sampled_once_more(runs):
    images = runs().image(70)
    late = runs(keep_predictions=2)
    assert_same(late.latent(70, replace_first=2), by_hand(70, replace_first=2)[1])
    assert late.evaluations == 70 * STEPS + 70 * (STEPS - 2)
    more = runs(keep_predictions=2)
    assert_same(more.latent(80, replace_first=1), by_hand(80, replace_first=1)[1])
    assert more.evaluations == 10 * STEPS + 80 * (STEPS - 1)
    fewer = runs(Toy(left=0), keep_predictions=1)
    assert torch.equal(fewer.image(70), images)
    assert_same(fewer.latent(80, replace_first=1), more.latent(80, replace_first=1))


def test_predictions_stored_for_fewer_images_than_the_images_catch_up(runs):
    runs(keep_predictions=2).image(5)
    runs(keep_predictions=1).image(10)
    made = runs(keep_predictions=2)
    assert_same(made.image(20), by_hand(20)[0])
    assert made.evaluations == 15 * STEPS
    assert_same(made.latent(20, replace_first=2), by_hand(20, replace_first=2)[1])


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
    os.utime(dead, (time.time() - 2 * trajectories.STALE_AFTER,) * 2)
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


def test_mistakes_are_refused_before_any_evaluation(runs):
    for options, message in [
        ({"num_steps": 0}, "num_steps must be between 1 and 1000"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"batch_size": 0}, "batch_size at least 1"),
        ({"keep_predictions": STEPS + 1}, f"keep_predictions must be between 0 and {STEPS}"),
        ({"condition": [object()]}, "condition must hold tensors, numbers or strings, got object"),
    ]:
        with pytest.raises(ValueError, match=message):
            runs(**options)
    made = runs(Toy(left=0), condition=torch.zeros(3), keep_predictions=2)
    for call, message in [
        (lambda: made.image(0), "n must be at least 1"),
        (lambda: made.latent(4), r"n must be at most 3 \(entries of condition\)"),
        (lambda: made.noise(4), r"n must be at most 3 \(entries of condition\)"),
        (lambda: made.latent(1, "other"), "convention must be one of"),
        (lambda: made.latent(1, replace_first=3), "replace_first must be between 0 and 2"),
        (lambda: made.latent(1, "shifted", replace_first=1), 'replace_first needs convention="target"'),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert made.evaluations == 0
