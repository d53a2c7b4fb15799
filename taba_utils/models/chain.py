"""The noise levels of a diffusers scheduler: every field of its configuration is honoured or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from diffusers import DDIMScheduler

from taba_utils.denoiser import Denoiser
from taba_utils.schedule import Schedule, is_whole

CLIPPING = {"DDIMScheduler", "DDPMScheduler", "HeunDiscreteScheduler"}
"""Classes that clip x_0 (field `clip_sample`)."""

CLASSES = CLIPPING | {
    "DEISMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler", "UniPCMultistepScheduler",
}  # fmt: skip
"""Classes whose training chain is variance-preserving and discrete, as DDIM's is."""

SOLVER = {
    "algorithm_type", "disable_corrector", "euler_at_final", "final_sigmas_type", "lambda_min_clipped",
    "lower_order_final", "noise_sampler_seed", "predict_x0", "skip_prk_steps", "solver_order", "solver_p", "solver_type",
    "tensor_format", "use_beta_sigmas", "use_exponential_sigmas", "use_karras_sigmas", "use_lu_lambdas", "variance_type",
}  # fmt: skip
"""Fields that say how another solver than DDIM steps along the same chain. DDIM has no use for them."""

NEUTRAL = {
    "flow_shift": 1.0,
    "interpolation_type": "linear",
    "predict_epsilon": True,
    "time_shift_type": "exponential",
    "timestep_type": "discrete",
    "use_dynamic_shifting": False,
    "use_flow_sigmas": False,
}
"""Fields that DDIM does not have, and the one value at which they change nothing."""

CHOICES = {
    "prediction_type": ("epsilon", "v_prediction", "sample"),
    "timestep_spacing": ("leading", "trailing", "linspace"),
    "thresholding": (False,),
}


