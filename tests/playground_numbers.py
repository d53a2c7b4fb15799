"""What the playground prints of a round trip, from the package's own metrics."""

import torch

from taba_utils import metrics


def numbers(noise: torch.Tensor, latent: torch.Tensor, plain: torch.Tensor) -> dict[str, float]:
    """By the names of `measures.js`, but for `again`; `plain` is the mask of the pixels."""
    areas = metrics.per_area_statistics(noise, latent, metrics.pool_mask(plain, tuple(noise.shape[1:])))
    return {
        "noise_std": noise.std(correction=0).item(),
        "noise_correlation": metrics.spatial_autocorrelation(noise).item(),
        "plain_share": plain.double().mean().item(),
        "latent_std_plain": areas.std_plain,
        "latent_std_rest": areas.std_rest,
        "latent_correlation": metrics.spatial_autocorrelation(latent).item(),
        "error": metrics.mean_absolute_error(latent, noise),
        "error_plain": areas.error_plain,
        "error_rest": areas.error_rest,
    }
