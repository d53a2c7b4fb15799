"""Inversion methods: the registry, the shorthands of `taba.invert`, and what a method of one's own can do."""

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import taba_utils as taba
from taba_utils import observers
from taba_utils.ddim import Sampled, Taken, ddim_step, sampling_moves, walk
from taba_utils.denoiser import Denoiser
from taba_utils.evaluation import evaluate
from taba_utils.inversion import METHODS, Method
from taba_utils.inversion.naive import Naive
from taba_utils.inversion.regularisation import auto_correlation, patch_divergence, regularised
from taba_utils.models.gaussian import half_plain
from taba_utils.schedule import linear_alphas_cumprod


class Toy(Denoiser):
    """A smooth nonlinear stand-in for a network."""

    name, shape, digest = "toy", (3, 4, 4), "toy"

    def __init__(self, convention="target", scale=0.2):
        self.training_alphas_cumprod, self.convention, self.scale = (
            linear_alphas_cumprod(1000),
            convention,
            scale,
        )

    def predict_noise(self, x, timestep, condition=None):
        shift = 0 if condition is None else condition.reshape(-1, 1, 1, 1)
        return torch.sin(self.scale * x + timestep.reshape(-1, 1, 1, 1).to(x) / 300) + self.scale * x + shift


@pytest.fixture(scope="module")
def run():
    """A model, a schedule, noise, image, condition, and the sampler's own ε."""
    model, own, condition = Toy(), observers.noise_predictions(), torch.linspace(0, 1, 5)
    schedule, noise = model.schedule(10), model.sample_noise(5).double()
    image = taba.sample(model, noise, schedule, condition, observers=[own]).image
    return model, schedule, noise, image, condition, own


EXAMPLES = {
    "naive": [{}, {"convention": "target"}, {"convention": "shifted"}, {"convention": "source"}],
    "exact-first": [{"first": 0}, {"first": 3}, {"first": 10}],
    "forward": [{"first": 0}, *({"first": 3, "index": index} for index in ("node", "official", "shifted"))],
    "fixed-point": [{"iterations": 1}, {"iterations": 60}, {"iterations": 80, "averaging": True}],
    "anderson": [{"iterations": 1}, {"iterations": 20}],
    "adaptive-fixed-point": [{"evaluations": 10}, {"evaluations": 900}],
    "renoise": [
        {"iterations": 3, "average": [0, 4]},
        {"iterations": 60, "average": [-2, 61]},
        {"iterations": 1, "average": [0, 2], "regularise": True},
    ],
    "edict": [{}, {"mixing": 0.9}],
    "o-belm": [{}],
}
GIVE_THE_NOISE_BACK = [  # what is left of a method that is exact in the limit, or with all of the sampler's ε
    {"first": 10},
    {"iterations": 60},
    {"iterations": 80, "averaging": True},
    {"iterations": 20},
    {"evaluations": 900},
    {"iterations": 60, "average": [-2, 61]},
]
PAIRS = pytest.mark.parametrize("name", ["edict", "o-belm"])
ALL = pytest.mark.parametrize(
    ("name", "parameters"), [(name, example) for name, examples in EXAMPLES.items() for example in examples]
)


def made(name, parameters, own) -> Method:
    method = taba.method(name, **parameters)
    return method.with_predictions(own.values[:, : method.own_predictions])


def test_every_method_has_examples_here():
    assert list(EXAMPLES) == list(METHODS) == list(taba.list_methods().index)


@ALL
def test_a_method_costs_what_it_says(run, name, parameters):
    model, schedule, _, image, condition, own = run
    method = made(name, parameters, own)
    before = model.evaluations
    result = method.invert(model, image, schedule, condition, batch_size=2)
    assert model.evaluations - before == len(image) * result.evaluations
    assert result.evaluations == method.cost(schedule)


@ALL
def test_the_micro_batch_does_not_change_a_method(run, name, parameters):
    model, schedule, _, image, condition, own = run
    method = made(name, parameters, own)
    one, all_ = (method.invert(model, image, schedule, condition, batch_size=size).latent for size in (1, 5))
    torch.testing.assert_close(one, all_, rtol=0, atol=1e-12)


@ALL
def test_replicas_do_not_change_a_method_and_evaluate_their_share(run, name, parameters):
    alone, schedule, _, image, condition, own = run
    method, model = made(name, parameters, own), Toy()
    model.replicas = (Toy(), Toy())
    several = method.invert(model, image, schedule, condition, batch_size=2)
    expected = method.invert(alone, image, schedule, condition, batch_size=2)
    assert torch.equal(several.latent, expected.latent)
    assert model.evaluations == len(image) * expected.evaluations


