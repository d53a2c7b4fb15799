"""The exact denoiser of a Gaussian mixture: the oracle of the tests and the first toy of notebook 01."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from taba_utils.denoiser import Denoiser
from taba_utils.schedule import cosine_alphas_cumprod

if TYPE_CHECKING:
    from taba_utils.models.registry import Entry

TRAINING_STEPS = 1000


class GaussianMixture(Denoiser):
    """Data x_0 ~ Σ_k w_k N(μ_k, diag(λ_k)), for which ε(x, t) is known in closed form.

    At level ᾱ component k becomes N(√ᾱ μ_k, ᾱ λ_k + 1 - ᾱ), and ε = -√(1 - ᾱ) ∇log p(x). With one
    component of zero mean that is ε = √(1 - ᾱ) x / (ᾱ λ + 1 - ᾱ).

    Args:
        variances: (K, C, H, W), λ, at least 0.
        means: (K, C, H, W), μ; default 0.
        weights: (K,), w, summing to 1; default equal.
        alphas_cumprod: (N,), training chain; default: cosine with 1,000 steps.

    Raises:
        ValueError: shapes that differ or a negative variance.
    """

    def __init__(
        self,
        variances: torch.Tensor,
        means: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
        alphas_cumprod: torch.Tensor | None = None,
        device: str | torch.device = "cpu",
    ):
        means = torch.zeros_like(variances) if means is None else means
        weights = torch.full((len(variances),), 1 / len(variances)) if weights is None else weights
        if variances.ndim != 4 or means.shape != variances.shape or len(weights) != len(variances):
            raise ValueError(
                "variances and means must be (K, C, H, W) and weights (K,), got "
                f"{tuple(variances.shape)}, {tuple(means.shape)} and {tuple(weights.shape)}"
            )
        if (variances < 0).any():
            raise ValueError(f"variances must be at least 0, got {variances.min().item()}")
        self.name = "gaussian"
        self.device = torch.device(device)
        channels, height, width = variances.shape[1:]
        self.shape = (channels, height, width)
        self.variances, self.means, self.weights = (
            tensor.double().to(self.device) for tensor in (variances, means, weights)
        )
        chain = cosine_alphas_cumprod(TRAINING_STEPS) if alphas_cumprod is None else alphas_cumprod
        self.training_alphas_cumprod = chain.double()
        parts = (self.variances, self.means, self.weights, self.training_alphas_cumprod)
        self.digest = hashlib.sha256(b"".join(p.cpu().numpy().tobytes() for p in parts)).hexdigest()

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition=None) -> torch.Tensor:
        """ε in closed form, computed in float64; `timestep` is the index of the training step, a condition is ignored."""
        steps = torch.as_tensor(timestep).reshape(-1).round().long().cpu()
        alpha = self.training_alphas_cumprod[steps].to(x.device).reshape(-1, 1, 1, 1, 1)
        offset = x.double()[:, None] - alpha.sqrt() * self.means
        variance = alpha * self.variances + 1 - alpha
        likelihood = -0.5 * (offset.square() / variance + variance.log()).flatten(2).sum(-1)
        share = (likelihood + self.weights.log()).softmax(dim=1)[:, :, None, None, None]
        noise = (1 - alpha[:, 0]).sqrt() * (share * offset / variance).sum(dim=1)
        return noise.to(x.dtype)

    def sample_data(self, n: int, seed: int = 0) -> torch.Tensor:
        """Draw x_0, (n, C, H, W), float64, from the mixture itself."""
        generator = torch.Generator().manual_seed(seed)
        which = torch.multinomial(self.weights.float().cpu(), n, replacement=True, generator=generator)
        noise = torch.randn((n, *self.shape), generator=generator, dtype=torch.float64)
        return (self.means.cpu()[which] + self.variances.cpu()[which].sqrt() * noise).to(self.device)


def half_plain(
    shape: tuple[int, int, int] = (3, 32, 32),
    plain: float = 1e-6,
    rest: float = 0.25,
    device: str | torch.device = "cpu",
) -> GaussianMixture:
    """A Gaussian whose left half is plain (tiny variance) and whose right half is textured."""
    variances = torch.full((1, *shape), rest)
    variances[..., : shape[2] // 2] = plain
    return GaussianMixture(variances, device=device)


def load_gaussian(entry: Entry, source: None, device: str | torch.device = "cpu") -> GaussianMixture:
    """The zoo's oracle; it needs no weights."""
    return half_plain(entry.shape, device=device)
