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
from taba_utils.denoiser import Denoiser, evaluate
from taba_utils.inversion import METHODS, Method
from taba_utils.inversion.naive import Naive
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
}
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
    assert result.evaluations == method.evaluations(schedule)


@ALL
def test_the_micro_batch_does_not_change_a_method(run, name, parameters):
    model, schedule, _, image, condition, own = run
    method = made(name, parameters, own)
    one, all_ = (method.invert(model, image, schedule, condition, batch_size=size).latent for size in (1, 5))
    torch.testing.assert_close(one, all_, rtol=0, atol=1e-12)


@ALL
def test_a_method_that_claims_to_be_exact_gives_the_noise_back(run, name, parameters):
    model, schedule, noise, image, condition, own = run
    method = made(name, parameters, own)
    exact = method.exact is True or parameters.get("first") == schedule.num_steps
    latent = method.invert(model, image, schedule, condition).latent
    assert exact == torch.allclose(latent, noise, rtol=0, atol=1e-9)


@ALL
def test_a_methods_parameters_are_its_fields_and_fit_into_a_key(run, name, parameters):
    own = run[-1]
    known = taba.method(name, **parameters).for_model(Toy("shifted"))
    assert json.loads(json.dumps(known.parameters)) == known.parameters
    assert parameters.items() <= known.parameters.items()
    assert made(name, parameters, own).name == name


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


@dataclass(frozen=True)
class FixedPoint(Method):
    """x_l = f(x_l), by iteration: a method that evaluates several times a step."""

    name, source, evaluations_a_step, exact = "mine", "here", "iterations", "at convergence"

    iterations: int = 3

    def evaluations(self, schedule):
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

    def evaluations(self, schedule):
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
        return Sampled(state[:, 0], self.evaluations(schedule), state)

    def _take(self, denoiser, order):
        def take(pair, move, images, condition):
            states = list(pair.unbind(dim=1))
            for own in order:
                output = evaluate(denoiser, states[1 - own], move.timestep, condition)
                states[own], _ = ddim_step(states[own], output, move.start, move.end)
            return Taken(torch.stack(states, dim=1), output)

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
    assert (alone.latent - noise).abs().mean() > 0.01


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