@ALL
def test_a_method_that_claims_to_be_exact_gives_the_noise_back(run, name, parameters):
    model, schedule, noise, image, condition, own = run
    method = made(name, parameters, own)
    exact = method.exact is True or parameters in GIVE_THE_NOISE_BACK
    latent = method.invert(model, image, schedule, condition).latent
    assert exact == torch.allclose(latent, noise, rtol=0, atol=1e-9)


@ALL
def test_a_methods_parameters_are_its_fields_and_fit_into_a_key(run, name, parameters):
    own = run[-1]
    known = taba.method(name, **parameters).for_model(Toy("shifted"))
    assert json.loads(json.dumps(known.parameters)) == known.parameters
    assert parameters.items() <= known.parameters.items()
    assert made(name, parameters, own).name == name


@ALL
def test_a_method_works_through_every_door(run, name, parameters, tmp_path):
    model, schedule, _, image, condition, own = run
    method = made(name, parameters, own)
    truth = {"ground_truth": own} if method.own_predictions else {}
    named = taba.invert(model, image, schedule, condition, method=name, **parameters, **truth)
    assert torch.equal(named.latent, method.invert(model, image, schedule, condition).latent)
    options = {"condition": condition, "cache_dir": tmp_path, "keep_predictions": method.own_predictions}
    runs = [taba.Trajectories(model, 10, **options) for _ in range(2)]
    stored, again = (one.latent(5, method=name, **parameters) for one in runs)
    assert torch.equal(stored, again)
    assert (runs[0].evaluations, runs[1].evaluations) == (5 * (10 + named.evaluations), 0)
    if not truth:
        kept = taba.invert(model, runs[0].image(5), schedule, condition, method=name, **parameters)
        torch.testing.assert_close(stored, kept.latent)


@ALL
def test_a_method_honours_clipping_and_stays_finite(run, name, parameters):
    model, schedule, _, image, condition, own = run
    method = made(name, parameters, own)
    clipped, free = (
        method.invert(model, image.clamp(-0.9, 0.9), schedule, condition, clip=clip).latent
        for clip in (True, False)
    )
    assert clipped.isfinite().all()
    assert torch.equal(clipped, free) == (parameters.get("first") == 10)


def test_the_models_own_convention_is_a_parameter_like_any_other():
    assert taba.method("naive").parameters == {"convention": None}
    assert taba.method("naive").for_model(Toy("shifted")).parameters == {"convention": "shifted"}
    assert taba.method("naive", convention="source").for_model(Toy("shifted")).convention == "source"


def test_a_ground_truth_is_represented_by_its_digest(run):
    own = run[-1]
    observed = taba.method("exact-first", first=2, ground_truth=own).parameters["ground_truth"]
    assert observed == taba.method("exact-first", first=2, ground_truth=own.values).parameters["ground_truth"]
    other = taba.method("exact-first", first=2, ground_truth=own.values + 1).parameters["ground_truth"]
    assert observed.startswith("sha256:") and observed != other
    assert taba.method("exact-first", first=np.int64(2)).parameters == {"first": 2, "ground_truth": None}


@pytest.mark.parametrize("convention", [None, "target", "shifted", "source"])
def test_a_convention_is_short_for_the_naive_method(convention):
    model = Toy("shifted")
    image, schedule = model.sample_noise(2), model.schedule(5)
    short = taba.invert(model, image, schedule, convention=convention).latent
    named = taba.invert(model, image, schedule, method="naive", convention=convention).latent
    made = taba.invert(model, image, schedule, method=taba.method("naive", convention=convention)).latent
    assert torch.equal(short, named)
    assert torch.equal(short, made)


def test_replacing_the_first_steps_is_short_for_exact_first(run):
    model, schedule, _, image, condition, own = run
    short = taba.invert(model, image, schedule, condition, ground_truth=own, replace_first=3)
    named = taba.invert(model, image, schedule, condition, method="exact-first", first=3, ground_truth=own)
    both = taba.invert(
        model, image, schedule, condition, ground_truth=own, replace_first=3, method="exact-first"
    )
    assert torch.equal(short.latent, named.latent)
    assert torch.equal(short.latent, both.latent)
    assert short.evaluations == named.evaluations == 7


def test_exact_first_asked_for_by_name_is_in_the_target_convention_whatever_the_models_own(run):
    _, schedule, noise, image, condition, own = run
    options = {"method": "exact-first", "first": 10, "ground_truth": own}
    latent = taba.invert(Toy("shifted"), image, schedule, condition, **options).latent
    torch.testing.assert_close(latent, noise)


