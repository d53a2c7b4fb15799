"""What each embedded model learns: its network, its loss and its training set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from torchvision.utils import save_image
from tqdm.auto import tqdm

from taba_utils.fashion import CLASSES, FashionInColour, load_fashion, to_model_range
from taba_utils.judges.mini import MiniFeaturesNetwork
from taba_utils.models.autoencoder import Autoencoder
from taba_utils.models.digest import weights_digest
from taba_utils.models.dit import article
from taba_utils.models.mini import encode_text, load_mini_clip, plain_attention, sample_prompts
from taba_utils.models.mini_clip import build_mini_clip, tokenize
from training import networks
from training.loop import Loss

DROP = 0.1  # share of conditions replaced by the null condition
SHORT = 0.25  # share of mini-clip's captions that name the garment alone
KL_WEIGHT = 1e-4  # of the autoencoder's posterior, an entry of a latent
COSINE = {"num_train_timesteps": 4000, "beta_schedule": "squaredcos_cap_v2"}  # OpenAI's ADM
COSINE_1000 = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"}  # DeepFloyd IF
LINEAR = {"num_train_timesteps": 1000, "beta_schedule": "linear", "clip_sample": False}  # LDM, DiT


@dataclass(frozen=True)
class Task:
    """A network, its loss, the number of training items, and a picture of how far it is."""

    network: torch.nn.Module
    loss: Loss
    items: int
    preview: Callable[[torch.nn.Module, Path], None] | None = None


def noise_loss(
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    clean: torch.Tensor,
    scheduler: DDIMScheduler,
    generator: torch.Generator,
) -> torch.Tensor:
    """E‖ε - ε_θ(x_t, t)‖² over uniform steps t (Ho et al., 2020, Eq. 14): every step counts alike.

    Args:
        predict: (x_t, network time in 0..1000) -> ε.
        clean: (N, C, H, W), x_0, on the device of `generator`.
    """
    total = scheduler.config["num_train_timesteps"]
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    steps = torch.randint(total, (len(clean),), generator=generator, device=clean.device)
    noisy = scheduler.add_noise(clean, noise, steps)
    return (predict(noisy, steps * (1000 / total)).float() - noise).square().mean()


def dropped(count: int, generator: torch.Generator) -> torch.Tensor:
    """Which of a batch's conditions are dropped, (count,) bool."""
    return torch.rand(count, generator=generator, device=generator.device) < DROP


def adm(network: torch.nn.Module, device: str) -> Task:
    """mini-adm, mini-adm-s: pixels, the cosine chain of OpenAI's ADM."""
    images, scheduler = load_fashion("train").images.to(device), DDIMScheduler(**COSINE)

    def loss(network, indices, generator):
        predict = lambda x, t: network(x, t).sample  # noqa: E731
        return noise_loss(predict, to_model_range(images[indices]), scheduler, generator)

    def preview(network, path):
        preview_samples(lambda x, t: network(x, t).sample, (3, 32, 32), scheduler, path, device)

    return Task(network, loss, len(images), preview)


def ldm(device: str, runs: Path) -> Task:
    """mini-ldm: latents, the linear chain."""
    autoencoder = trained_autoencoder(runs, device)
    latents, scheduler = training_latents(runs, autoencoder, device), DDIMScheduler(**LINEAR)

    def loss(network, indices, generator):
        predict = lambda x, t: network(x, t).sample  # noqa: E731
        return noise_loss(predict, latents[indices], scheduler, generator)

    def preview(network, path):
        predict = lambda x, t: network(x, t).sample  # noqa: E731
        preview_samples(predict, networks.LATENT, scheduler, path, device, autoencoder.decode, clip=False)

    return Task(networks.mini_ldm(), loss, len(latents), preview)


def dit(device: str, runs: Path) -> Task:
    """mini-dit: latents, the linear chain, a class that is dropped for one image in ten."""
    autoencoder = trained_autoencoder(runs, device)
    latents, scheduler = training_latents(runs, autoencoder, device), DDIMScheduler(**LINEAR)
    labels, null = load_fashion("train").labels.to(device), len(CLASSES)

    def loss(network, indices, generator):
        told = labels[indices].masked_fill(dropped(len(indices), generator), null)
        predict = lambda x, t: network(x, t, class_labels=told).sample  # noqa: E731
        return noise_loss(predict, latents[indices], scheduler, generator)

    def preview(network, path):
        told = torch.arange(40, device=device) % null
        predict = lambda x, t: network(x, t, class_labels=told).sample  # noqa: E731
        preview_samples(predict, networks.LATENT, scheduler, path, device, autoencoder.decode, clip=False)

    return Task(networks.mini_dit(), loss, len(latents), preview)


def text_to_image(device: str) -> Task:
    """mini-if: pixels, the cosine chain, a prompt that is dropped for one image in ten."""
    data, clip, scheduler = load_fashion("train"), load_mini_clip(device), DDIMScheduler(**COSINE_1000)
    images = data.images.to(device)

    def loss(network, indices, generator):
        drop = dropped(len(indices), generator)
        prompts = ["" if gone else data.caption(i) for i, gone in zip(indices.tolist(), drop, strict=True)]
        states = encode_text(clip, prompts).clone()
        predict = lambda x, t: network(x, t, encoder_hidden_states=states).sample  # noqa: E731
        return noise_loss(predict, to_model_range(images[indices]), scheduler, generator)

    def preview(network, path):
        states = encode_text(clip, sample_prompts(40))
        predict = lambda x, t: network(x, t, encoder_hidden_states=states).sample  # noqa: E731
        preview_samples(predict, (3, 32, 32), scheduler, path, device)

    return Task(networks.mini_if(), loss, len(data), preview)


