"""What must not grow unnoticed: evaluations of every entry point, and memory with T and N. Counts, never seconds."""

import gc

import pytest
import torch
from test_inversion import EXAMPLES, Toy

import taba_utils as taba
from taba_utils import observers

N, T = 8, 10
STUDIES = {
    "there_and_back_again": 2,
    "ddim_and_its_inversion": 1 + 3 + 3,  # three conventions, and images of the latents of each
    "latents_vs_noise": 2,
    "where_latents_lie": 2,
    "origin_of_the_divergence": 1 + 2,  # the error of Sec. 3.4 at all steps costs one more sampling
    "noise_image_mapping": 2,
}
"""Study -> evaluations of one seed, in units of N T."""


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_evaluates_no_more_than_its_question_needs(name, tmp_path):
    denoiser, options = taba.load_model("gaussian"), {"seeds": [0], "cache_dir": tmp_path}
    taba.study(name, denoiser, num_images=N, num_steps=T, **options)
    assert denoiser.evaluations == STUDIES[name] * N * T


def test_sampling_inversion_exact_steps_and_the_error_of_every_step_cost_what_the_paper_needs():
    model, noise = Toy(), Toy().sample_noise(N)
    schedule, kept = model.schedule(T), observers.noise_predictions()
    watch = observers.ApproximationError(model, torch.ones(N, 4, 4, dtype=torch.bool))
    costs = []

    def counted(result):
        costs.append(model.evaluations)
        model.evaluations = 0
        return result

    image = counted(taba.sample(model, noise, schedule, observers=[kept])).image
    counted(taba.invert(model, image, schedule))
    counted(taba.invert(model, image, schedule, ground_truth=kept, replace_first=3))
    counted(taba.sample(model, noise, schedule, observers=[watch]))
    assert costs == [N * T, N * T, N * (T - 3), 2 * N * T]


class Live:
    """An observer that counts the bytes of all tensors that are alive after the last move, less those before the run."""

    def __init__(self, num_images, num_steps):
        self.last, self.before = (num_images, num_steps), live_bytes()

    def start(self, num_images, levels):
        pass

    def __call__(self, step):
        if (step.images.stop, step.level) == self.last:
            self.more = live_bytes() - self.before


def live_bytes() -> int:
    tensors = [one for one in gc.get_objects() if type(one) is torch.Tensor]
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}.values())


def live_states(method, num_steps: int, count: int) -> float:
    """Tensors of the size of an image that are alive at the end of an inversion, besides what it was given."""
    model, condition = Toy(), torch.linspace(0.9, 1.1, count)
    image = torch.zeros(count, *model.shape, dtype=torch.float64)
    if own := method.own_predictions:
        method = method.with_predictions(torch.zeros(count, own, *model.shape, dtype=torch.float64))
    schedule = model.schedule(num_steps)
    watch = Live(count, num_steps)
    method.invert(model, image, schedule, condition, [watch], batch_size=2)
    return watch.more / image[0].untyped_storage().nbytes() * count


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_memory_of_a_method_grows_neither_with_the_steps_nor_with_the_images_beyond_the_result(name):
    own = {"adaptive-fixed-point": {"evaluations": 40}, "exact-first": {"first": 3}}
    method = taba.method(name, **own.get(name, EXAMPLES[name][0]))
    short, long, many = live_states(method, 10, 4), live_states(method, 40, 4), live_states(method, 10, 16)
    assert long - short < 1  # of 30 more steps
    per_image = 2 if method.own_sampling else 1  # states of a method
    assert many - short < 2 * per_image * 12 + 1  # what the walk starts from, and the result
