"""ReNoise: fixed-point iterations whose ε are averaged, and the noise regularisation of its authors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from taba_utils.ddim import Move, Take, Taken, ddim_step
from taba_utils.denoiser import Condition
from taba_utils.evaluation import evaluate
from taba_utils.inversion.base import Method, Setting, require_flag, require_whole
from taba_utils.inversion.fixed_point import asks, moved
from taba_utils.inversion.forward import OWN_STREAM
from taba_utils.inversion.regularisation import PATCH, regularised
from taba_utils.schedule import Schedule, is_whole


@dataclass(frozen=True)
class ReNoise(Method):
    """z_0 = x_{l-1}, z_{m+1} = M(x_{l-1}, ε_m), ε_m = ε(z_m, t_l), m = 0..K; x_l = M(x_{l-1}, mean of ε_from..ε_{to-1}).

    K + 1 evaluations a step, one more with regularisation; K + 1 ε in memory. Nothing is needed besides the image. Not
    exact: early ε stay in the mean. K = 0 is the naive inversion. Clipping is that of "fixed-point".

    Regularisation takes gradient steps on the mean ε (`inversion.regularisation`): four times one step of rate 0.065 on
    the divergence of 4x4 patches from ε(√ᾱ_l x_0 + √(1 - ᾱ_l) ξ, t_l), then five of rate 20 / 5 on the
    auto-correlation. These are the numbers of the authors' code, which are for 64x64; the rate of auto-correlation is
    proportional to H W, so that a pixel's step is the same at any size. Their code draws other rolls for each channel
    and also regularises ε_m from m = `from` on. Here all images and channels share the rolls, and only the mean is
    regularised.

    Args:
        iterations: K, at least 0.
        average: (from, to), a Python slice of ε_0..ε_K.
        regularise: whether the mean ε is regularised; H and W of at least 4.
        seed: of rolls and ξ; ξ of image i depends on (seed, i) alone, and is one ξ for all steps.

    Raises:
        ValueError: a value that is not allowed.
    """

    name = "renoise"
    source = "Garibi et al. 2024 (arXiv 2403.14602)"
    evaluations_a_step = "iterations + 1, + 1 with regularisation"

    iterations: int
    average: tuple[int, int]
    regularise: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole(self, "iterations", 0)
        require_whole(self, "seed", 0)
        require_flag(self, "regularise")
        ends = self.average if isinstance(self.average, tuple | list) else ()
        whole = len(ends) == 2 and all(is_whole(end) for end in ends)
        if not whole or not range(self.iterations + 1)[slice(*ends)]:
            raise ValueError(
                f"average of method 'renoise' must be a slice (from, to) that holds some of the "
                f"{self.iterations + 1} ε (iterations + 1), got {self.average}"
            )

    def check(self, image: torch.Tensor, schedule: Schedule) -> None:
        """Raise ValueError if an image is too small to regularise."""
        if self.regularise and min(image.shape[-2:]) < PATCH:
            raise ValueError(
                f"regularise of method 'renoise' needs images of at least 4x4, got {tuple(image.shape)}"
            )

    def cost(self, schedule: Schedule) -> int:
        """(K + 1) T, or (K + 2) T with regularisation."""
        return (self.iterations + 1 + bool(self.regularise)) * schedule.num_steps

    def step(self, setting: Setting) -> Take:
        """K + 1 evaluations, and the move with the mean ε."""
        clean: dict[int, torch.Tensor] = {}  # x_0 of the micro-batches on their way, by their first image

        def take(x: torch.Tensor, move: Move, images: slice, condition: Condition) -> Taken:
            ask = asks(setting, x, move, condition)
            outputs, z = [], x
            for _ in range(self.iterations + 1):
                output, noise = ask(z)
                outputs.append(output)
                z = moved(x, noise, move)
            mean = torch.stack(outputs[slice(*self.average)]).mean(dim=0)
            if self.regularise:
                image = clean.setdefault(images.start, x)  # the first move starts from x_0
                if move.level == setting.schedule.num_steps:
                    del clean[images.start]
                noised = self._noised(setting, image, move, images)
                wanted = evaluate(setting.denoiser, noised, move.timestep, condition)
                mean = regularised(mean, wanted, (self.seed, move.level))
            return Taken(*ddim_step(x, mean, move.start, move.end, setting.clip), outputs[0])

        return take

    def _noised(self, setting: Setting, image: torch.Tensor, move: Move, images: slice) -> torch.Tensor:
        """√ᾱ_l x_0 + √(1 - ᾱ_l) ξ."""
        start = setting.start + images.start
        noise = setting.denoiser.sample_noise(len(image), self.seed + OWN_STREAM, start).to(image)
        return move.end**0.5 * image + (1 - move.end) ** 0.5 * noise