TRUTH = torch.zeros(2, 3, 3, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "newton"}, r"method must be one of \['naive', 'exact-first'.*\], got 'newton'"),
        ({"method": 3}, r"method must be one of .*, got 3"),
        (
            {"iterations": 3},
            r"parameters of method 'naive' must be among \['convention'\], got \['iterations'\]",
        ),
        ({"method": "naive", "first": 3}, r"parameters of method 'naive' must be among .*, got \['first'\]"),
        ({"method": "naive", "replace_first": 3}, r"'naive' must be among .*, got \['replace_first'\]"),
        ({"method": "naive", "ground_truth": TRUTH}, r"'naive' must be among .*, got \['ground_truth'\]"),
        ({"method": "naive", "convention": "other"}, "convention must be one of .*, got 'other'"),
        ({"method": "exact-first"}, r"method 'exact-first' needs \['first'\], got \[\]"),
        ({"method": "exact-first", "first": 2}, "replace_first=2 needs ground_truth"),
        (
            {"method": "exact-first", "first": 6},
            r"replace_first must be between 0 and 5 \(num_steps\), got 6",
        ),
        ({"method": "exact-first", "first": True}, r"replace_first must be between 0 and 5 .* got True"),
        ({"method": "exact-first", "first": 1, "replace_first": 2}, "first and replace_first are the same"),
        (
            {"method": "exact-first", "first": 1, "ground_truth": TRUTH, "convention": "source"},
            "replace_first and ground_truth need convention=\"target\", .* got 'source'",
        ),
        ({"method": "forward"}, r"method 'forward' needs \['first'\], got \[\]"),
        (
            {"method": "forward", "first": -1},
            r"first of method 'forward' must be a whole number of at least 0",
        ),
        ({"method": "forward", "first": 6}, r"first of method 'forward' must be between 0 and 5 .* got 6"),
        ({"method": "forward", "first": 5, "index": "shifted"}, r"between 0 and 4 for 5 steps .* got 5"),
        ({"method": "forward", "first": 1, "index": "k"}, r"index of method 'forward' .* got 'k'"),
        (
            {"method": "forward", "first": 1, "seed": -1},
            r"seed of method 'forward' must be .* at least 0, got -1",
        ),
        (
            {"method": "fixed-point", "iterations": 0},
            r"iterations of method 'fixed-point' .* at least 1, got 0",
        ),
        ({"method": "anderson", "iterations": 2.0}, r"iterations of method 'anderson' .* got 2\.0"),
        ({"method": "adaptive-fixed-point", "evaluations": 4}, r"must be at least 5 \(num_steps\), got 4"),
        (
            {"method": "renoise", "iterations": 3, "average": (4, 5)},
            r"average of method 'renoise' .* got \(4, 5\)",
        ),
        ({"method": "renoise", "iterations": 3, "average": 4}, r"average of method 'renoise' .* got 4"),
        (
            {"method": "renoise", "iterations": -1, "average": (0, 1)},
            r"iterations of method 'renoise' .* got -1",
        ),
        (
            {"method": "fixed-point", "iterations": 2, "averaging": "no"},
            r"averaging of method 'fixed-point' must be True or False, got 'no'",
        ),
        (
            {"method": "renoise", "iterations": 3, "average": (0, 1), "regularise": 1},
            r"regularise of method 'renoise' must be True or False, got 1",
        ),
        ({"method": "edict", "mixing": "0.9"}, r"mixing of method 'edict' must be above 0 .* got '0\.9'"),
        ({"clip": 0.5}, r"clip must be True, False or None .* got 0\.5"),
        ({"method": "edict", "mixing": 0}, r"mixing of method 'edict' must be above 0 and at most 1, got 0"),
        (
            {"method": "edict", "state": TRUTH},
            r"state of method 'edict' must be the pair .* got \(2, 3, 3, 4, 4\)",
        ),
        ({"method": "o-belm", "state": TRUTH[:, 0]}, r"state of method 'o-belm' must be the pair .*"),
        ({"method": Naive(), "convention": "source"}, r"set when it is made, got also \['convention'\]"),
        ({"method": Naive(), "replace_first": 1}, r"set when it is made, got also \['replace_first'\]"),
        ({"method": Naive(), "iterations": 1}, r"set when it is made, got also \['iterations'\]"),
    ],
)
def test_contradictions_are_refused_in_one_line_before_any_evaluation(arguments, message):
    model = Toy()
    with pytest.raises(ValueError, match=message) as refusal:
        taba.invert(model, model.sample_noise(2), model.schedule(5), **arguments)
    assert "\n" not in str(refusal.value)
    assert model.evaluations == 0


@pytest.mark.parametrize(
    "method", [{"method": "forward", "first": 2}, {"method": "adaptive-fixed-point", "evaluations": 20}]
)
def test_a_number_of_steps_is_no_schedule_for_any_method(method):
    model = Toy()
    with pytest.raises(
        ValueError, match=r"schedule must be a Schedule, from denoiser.schedule\(num_steps\), got int"
    ):
        taba.invert(model, model.sample_noise(2), 10, **method)
    with pytest.raises(ValueError, match="toy takes a tensor, got list"):
        taba.invert(model, [1, 2], model.schedule(5), method="exact-first", first=2, ground_truth=TRUTH)


