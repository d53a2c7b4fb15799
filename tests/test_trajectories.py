"""Stored trajectories: nothing computed twice, nothing lost, nothing damaged believed."""

import json

import pytest
import torch
from toys import SHAPE, STEPS, Toy, assert_same, by_hand, shards

from taba_utils import observers, trajectories
from taba_utils.cache import NUMERICS
from taba_utils.cache import shards as cache_shards
from taba_utils.ddim import sample


def in_shards_of(monkeypatch, size):
    for module in (trajectories, cache_shards):
        monkeypatch.setattr(module, "SHARD_SIZE", size)


def test_stored_results_equal_an_uncached_run(runs):
    image, latent = by_hand(70)
    for made in (runs(), runs()):
        assert torch.equal(made.noise(70), Toy().sample_noise(70))
        assert_same(made.latent(70), latent)
        assert_same(made.image(70), image)


def test_noise_is_the_models_whatever_the_shards(runs, monkeypatch):
    in_shards_of(monkeypatch, 3)
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


def test_processes_that_divide_the_images_compute_what_one_would(runs, tmp_path):
    image, latent = by_hand(130)
    for start, stop in [(64, 128), (128, 130), (0, 64)]:
        made = runs()
        assert_same(made.image(stop, start=start), image[start:stop])
        assert_same(made.latent(stop, start=start), latent[start:stop])
        assert made.evaluations == (stop - start) * 2 * STEPS
    assert_same(runs(Toy(left=0)).latent(130), latent)


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
    in_shards_of(monkeypatch, shard_size)
    made = runs(batch_size=batch_size)
    assert_same(made.latent(30), latent)
    assert_same(made.image(30), image)


def test_a_large_batch_takes_several_shards_at_once_and_only_those_that_are_missing(
    runs, tmp_path, monkeypatch
):
    in_shards_of(monkeypatch, 4)
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


def test_the_key_says_what_is_stored(runs, tmp_path):
    runs(seed=3).latent(2)
    (path,) = tmp_path.glob("latent-*/key.json")
    key, schedule = json.loads(path.read_text()), Toy().schedule(STEPS)
    assert (key["model"], key["digest"], key["seed"]) == ("gaussian", Toy().digest, 3)
    assert (key["method"], key["clip"]) == ({"name": "naive", "convention": "target"}, False)
    assert (key["guidance_scale"], key["numerics"]) == (1, NUMERICS)
    assert key["versions"] == {"torch": torch.__version__.partition("+")[0]}
    assert {"taba_utils.ddim", "taba_utils.models.gaussian", "taba_utils.trajectories"} <= key["code"].keys()
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


def test_the_kept_predictions_are_the_samplers_own(runs):
    made, own = runs(keep_predictions=2), observers.noise_predictions([1, 2])
    sample(Toy(), made.noise(10), made.schedule, observers=[own])
    assert_same(made.predictions(10), own.values)
    assert made.evaluations == 10 * STEPS
    with pytest.raises(ValueError, match="predictions needs keep_predictions of at least 1, got 0"):
        runs().predictions(10)


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


def test_mistakes_are_refused_before_any_evaluation(runs):
    for options, message in [
        ({"num_steps": 0}, "num_steps must be between 1 and 1000"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 1.5}, "both whole, got seed=1.5"),
        ({"batch_size": 8.0}, "both whole, got .*batch_size=8.0"),
        ({"keep_predictions": 1.0}, "keep_predictions must be between"),
        ({"batch_size": 0}, "batch_size at least 1"),
        ({"keep_predictions": STEPS + 1}, f"keep_predictions must be between 0 and {STEPS}"),
        ({"condition": [object()]}, "condition must hold tensors, numbers or strings, got object"),
    ]:
        with pytest.raises(ValueError, match=message):
            runs(**options)
    made = runs(Toy(left=0), condition=torch.zeros(3), keep_predictions=2)
    for call, message in [
        (lambda: made.image(0), "n must be at least 1"),
        (lambda: made.image(2.0), "n must be at least 1, a whole number, got 2.0"),
        (lambda: made.image(3, start=2), r"start must be a multiple of 64 below 3 \(the end\), got 2"),
        (lambda: made.latent(3, start=64), "start must be a multiple of 64 below 3"),
        (lambda: made.latent(4), r"n must be at most 3 \(entries of condition\)"),
        (lambda: made.noise(4), r"n must be at most 3 \(entries of condition\)"),
        (lambda: made.latent(1, "other"), "convention must be one of"),
        (lambda: made.latent(1, replace_first=3), "replace_first must be between 0 and 2"),
        (lambda: made.latent(1, replace_first=2.0), "replace_first must be .* got 2.0"),
        (lambda: made.latent(1, "shifted", replace_first=1), 'need convention="target"'),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert made.evaluations == 0