@dataclass(frozen=True)
class Chain:
    """A training chain and the way in which diffusers' DDIM cuts T levels from it.

    Attributes:
        scheduler: diffusers' own; its chain, timesteps and final ᾱ are used.
    """

    scheduler: DDIMScheduler

    @property
    def config(self) -> Mapping[str, Any]:
        """The scheduler's configuration."""
        return cast(Mapping[str, Any], self.scheduler.config)

    @property
    def facts(self) -> list[tuple[str, Any]]:
        """Names and values of the configuration, in order, for digests."""
        return public(self.config)

    @property
    def alphas_cumprod(self) -> torch.Tensor:
        """(N,), float64; diffusers computes the chain in float32."""
        return self.scheduler.alphas_cumprod.double()

    def schedule(self, num_steps: int) -> Schedule:
        """Levels and timesteps of diffusers' DDIM with T steps.

        A step of diffusers leads from timestep t to t - N // T, for every spacing. The steps form one chain of levels
        if the next timestep is t - N // T. Other grids are refused, because each step of diffusers would start at
        another level than the one before has reached: most T with "linspace", and T that does not divide N with
        "trailing". Level 0 has ᾱ of timestep t_1 - N // T, or the scheduler's final ᾱ if that timestep is negative.

        Raises:
            ValueError: T is not allowed, or the levels of these fields with this T cannot be used.
        """
        last = len(self.scheduler.alphas_cumprod) - 1
        if not is_whole(num_steps):
            raise ValueError(f"num_steps must be a whole number, got {num_steps!r}")
        if not 2 <= num_steps <= last + 1:
            raise ValueError(
                f"num_steps must be between 2 and {last + 1} (the model's training steps), got {num_steps}"
            )
        self.scheduler.set_timesteps(int(num_steps))
        steps, stride = self.scheduler.timesteps.flip(0), (last + 1) // num_steps
        self._check(steps, stride, num_steps)
        levels, first = self.alphas_cumprod, int(steps[0]) - stride
        clean = levels[first] if first >= 0 else self.scheduler.final_alpha_cumprod.double()
        return Schedule(torch.cat([clean[None], levels[steps]]), steps.double())

    def _check(self, steps: torch.Tensor, stride: int, num_steps: int) -> None:
        """Raise ValueError for a grid that cannot be used; `steps` (T,), ascending."""
        spacing, offset = self.config["timestep_spacing"], self.config["steps_offset"]
        training = len(self.scheduler.alphas_cumprod)
        what = f"num_steps={num_steps} with timestep_spacing={spacing!r}"
        if not bool((steps.diff() == stride).all()):
            raise ValueError(
                f"{what} is not supported: diffusers would step to t - {stride} and go on from another timestep. "
                "With 'trailing', num_steps must divide the training steps "
                f"({training}); 'leading' takes any: load_model(..., scheduler={{'timestep_spacing': 'leading'}})"
            )
        if int(steps[-1]) >= training or int(steps[0]) < 0:
            raise ValueError(
                f"{what} and steps_offset={offset} leads to timestep {int(steps[-1])} of {training} training steps"
            )
        left_out = training - stride - (int(steps[-1]) - offset)
        if left_out > training / 10 and spacing == "leading":
            fit = [training // (stride + 1), training // stride]
            raise ValueError(
                f"{what} would leave out the last {left_out} of {training} training steps, so that its last level is "
                f"not noise; {fit[0]} and {fit[1]} fit"
            )
        if not self.scheduler.alphas_cumprod[steps[-1]] > 0:
            raise ValueError(
                f"{what} and rescale_betas_zero_snr={self.config['rescale_betas_zero_snr']} starts at ᾱ = 0, where ε "
                "determines no image; 'leading' starts below it: "
                "load_model(..., scheduler={'timestep_spacing': 'leading'})"
            )


def read_chain(config: Mapping[str, Any], **changes: Any) -> Chain:
    """The chain of a saved scheduler configuration, as `DDIMScheduler.from_config` reads it.

    Fields that are left out have the defaults of diffusers' DDIMScheduler. A class that has no `clip_sample` (PNDM,
    Euler, DPM-Solver) does not clip, and the chain does not clip either unless the file says so.

    Args:
        config: the file's content.
        changes: fields that take the place of the file's.

    Raises:
        ValueError: a field that is neither honoured nor without effect, with its value.
    """
    own = {"_class_name": "DDIMScheduler", **config, **changes}
    kind = str(own["_class_name"])
    known = set(DDIMScheduler().config) | SOLVER
    if unknown := sorted(changes.keys() - known - NEUTRAL.keys()):
        raise ValueError(
            f"scheduler must name fields of DDIMScheduler, got {unknown[0]}={changes[unknown[0]]!r}"
        )
    if kind not in CLASSES:
        raise _refused(
            "_class_name", kind, f"supported: {sorted(CLASSES)} (discrete and variance-preserving)"
        )
    for field, value in own.items():
        if field in NEUTRAL and value is not None and value != NEUTRAL[field]:
            raise _refused(field, value, f"supported: {NEUTRAL[field]!r}")
        if not field.startswith("_") and field not in known | NEUTRAL.keys() and value is not None:
            raise _refused(field, value, "no such field of DDIMScheduler")
        if field in CHOICES and value not in CHOICES[field]:
            raise _refused(field, value, f"supported: {', '.join(map(repr, CHOICES[field]))}")
    if kind not in CLIPPING:
        own.setdefault("clip_sample", False)
    fields = {key: value for key, value in own.items() if key in DDIMScheduler().config}
    try:
        scheduler = DDIMScheduler.from_config({"_class_name": "DDIMScheduler", **fields})
    except (NotImplementedError, TypeError, ValueError) as error:
        raise _refused("beta_schedule", own.get("beta_schedule"), str(error)) from error
    return Chain(_checked(cast(DDIMScheduler, scheduler)))


def _checked(scheduler: DDIMScheduler) -> DDIMScheduler:
    """The scheduler; raises ValueError for values that make no chain."""
    config: Any = scheduler.config
    levels, steps = scheduler.alphas_cumprod, config["num_train_timesteps"]
    if len(levels) != steps:
        raise _refused("trained_betas", f"{len(levels)} values", f"num_train_timesteps is {steps}")
    if not bool(levels.isfinite().all()) or bool((levels < 0).any()) or bool((levels.diff() > 0).any()):
        raise _refused("beta_schedule", config["beta_schedule"], "its ᾱ does not fall from 1 to 0")
    if config["clip_sample"] and not config["clip_sample_range"] > 0:
        raise _refused("clip_sample_range", config["clip_sample_range"], "it must be above 0")
    return scheduler


def _refused(field: str, value: object, why: str) -> ValueError:
    return ValueError(f"{field}={value!r} of the scheduler is not supported; {why}")


def public(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Names and values of a configuration without diffusers' own notes, in order, for digests."""
    return sorted((key, value) for key, value in config.items() if not key.startswith("_"))


class Chained(Denoiser):
    """A model that may follow a diffusers scheduler: its levels, its clipping, and what its network predicts.

    Attributes:
        chain: the scheduler's; None: the model cuts its levels from `training_alphas_cumprod`.
        prediction: what the network returns: "epsilon", "v_prediction", "sample" or "score".
    """

    chain: Chain | None = None
    prediction: str = "epsilon"

    def schedule(self, num_steps: int) -> Schedule:
        """Levels of a T-step DDIM grid; raises ValueError for T that the chain does not allow."""
        return super().schedule(num_steps) if self.chain is None else self.chain.schedule(num_steps)

    def to_noise(self, x: torch.Tensor, timestep: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """ε_θ(x, t) of what the network returned for x at t, (N, C, H, W).

        From v: ε = √ᾱ v + √(1 - ᾱ) x. From x_0: ε = (x - √ᾱ x_0) / √(1 - ᾱ). From the score: ε = -√(1 - ᾱ) ∇ log p(x).
        ᾱ is that of the timestep t. In the target convention, x is at the level below t; `DDIMInverseScheduler` takes ᾱ of that level, which gives no ε
        at ᾱ = 1 for models of x_0. Eq. 4 asks for ε_θ(x, t).
        """
        if self.prediction == "epsilon":
            return output
        told = torch.as_tensor(timestep).detach().cpu().double().round().long().expand(len(x))
        level = self.training_alphas_cumprod[told].reshape(-1, 1, 1, 1)
        signal, sigma = level.sqrt().to(x), (1 - level).sqrt().to(x)
        if self.prediction == "v_prediction":
            return signal * output + sigma * x
        return -sigma * output if self.prediction == "score" else (x - signal * output) / sigma


Model = TypeVar("Model", bound=Chained)


def follow(model: Model, chain: Chain) -> Model:
    """The model, with the chain, the clipping and the prediction type of a scheduler."""
    model.chain, model.training_alphas_cumprod = chain, chain.alphas_cumprod
    model.prediction = chain.config["prediction_type"]
    model.clip, model.clip_range = bool(chain.config["clip_sample"]), float(chain.config["clip_sample_range"])
    return model