@dataclass(frozen=True)
class FixedPoint(Method):
    """x_l = f(x_l), by iteration: a method that evaluates several times a step."""

    name, source, evaluations_a_step, exact = "mine", "here", "iterations", "at convergence"

    iterations: int = 3

    def cost(self, schedule):
        return self.iterations * schedule.num_steps

    def step(self, setting):
        def take(x, move, images, condition):
            guess, outputs = x, []
            for _ in range(self.iterations):
                outputs.append(evaluate(setting.denoiser, guess, move.timestep, condition))
                guess, _ = ddim_step(x, outputs[-1], move.start, move.end)
            return Taken(guess, outputs[-1], outputs[0])

        return take


@dataclass(frozen=True)
class Coupled(Method):
    """EDICT's coupling without its mixing: a method with two states, which samples by itself."""

    name, source, evaluations_a_step, exact, needs = "pair", "here", "2", "with its state", "the state"

    state: torch.Tensor | None = None

    def cost(self, schedule):
        return 2 * schedule.num_steps

    def begin(self, setting, image):
        return torch.stack([image, image], dim=1) if self.state is None else self.state

    def finish(self, state):
        return state[:, 0], state

    def step(self, setting):
        return self._take(setting.denoiser, order=(1, 0))

    def sample(self, denoiser, noise, schedule, condition=None, observers=(), clip=None, *, batch_size=32):
        pair, take = torch.stack([noise, noise], dim=1), self._take(denoiser, order=(0, 1))
        moves = sampling_moves(schedule)
        state = walk(denoiser, pair, moves, take, condition, observers, batch_size=batch_size)
        return Sampled(state[:, 0], self.cost(schedule), state)

    def _take(self, denoiser, order):
        def take(pair, move, images, condition):
            states = list(pair.unbind(dim=1))
            for own in order:
                output = evaluate(denoiser, states[1 - own], move.timestep, condition)
                states[own], _ = ddim_step(states[own], output, move.start, move.end)
            return Taken(torch.stack(states, dim=1), output)

        return take


@dataclass(frozen=True, eq=False)
class FixedPointFromLevelOne(Method):
    """Fixed-point inversion that is told x_1."""

    name, source = "told", "here"

    first: torch.Tensor

    def cost(self, schedule):
        return 100 * (schedule.num_steps - 1)

    def step(self, setting):
        iterate = taba.method("fixed-point", iterations=100).step(setting)

        def take(x, move, images, condition):
            if move.level == 1:
                return Taken(self.first[images], x)
            return iterate(x, move, images, condition)

        return take


def test_a_method_of_ones_own_may_evaluate_several_times_a_step(run):
    model, schedule, noise, image, condition, _ = run
    before = model.evaluations
    result = taba.invert(model, image, schedule, condition, method=FixedPoint(60), batch_size=2)
    assert model.evaluations - before == 5 * result.evaluations == 5 * 600
    torch.testing.assert_close(result.latent, noise, rtol=0, atol=1e-6)
    naive = taba.invert(model, image, schedule, condition, method=FixedPoint(1)).latent
    assert torch.equal(naive, taba.invert(model, image, schedule, condition).latent)


def test_a_method_of_ones_own_may_carry_two_states_and_sample_by_itself(run):
    model, schedule, noise, _, condition, _ = run
    forward = Coupled().sample(model, noise, schedule, condition, batch_size=2)
    assert forward.state.shape == (5, 2, 3, 4, 4)
    seen = observers.states()
    back = taba.invert(
        model, forward.image, schedule, condition, [seen], method=Coupled(forward.state), batch_size=2
    )
    torch.testing.assert_close(back.latent, noise, rtol=0, atol=1e-10)
    torch.testing.assert_close(back.state[:, 1], noise, rtol=0, atol=1e-10)
    assert seen.values.shape == (5, 10, 2, 3, 4, 4)
    alone = taba.invert(model, forward.image, schedule, condition, method=Coupled())
    assert (alone.latent - noise).abs().mean() > 1e-3


def test_a_method_may_draw_noise_that_depends_on_the_image_alone(run):
    model, schedule, *_ = run

    @dataclass(frozen=True)
    class Forward(Naive):
        def begin(self, setting, image):
            return image + setting.denoiser.sample_noise(len(image), seed=1, start=setting.start)

    image = model.sample_noise(5)
    whole = Forward().invert(model, image, schedule).latent
    part = Forward().invert(model, image[3:], schedule, start=3).latent
    torch.testing.assert_close(part, whole[3:])


