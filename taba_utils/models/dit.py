"""Diffusion transformer (Peebles and Xie, 2022): class-conditional, in the latents of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel

from taba_utils.conditions import Condition, class_numbers
from taba_utils.denoiser import choices
from taba_utils.models.autoencoder import Autoencoder, LatentDenoiser, load_autoencoder
from taba_utils.models.chain import follow
from taba_utils.models.digest import weights_digest
from taba_utils.models.guided import Guided, check_guidance_scale
from taba_utils.models.network import frozen, predict, space
from taba_utils.models.parts import Source, check_channels, facts


class DiT(LatentDenoiser, Guided):
    """A transformer on latents with the habits of diffusers' pipeline: target convention, clipped if its scheduler says so.

    A condition is a class per image, by its number or its name. The network's embedding after its last class is the null class.

    Args:
        transformer: diffusers' transformer; output channels beyond the input's (the learned variance) are
            dropped.
        autoencoder: between its space and pixels.
        classes: a name of each of the network's classes, for `prompt`.
        name, digest, training_alphas_cumprod: see `Denoiser`.
        guidance_scale: see `Guided`.
    """

    def __init__(
        self,
        transformer: DiTTransformer2DModel,
        autoencoder: Autoencoder,
        *,
        classes: Sequence[str],
        name: str,
        digest: str,
        training_alphas_cumprod: torch.Tensor,
        guidance_scale: float = 1.0,
        device: str | torch.device = "cpu",
    ):
        if len(classes) != transformer.config["num_embeds_ada_norm"]:
            count = transformer.config["num_embeds_ada_norm"]
            raise ValueError(f"classes must have a name of each of {count} classes, got {len(classes)}")
        self.guidance_scale = check_guidance_scale(guidance_scale)
        self.device = torch.device(device)
        self.transformer = frozen(transformer, self.device)
        self.autoencoder, self.classes = autoencoder, tuple(classes)
        self.name, self.digest = name, f"{digest}-w{self.guidance_scale:g}"
        self.shape = space(transformer)
        self.training_alphas_cumprod = training_alphas_cumprod

    def predict_conditional(self, x: torch.Tensor, timestep: torch.Tensor, condition) -> torch.Tensor:
        """ε_θ(x, t, c), (N, C, H, W); raises ValueError for a class that there is not."""
        null = [len(self.classes)] * len(x)
        told = null if condition is None else self.conditions(condition, len(x))
        labels = torch.tensor(told, device=x.device)
        return self.to_noise(x, timestep, predict(self.transformer, x, timestep, class_labels=labels))

    def conditions(self, condition: Condition, n: int) -> list[int] | None:
        """Class numbers, n of them; see `Denoiser.conditions`."""
        told = super().conditions(condition, n)
        return None if told is None else class_numbers(told, len(self.classes), self.classes)

    def sample_condition(self, n: int, seed: int = 0, start: int = 0) -> list[int]:
        """Class of images start..start+n-1, uniform, from (seed, image) alone."""
        return [label for (label,) in choices(n, seed, start, [len(self.classes)])]

    def prompt(self, condition: int | str) -> str:
        """Name of a class, with its article."""
        return article(self.classes[class_numbers([condition], len(self.classes), self.classes)[0]])


def article(name: str) -> str:
    """ "a sneaker", "an ankle boot", "trousers": the name as a noun phrase."""
    if name.endswith("s"):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def build_dit(
    source: Source, name: str, device: str | torch.device = "cpu", guidance_scale: float = 1.0
) -> DiT:
    """A DiTPipeline (transformer, vae, scheduler); the class names of model_index.json are optional."""
    source.refuse_other_parts({"transformer", "vae", "scheduler"})
    chain = source.chain()
    kinds = {"DiTTransformer2DModel": DiTTransformer2DModel, "Transformer2DModel": DiTTransformer2DModel}
    transformer = source.part("transformer", kinds)
    autoencoder = load_autoencoder(source, "vae", {"AutoencoderKL": AutoencoderKL}, device)
    vae = autoencoder.network
    check_channels("transformer", transformer, vae.config["latent_channels"])
    model = DiT(
        transformer,
        autoencoder,
        classes=_class_names(source, transformer.config["num_embeds_ada_norm"]),
        name=name,
        digest=weights_digest(
            transformer.state_dict(), vae.state_dict(), facts=facts(chain, transformer=transformer, vae=vae)
        ),
        training_alphas_cumprod=chain.alphas_cumprod,
        guidance_scale=guidance_scale,
        device=device,
    )
    return follow(model, chain)


def _class_names(source: Source, count: int) -> list[str]:
    """First name of each of the network's classes, "class 3" where the pipeline has none."""
    names = {
        int(label): str(text).split(",")[0].strip()
        for label, text in (source.index.get("id2label") or {}).items()
    }
    if beyond := sorted(label for label in names if not 0 <= label < count):
        raise ValueError(
            f"id2label of model_index.json in {source.place} must name classes 0..{count - 1}, got {beyond[0]}"
        )
    return [names.get(label) or f"class {label}" for label in range(count)]