def autoencoder(device: str) -> Task:
    """mini-autoencoder: absolute and squared error, and a little of the posterior's KL divergence."""
    images = load_fashion("train").images.to(device)

    def loss(network, indices, generator):
        pixels = to_model_range(images[indices])
        posterior = network.encode(pixels).latent_dist
        error = network.decode(posterior.sample(generator)).sample.float() - pixels
        entries = posterior.mean[0].numel()
        return error.abs().mean() + error.square().mean() + KL_WEIGHT * posterior.kl().mean() / entries

    def preview(network, path):
        pixels = to_model_range(images[:20])
        with torch.inference_mode():
            again = network(pixels).sample
        save_image(torch.cat([pixels, again]).clamp(-1, 1) * 0.5 + 0.5, path, nrow=10)

    return Task(networks.mini_autoencoder(), loss, len(images), preview)


def features(device: str) -> Task:
    """mini-features: names the garment."""
    data = load_fashion("train")
    images, labels = data.images.to(device), data.labels.to(device)

    def loss(network, indices, generator):
        return cross_entropy(network(images[indices].float() / 255).float(), labels[indices])

    return Task(MiniFeaturesNetwork(), loss, len(data))


def clip(device: str) -> Task:
    """mini-clip: which caption belongs to which image."""
    data = load_fashion("train")

    def loss(network, indices, generator):
        indices = indices.cpu()
        images = to_model_range(data.images[indices])
        flip, brief = torch.rand(2, len(images), generator=generator, device=generator.device).cpu()
        images[flip < 0.5] = images[flip < 0.5].flip(3)
        short = brief < SHORT
        captions = [
            article(CLASSES[data.labels[i]]) if brief else data.caption(i)
            for i, brief in zip(indices.tolist(), short, strict=True)
        ]
        with sdpa_kernel(SDPBackend.MATH):  # at 65 tokens the fused backward pass is slower on a CPU
            out = network(images.to(device), tokenize(captions).to(device))
        image, text, scale = (value.float() for value in out[:3])
        return soft_contrastive(scale * image @ text.T, matches(data, indices, short).to(device))

    return Task(build_mini_clip(), loss, len(data))


TASKS: dict[str, Callable[[str, Path], Task]] = {
    "mini-features": lambda device, runs: features(device),
    "mini-clip": lambda device, runs: clip(device),
    "mini-autoencoder": lambda device, runs: autoencoder(device),
    "mini-adm": lambda device, runs: adm(networks.mini_adm(), device),
    "mini-adm-s": lambda device, runs: adm(networks.mini_adm_s(), device),
    "mini-ldm": ldm,
    "mini-dit": dit,
    "mini-if": lambda device, runs: text_to_image(device),
}


def matches(data: FashionInColour, indices: torch.Tensor, short: torch.Tensor) -> torch.Tensor:
    """Whether caption j is true of image i, (N, N) bool: a short caption says nothing of colours."""
    same = lambda values: values[indices][:, None] == values[indices][None]  # noqa: E731
    return same(data.labels) & (short[None] | (same(data.colours) & same(data.backdrops)))


def soft_contrastive(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """CLIP's loss where several captions may be true of an image: they share the target evenly."""

    def one_way(logits, true):
        target = true / true.sum(dim=1, keepdim=True)
        return cross_entropy(logits, target)

    return (one_way(logits, true.float()) + one_way(logits.T, true.T.float())) / 2


def trained_autoencoder(runs: Path, device: str) -> Autoencoder:
    """mini-autoencoder as its run in `runs` exported it, float16 weights included."""
    source = runs / "mini-autoencoder" / "export"
    network = AutoencoderKL.from_pretrained(source, torch_dtype=torch.float32, use_safetensors=True)
    return Autoencoder(plain_attention(network), network.config["scaling_factor"], torch.device(device))


def training_latents(runs: Path, autoencoder: Autoencoder, device: str) -> torch.Tensor:
    """The training set in the autoencoder's scaled latents, (60000, 4, 16, 16); kept in `runs`."""
    path = runs / f"latents-{weights_digest(autoencoder.network.state_dict())[:16]}.safetensors"
    if not path.exists():
        images = load_fashion("train").images
        parts = [autoencoder.encode(to_model_range(part)) for part in tqdm(images.split(64), desc="latents")]
        save_file({"latents": torch.cat(parts).contiguous()}, path)
    return load_file(path, device)["latents"]


def preview_samples(
    predict: Callable[..., torch.Tensor],
    shape: tuple[int, int, int],
    scheduler: DDIMScheduler,
    path: Path,
    device: str,
    decode: Callable[[torch.Tensor], torch.Tensor] = lambda x: x,
    clip: bool = True,
) -> None:
    """A grid of 40 samples, 25 steps."""
    scheduler.set_timesteps(25)
    x = torch.randn(40, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    scale = 1000 / scheduler.config["num_train_timesteps"]
    for step in scheduler.timesteps:
        with torch.inference_mode():
            noise = predict(x, (step * scale).expand(len(x)).to(device))
        x = scheduler.step(noise, step, x, use_clipped_model_output=clip).prev_sample
    save_image(decode(x).clamp(-1, 1) * 0.5 + 0.5, path, nrow=10)