@pytest.mark.parametrize("index", ["node", "official", "shifted"])
def test_forward_noise_is_that_of_seed_and_image_and_not_the_samplers(index):
    model = Toy()
    schedule, image = model.schedule(10), model.sample_noise(5)
    method = taba.method("forward", first=4, index=index, seed=3)
    whole = method.invert(model, image, schedule).latent
    torch.testing.assert_close(method.invert(model, image[3:], schedule, start=3).latent, whole[3:])
    other = taba.method("forward", first=4, index=index, seed=4).invert(model, image, schedule).latent
    assert not torch.allclose(other, whole)
    pure = taba.invert(model, torch.zeros_like(image), schedule, method="forward", first=10, seed=3).latent
    assert (
        torch.corrcoef(torch.stack([pure.flatten(), model.sample_noise(5, seed=3).flatten()]))[0, 1].abs()
        < 0.2
    )


def test_forward_noise_is_added_at_the_level_of_its_index():
    model, added = Toy(), []
    schedule = model.schedule(10)
    image = torch.zeros(1, 3, 4, 4).double()
    for index in ("node", "official", "shifted"):
        seen = observers.Collect(lambda step: step.before)
        taba.invert(model, image, schedule, None, [seen], method="forward", first=4, index=index)
        added.append(seen.values[0, 0])
    sigma = (1 - schedule.alphas_cumprod).sqrt()
    torch.testing.assert_close(added[1], added[0] * sigma[5] / sigma[4])
    torch.testing.assert_close(added[2], added[1])
    last = taba.invert(model, image, schedule, method="forward", first=10, index="official").latent
    torch.testing.assert_close(last[0], added[0] / sigma[4] * (1 - model.training_alphas_cumprod[-1]).sqrt())


def test_forward_noise_of_no_step_is_the_naive_inversion(run):
    model, schedule, _, image, condition, _ = run
    for index, convention in [("node", "target"), ("official", "target"), ("shifted", "shifted")]:
        latent = taba.invert(model, image, schedule, condition, method="forward", first=0, index=index).latent
        assert torch.equal(
            latent, taba.invert(model, image, schedule, condition, convention=convention).latent
        )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("fixed-point", {"iterations": 1}),
        ("anderson", {"iterations": 1}),
        ("adaptive-fixed-point", {"evaluations": 10}),
        ("renoise", {"iterations": 0, "average": (0, 1)}),
    ],
)
def test_one_evaluation_a_step_is_the_naive_inversion(run, name, parameters):
    model, schedule, _, image, condition, _ = run
    for clip in (False, True):
        latent = taba.invert(model, image, schedule, condition, method=name, clip=clip, **parameters).latent
        naive = taba.invert(model, image, schedule, condition, convention="target", clip=clip).latent
        torch.testing.assert_close(latent, naive)


@pytest.mark.parametrize("averaging", [False, True])
def test_fixed_points_are_iterated_as_written(run, averaging):
    model, schedule, _, image, _, _ = run
    x, a = image, schedule.alphas_cumprod
    for level in range(1, 11):
        up, turn = (a[level] / a[level - 1]).sqrt(), (1 - a[level]).sqrt()
        turn = turn - up * (1 - a[level - 1]).sqrt()
        values, z = [], x
        for _ in range(4):
            values.append(up * x + turn * model.predict_noise(z, schedule.timesteps[level - 1 : level]))
            z = sum(values[-2:]) / len(values[-2:]) if averaging else values[-1]
        x = z
    latent = taba.invert(
        model, image, schedule, method="fixed-point", iterations=4, averaging=averaging
    ).latent
    torch.testing.assert_close(latent, x)


def test_anderson_is_iterated_as_written_for_each_image(run):
    model, schedule, _, image, _, _ = run
    a, latents = schedule.alphas_cumprod, []
    for x in image:
        for level in range(1, 11):
            up = (a[level] / a[level - 1]).sqrt()
            turn = (1 - a[level]).sqrt() - up * (1 - a[level - 1]).sqrt()
            z, old = x, None
            for _ in range(4):
                f = up * x + turn * model.predict_noise(z[None], schedule.timesteps[level - 1 : level])[0]
                g = f - z
                if old is None:
                    theta, f_old = 0, f
                else:
                    f_old, g_old = old
                    theta = (g * (g - g_old)).sum() / (g - g_old).square().sum()
                old, z = (f, g), f - theta * (f - f_old)
            x = z
        latents.append(x)
    latent = taba.invert(model, image, schedule, method="anderson", iterations=4).latent
    torch.testing.assert_close(latent, torch.stack(latents))


def test_renoise_is_iterated_as_written(run):
    model, schedule, _, x, _, _ = run
    image, a = x, schedule.alphas_cumprod
    for level in range(1, 11):
        up = (a[level] / a[level - 1]).sqrt()
        turn = (1 - a[level]).sqrt() - up * (1 - a[level - 1]).sqrt()
        z, stored = x, []
        for _ in range(5):
            stored.append(model.predict_noise(z, schedule.timesteps[level - 1 : level]))
            z = up * x + turn * stored[-1]
        x = up * x + turn * (stored[2] + stored[3]) / 2
    latent = taba.invert(model, image, schedule, method="renoise", iterations=4, average=(2, 4)).latent
    torch.testing.assert_close(latent, x)


