"""What the diffusion models' training scripts share: the loss, cached latents, previews."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch.nn.functional import avg_pool2d
from torchvision.utils import save_image
from tqdm.auto import tqdm

from taba_utils.fashion import load_fashion, to_model_range
from taba_utils.models.digest import weights_digest
from taba_utils.models.mini import load_mini_autoencoder

DROP = 0.1  # share of conditions replaced by the null condition
SCALES, KNOWN, COARSE = (8, 32), 0.1, 0.3  # see noise_loss
PERCEPTION = 0.5  # exponent of P2 weighting, see noise_loss


def noise_loss(
    predict: Callable[..., torch.Tensor],
    clean: torch.Tensor,
    scheduler: DDIMScheduler,
    generator: torch.Generator,
    coarse: float = 0.0,
    perception: float = 0.0,
    teacher: Callable[..., torch.Tensor] | None = None,
) -> torch.Tensor:
    """Squared error of the predicted noise at uniform random steps (Ho et al., 2020, Eq. 14).

    Two changes to what counts how much, neither to the best prediction, which stays E[ε | x_t]:

    - `coarse`: the mean of the noise over the picture is a thousandth of it and decides the colour of the backdrop:
      where the image is faint, a small error in it is a large one in x_0. So means over squares of k = 8 and 32
      pixels count too, by their variance in white noise, 1 / k². Each weighs by how much of it can be known by one
      who knows the image's mean to within 0.1 (compare the multiscale loss of Hoogeboom et al., 2023).
    - `perception`: most of the plain loss is grain, at steps where the image is nearly clean; what the garment is,
      is settled where the loss is small. P2 weighting (Choi et al., 2022; k = 1) weighs a step by
      1 / (1 + SNR)^γ = (1 - ᾱ_t)^γ.

    Args:
        predict: (x_t, network time in 0..1000) -> ε.
        clean: (N, C, H, W), x_0, on the device of `generator`.
        coarse: weight of each coarse scale; 0 leaves them out.
        perception: γ; 0 weighs all steps alike.
        teacher: like `predict`; what is to be predicted instead of the noise, such as a guided prediction (`guided`).
    """
    total = scheduler.config.num_train_timesteps
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    steps = torch.randint(total, (len(clean),), generator=generator, device=clean.device)
    noisy, time = scheduler.add_noise(clean, noise, steps), steps * (1000 / total)
    target = teacher(noisy, time) if teacher else noise
    error, signal = predict(noisy, time).float() - target, scheduler.alphas_cumprod.to(clean.device)[steps]
    value = ((1 - signal) ** perception * error.square().mean(dim=(1, 2, 3))).mean()
    for k in SCALES if coarse else ():
        knowable = (1 - signal) / (1 - signal + (KNOWN * k) ** 2 * signal)
        means = k**2 * avg_pool2d(error, k).square().mean(dim=(1, 2, 3))
        value = value + coarse * (knowable * means).mean()
    return value


def guided(
    better: Callable[..., torch.Tensor], worse: Callable[..., torch.Tensor], scale: float
) -> Callable[..., torch.Tensor]:
    """Prediction led away from that of a worse model, w ε(x, t) + (1 - w) ε_worse(x, t), without gradients.

    With the null condition's prediction as the worse one that is classifier-free guidance (Ho and Salimans, 2022). A
    network taught this prediction (Meng et al., 2023) gives it in one evaluation.

    Args:
        better, worse: (x_t, network time in 0..1000) -> ε.
        scale: w; with 1 it is the better model's prediction.
    """

    @torch.no_grad()
    def predict(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        away = worse(x, time).float()
        return away + scale * (better(x, time).float() - away)

    return predict


def preview_samples(
    predict: Callable[..., torch.Tensor],
    shape: tuple[int, int, int],
    scheduler: DDIMScheduler,
    path: Path,
    decode: Callable[[torch.Tensor], torch.Tensor] = lambda x: x,
    device: str = "cpu",
    clip: bool = True,
) -> None:
    """A grid of 40 samples, 25 steps."""
    scheduler.set_timesteps(25)
    x = torch.randn(40, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    scale = 1000 / scheduler.config.num_train_timesteps
    for step in scheduler.timesteps:
        with torch.inference_mode():
            noise = predict(x, (step * scale).expand(len(x)).to(device))
        x = scheduler.step(noise, step, x, use_clipped_model_output=clip).prev_sample
    save_image(decode(x).clamp(-1, 1) * 0.5 + 0.5, path, nrow=10)


def dropped(count: int, generator: torch.Generator) -> torch.Tensor:
    """Which of a batch's conditions are dropped, (count,) bool."""
    return torch.rand(count, generator=generator, device=generator.device) < DROP


def training_latents(folder: Path, device: str = "cpu") -> torch.Tensor:
    """The training set in mini-autoencoder's scaled latents, (60000, 4, 8, 8); kept in `folder`."""
    autoencoder = load_mini_autoencoder(device)
    path = folder / f"latents-{weights_digest(autoencoder.network.state_dict())[:16]}.safetensors"
    if not path.exists():
        images = load_fashion("train").images
        parts = [autoencoder.encode(to_model_range(part)) for part in tqdm(images.split(64), desc="latents")]
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"latents": torch.cat(parts).contiguous()}, path)
    return load_file(path, device)["latents"]