def test_clipping_leaves_the_samplers_states_fixed_points():
    model = Toy(scale=0.05)
    schedule, noise, path = model.schedule(10), model.sample_noise(5).double(), observers.states()
    clipped = taba.sample(model, noise, schedule, observers=[path], clip=True)
    free = taba.sample(model, noise, schedule, clip=False).image
    assert ((clipped.image - free).abs() > 0.01).any()
    inside = clipped.image.abs() < 1  # at ±1 the last step of sampling has lost x_1
    assert 0.05 < inside.double().mean() < 0.95
    latent = (
        FixedPointFromLevelOne(path.values[:, 1]).invert(model, clipped.image, schedule, clip=True).latent
    )
    torch.testing.assert_close(latent, noise, rtol=0, atol=1e-6)


def test_the_adaptive_method_spends_exactly_its_evaluations_and_most_in_the_first_steps():
    schedule = Toy().schedule(50)
    for total in (50, 51, 100, 333, 1000):
        counts = taba.method("adaptive-fixed-point", evaluations=total).iterations(schedule)
        assert len(counts) == 50 and sum(counts) == total and min(counts) >= 1
    assert counts[1:8] == sorted(counts[1:8], reverse=True)
    assert sum(counts[:5]) > sum(counts[5:]) / 3


def test_the_adaptive_method_is_better_than_equal_iterations_at_the_same_cost():
    model = half_plain((1, 4, 4), plain=1e-4)
    schedule, noise = model.schedule(20), model.sample_noise(8).double()
    image = taba.sample(model, noise, schedule).image
    options = [
        {"method": "fixed-point", "iterations": 5},
        {"method": "adaptive-fixed-point", "evaluations": 100},
    ]
    equal, adaptive = (taba.invert(model, image, schedule, **option) for option in options)
    assert equal.evaluations == adaptive.evaluations == 100
    assert (adaptive.latent - noise).abs().mean() < 0.5 * (equal.latent - noise).abs().mean()


@PAIRS
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("steps", [10, 11])
def test_a_pair_inverts_its_own_sampling_to_rounding_and_the_image_alone_does_not(run, name, clip, steps):
    model, _, noise, _, condition, _ = run
    schedule = model.schedule(steps)
    before = model.evaluations
    forward = taba.method(name).sample(model, noise, schedule, condition, clip=clip, batch_size=2)
    assert model.evaluations - before == 5 * forward.evaluations
    assert forward.state.shape == (5, 2, 3, 4, 4)
    assert torch.equal(forward.state[:, 0], forward.image)
    before = model.evaluations
    options = {"method": name, "clip": clip, "batch_size": 2}
    back = taba.invert(model, forward.image, schedule, condition, state=forward.state, **options)
    assert model.evaluations - before == 5 * back.evaluations
    torch.testing.assert_close(back.latent, noise, rtol=0, atol=1e-8)
    torch.testing.assert_close(back.state[:, 0], noise, rtol=0, atol=1e-8)
    alone = taba.invert(model, forward.image, schedule, condition, **options)
    assert (alone.latent - noise).abs().mean() > 1e-3


def test_edict_samples_as_written(run):
    model, schedule, noise, _, _, _ = run
    x = y = noise
    a, p = schedule.alphas_cumprod, 0.93
    for level in range(10, 0, -1):
        down = (a[level - 1] / a[level]).sqrt()
        turn = (1 - a[level - 1]).sqrt() - down * (1 - a[level]).sqrt()
        told = schedule.timesteps[level - 1 : level]
        x, y = (x, y) if level % 2 == 0 else (y, x)
        x = down * x + turn * model.predict_noise(y, told)
        y = down * y + turn * model.predict_noise(x, told)
        x = p * x + (1 - p) * y
        y = p * y + (1 - p) * x
        x, y = (x, y) if level % 2 == 0 else (y, x)
    torch.testing.assert_close(
        taba.method("edict").sample(model, noise, schedule).state, torch.stack([x, y], dim=1)
    )


def test_o_belm_samples_as_written(run):
    model, schedule, noise, _, _, _ = run
    a = schedule.alphas_cumprod
    ratio = (1 / a - 1).sqrt()
    y = {10: noise / a[10].sqrt()}
    for level in range(10, 0, -1):
        h = ratio[level] - ratio[level - 1]
        epsilon = model.predict_noise(a[level].sqrt() * y[level], schedule.timesteps[level - 1 : level])
        if level == 10:
            y[9] = y[10] - h * epsilon
        else:
            b = ratio[level + 1] - ratio[level]
            y[level - 1] = (
                h**2 / b**2 * y[level + 1] + (1 - h**2 / b**2) * y[level] - (h + h**2 / b) * epsilon
            )
    result = taba.method("o-belm").sample(model, noise, schedule)
    torch.testing.assert_close(result.state, torch.stack([y[0], a[1].sqrt() * y[1]], dim=1))
    assert result.evaluations == 10


@PAIRS
def test_the_state_of_a_pair_is_stored_with_the_latent(run, name, tmp_path):
    model, condition = run[0], run[4]
    stored = taba.Trajectories(model, 10, condition=condition, cache_dir=tmp_path)
    state = stored.state(5, method=name)
    assert state.shape == (5, 2, 3, 4, 4)
    used = stored.evaluations
    assert torch.equal(state[:, 0], stored.latent(5, method=name))
    assert stored.evaluations == used


@PAIRS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pair_is_as_exact_from_single_precision_as_from_double(run, name, dtype):
    model, schedule, noise, _, condition, _ = run
    sampled = taba.method(name).sample(model, noise.to(dtype), schedule, condition)
    options = {"method": name, "state": sampled.state}
    back = taba.invert(model, sampled.image, schedule, condition, **options)
    assert (sampled.image.dtype, back.latent.dtype, back.state.dtype) == (dtype, dtype, dtype)
    torch.testing.assert_close(back.latent, noise.to(dtype), rtol=0, atol=1e-5)
    edited = sampled.image + 0.1
    other = taba.invert(model, edited, schedule, condition, **options).latent
    assert (other - back.latent).abs().min() > 1e-3  # the state does not stand in for another image


@PAIRS
def test_what_a_pair_samples_is_stored_and_inverts_to_the_noise(run, name, tmp_path):
    model, schedule, condition = run[0], run[1], torch.linspace(0, 1, 70)
    method, noise = taba.method(name), model.sample_noise(70)
    expected = method.sample(model, noise, schedule, condition)
    options = {"condition": condition, "cache_dir": tmp_path, "sampler": name}
    stored, again = (taba.Trajectories(model, 10, **options) for _ in range(2))
    torch.testing.assert_close(stored.image(70), expected.image)
    torch.testing.assert_close(stored.image_state(70), expected.state)
    assert stored.evaluations == 70 * expected.evaluations
    latent = stored.latent(70, method=name, with_state=True)
    torch.testing.assert_close(latent, noise, rtol=0, atol=1e-5)
    assert (latent - noise).abs().mean() * 50 < (stored.latent(70, method=name) - noise).abs().mean()
    assert torch.equal(again.latent(70, method=name, with_state=True), latent)
    assert torch.equal(again.image_state(70), stored.image_state(70))
    assert again.evaluations == 0


@PAIRS
def test_images_of_a_pair_are_not_those_of_ddim_in_the_cache(run, name, tmp_path):
    options = {"condition": run[4], "cache_dir": tmp_path}
    plain, own = (taba.Trajectories(run[0], 10, sampler=one, **options) for one in (None, name))
    start = run[0].sample_noise(5)
    for ask in (
        lambda r: r.image(5),
        lambda r: r.latent(5, method=name),
        lambda r: r.sample_from(start, run[4]),
    ):
        assert (ask(plain) - ask(own)).abs().max() > 1e-4
    torch.testing.assert_close(own.sample_from(start, run[4]), own.image(5))


def test_the_parameters_of_a_sampler_and_a_method_without_one_of_its_own_have_their_place(run, tmp_path):
    options = {"condition": run[4], "cache_dir": tmp_path}
    samplers = [taba.method("edict"), taba.method("edict", mixing=0.9), "naive", None]
    images = [taba.Trajectories(run[0], 10, sampler=one, **options).image(5) for one in samplers]
    assert (images[0] - images[1]).abs().max() > 1e-4
    assert torch.equal(images[2], images[3])
    assert len(list(tmp_path.glob("image-*"))) == 3


@pytest.mark.parametrize("name", ["naive", "forward", "edict", "o-belm"])
def test_given_images_are_inverted_once_and_from_themselves_alone(run, name, tmp_path):
    model, schedule, condition = run[0], run[1], torch.linspace(0, 1, 70)
    parameters = {"first": 2} if name == "forward" else {}
    image = model.sample_noise(70, seed=7).clamp(-1, 1)
    expected = taba.invert(model, image, schedule, condition, method=name, **parameters).latent
    first, second = (
        taba.Trajectories(model, 10, seed, sampler=sampler, cache_dir=tmp_path)
        for seed, sampler in enumerate([None, "edict"])  # neither seed nor sampler of the run matters
    )
    latent = first.invert_from(image, condition, method=name, **parameters)
    torch.testing.assert_close(latent, expected)
    again = second.invert_from(image, condition, method=name, **parameters)
    assert torch.equal(again, first.invert_from(image, condition, method=name, **parameters))
    assert second.evaluations == 0 < first.evaluations
    second.invert_from(image / 2, condition, method=name, **parameters)
    assert second.evaluations == first.evaluations


def test_mistakes_with_samplers_and_given_images_are_refused_before_any_evaluation(run, tmp_path):
    model, image = run[0], run[0].sample_noise(2)
    with pytest.raises(ValueError, match="keep_predictions must be 0 with sampler 'edict', got 3"):
        taba.Trajectories(model, 10, sampler="edict", keep_predictions=3, cache_dir=tmp_path)
    plain, own = (taba.Trajectories(model, 10, sampler=one, cache_dir=tmp_path) for one in (None, "edict"))
    before = model.evaluations
    for call, message in [
        (
            lambda: plain.image_state(2),
            "sampler must be a method, whose own sampling returns a state, got DDIM",
        ),
        (lambda: plain.latent(2, method="edict", with_state=True), "got DDIM"),
        (lambda: own.latent(2, method="o-belm", with_state=True), "sampler must be method 'o-belm'"),
        (lambda: own.latent(2, method="edict", mixing=0.9, with_state=True), "with these parameters"),
        (lambda: plain.invert_from(image.double()), "image must be"),
        (lambda: plain.invert_from(image, [1.0]), "n must be at most 1"),
        (lambda: plain.invert_from(image, method="exact-first", first=2), "replace_first must be between"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert model.evaluations == before


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "exact-first"])
def test_every_method_clips_to_the_models_own_range(run, name):
    _, schedule, _, image, condition, _ = run
    narrow, wide = Toy(), Toy()
    narrow.clip, narrow.clip_range, wide.clip = True, 0.5, True
    parameters = EXAMPLES[name][0]
    latents = [
        taba.invert(one, image, schedule, condition, method=name, **parameters).latent
        for one in (narrow, wide)
    ]
    assert (latents[0] - latents[1]).abs().max() > 1e-3


def test_regularisation_is_the_written_losses_and_whitens():
    generator = torch.Generator().manual_seed(0)
    noise, wanted = (torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=generator) for _ in range(2))
    correlated = (noise + noise.roll(1, -1)) / 2
    total = 0.0
    for channel in correlated.flatten(0, 1):
        pooled = channel.reshape(8, 2, 8, 2).mean(dim=(1, 3))
        for x, roll in ((channel, 4), (pooled, 1)):
            total += (x * x.roll(roll, 0)).mean() ** 2 + (x * x.roll(roll, 1)).mean() ** 2
    assert auto_correlation(correlated, [0.5, 0.25, 0.9]).item() == pytest.approx(total.item())
    assert patch_divergence(noise, noise).item() == pytest.approx(0, abs=1e-3)
    one, other = noise[:1, :1, :4, :4], wanted[:1, :1, :4, :4]
    v, w = one.var() + 1e-6, other.var() + 1e-6
    by_hand = (w / v).log() + (one.var() + (one.mean() - other.mean()) ** 2) / w - 1
    assert patch_divergence(one, other).item() == pytest.approx(by_hand.abs().item())
    with torch.inference_mode():
        after = regularised(0.3 * correlated, wanted, (0, 1))
    assert patch_divergence(after, wanted) < patch_divergence(0.3 * correlated, wanted)
    torch.testing.assert_close(after[1:], regularised(0.3 * correlated[1:], wanted[1:], (0, 1)))


def test_regularisation_depends_on_its_seed_and_changes_the_latent(run):
    model, schedule, _, image, condition, _ = run
    options = {"method": "renoise", "iterations": 1, "average": (0, 2)}
    plain = taba.invert(model, image, schedule, condition, **options).latent
    zero, one = (
        taba.invert(model, image, schedule, condition, **options, regularise=True, seed=seed).latent
        for seed in (0, 1)
    )
    assert not torch.allclose(plain, zero) and not torch.allclose(zero, one)


def test_states_of_another_shape_are_refused():
    model = half_plain((3, 4, 4))
    with pytest.raises(ValueError, match=r"gaussian takes \(N, 3, 4, 4\), float, got \(2, 1, 3, 4, 4\)"):
        taba.invert(model, torch.zeros(2, 1, 3, 4, 4), model.schedule(5))
    with pytest.raises(ValueError, match=r"gaussian takes \(N, 3, 4, 4\), float, got"):
        walk(model, torch.zeros(2, 2, 3, 4, 5), sampling_moves(model.schedule(5)), lambda *_: None)


def test_the_core_imports_nothing_heavy():
    heavy = [
        "pandas",
        "scipy",
        "diffusers",
        "seaborn",
        "matplotlib",
        "tqdm.auto",
        "transformers",
        "taba_utils.models",
    ]
    program = f"""
import sys
import taba_utils.ddim, taba_utils.theory, taba_utils.inversion, taba_utils.interactive
import taba_utils.inversion.naive, taba_utils.inversion.exact_first
print([name for name in {heavy} if name in sys.modules])
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
