"""DeepFloyd IF, stage I (StabilityAI, 2023): a text-conditional U-Net on pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from taba_utils.conditions import Condition
from taba_utils.denoiser import choices
from taba_utils.models.chain import follow
from taba_utils.models.digest import weights_digest
from taba_utils.models.guided import Guided, check_guidance_scale
from taba_utils.models.network import for_evaluation, predict, space
from taba_utils.models.parts import Source, TextEncoder, check_channels, facts, refuse_settings
from taba_utils.models.places import prompts_file

TEXT_ONLY = {
    "class_embed_type": (None,),
    "encoder_hid_dim_type": (None, "text_proj"),
    "num_class_embeds": (None,),
    "time_cond_proj_dim": (None,),
}
"""Fields of a U-Net that is told a timestep and a text, and nothing else."""


class TextUNet(Guided):
    """A U-Net with cross-attention to the hidden states of a text encoder; target convention.

    A condition is a prompt per image. The null condition is the empty prompt.

    Args:
        unet: diffusers' U-Net; output channels beyond the input's (the learned variance) are dropped.
        encode_text: prompts to hidden states (N, L, D), on the U-Net's device.
        sample_prompts: (n, seed, start) -> prompts of images start..start+n-1.
        name, digest, training_alphas_cumprod: see `Denoiser`.
        guidance_scale: see `Guided`.
        clip: whether x_0 is clipped to [-1, 1].
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        encode_text: TextEncoder,
        sample_prompts: Callable[[int, int, int], list[str]],
        *,
        name: str,
        digest: str,
        training_alphas_cumprod: torch.Tensor,
        guidance_scale: float = 1.0,
        clip: bool = False,
        device: str | torch.device = "cpu",
    ):
        self.guidance_scale, self.clip = check_guidance_scale(guidance_scale), clip
        self.device = torch.device(device)
        self.unet = for_evaluation(unet, self.device)
        self.encode_text, self.sample_prompts = encode_text, sample_prompts
        self.name, self.digest = name, f"{digest}-w{self.guidance_scale:g}"
        self.shape = space(unet)
        self.training_alphas_cumprod = training_alphas_cumprod
        self._encoded: dict[tuple[str, ...], torch.Tensor] = {}

    def predict_conditional(self, x: torch.Tensor, timestep: torch.Tensor, condition) -> torch.Tensor:
        """ε_θ(x, t, c), (N, C, H, W)."""
        told = None if condition is None else self.conditions(condition, len(x))
        prompts = [""] * len(x) if told is None else told
        states = self._hidden_states(prompts).to(self.unet.dtype)
        return self.to_noise(x, timestep, predict(self.unet, x, timestep, encoder_hidden_states=states))

    def conditions(self, condition: Condition, n: int) -> list[str] | None:
        """Prompts, n of them; see `Denoiser.conditions`."""
        told = super().conditions(condition, n)
        for entry in () if told is None else told:
            if not isinstance(entry, str):
                raise ValueError(f"condition must hold prompts for {self.name}, got {entry!r}")
        return None if told is None else list(told)

    def sample_condition(self, n: int, seed: int = 0, start: int = 0) -> list[str]:
        """Prompts of images start..start+n-1, from (seed, image) alone."""
        return self.sample_prompts(n, seed, start)

    def prompt(self, condition: str) -> str:
        """The prompt itself."""
        return condition

    def _hidden_states(self, prompts: list[str]) -> torch.Tensor:
        """Hidden states of a batch of prompts. The last two batches are kept for the next of the T steps.

        Two batches, because guidance asks with the prompts and with the null prompts in turn.
        """
        key = tuple(prompts)
        if key not in self._encoded:
            self._encoded = dict([*self._encoded.items()][-1:]) | {key: self.encode_text(prompts)}
        return self._encoded[key]


class DeepFloydIF(TextUNet):
    """IF, stage I, on pixels.

    The authors' code thresholds the predicted x_0 when sampling and clamps it when inverting, so that the two
    directions are different maps. Here both directions clip x_0, or neither does. Its entry in the zoo switches
    `thresholding` off; a folder whose scheduler says `thresholding` is refused without
    `scheduler={"thresholding": False}`.
    """


def draw_prompts(prompts: Sequence[str], n: int, seed: int = 0, start: int = 0) -> list[str]:
    """Prompts of images start..start+n-1, uniform, from (seed, image) alone; raises ValueError if there are none."""
    if not prompts:
        raise ValueError("prompts must be given to draw conditions for IF, got none")
    return [prompts[i] for (i,) in choices(n, seed, start, [len(prompts)])]


def read_prompts(place: Path) -> list[str]:
    """Lines of a file of prompts but blank ones; raises FileNotFoundError if there is no such file."""
    if not place.exists():
        raise FileNotFoundError(
            f"no prompts for IF in {place}: put them there, one a line, or give `prompts`"
        )
    lines = place.read_text(encoding="utf-8-sig").splitlines()  # "sig": a byte-order mark is no letter
    return [line.strip() for line in lines if line.strip()]


def prompts_to_draw(prompts: Sequence[str] | None) -> list[str]:
    """The prompts given, or the lines of `prompts_file()`, or none at all; raises ValueError for one string."""
    if isinstance(prompts, str):
        raise ValueError(f"prompts must be a list of prompts, got the string {prompts!r}")
    if prompts is None:
        return read_prompts(prompts_file()) if prompts_file().exists() else []
    return list(prompts)


def build_if(
    source: Source,
    name: str,
    device: str | torch.device = "cpu",
    guidance_scale: float = 1.0,
    prompts: Sequence[str] | None = None,
) -> DeepFloydIF:
    """An IFPipeline of stage I (unet, text_encoder, tokenizer, scheduler).

    Raises:
        ImportError: one of the packages of the extra "deepfloyd" is missing.
    """
    drawn = prompts_to_draw(prompts)
    source.refuse_other_parts({"unet", "text_encoder", "tokenizer", "scheduler"})
    chain = source.chain()
    unet = source.part("unet", {"UNet2DConditionModel": UNet2DConditionModel})
    refuse_settings("unet", unet, {**TEXT_ONLY, "addition_embed_type": (None, "text")})
    check_channels("unet", unet)
    encode_text, encoder = load_t5(source, device)
    digest = weights_digest(
        unet.state_dict(), encoder.state_dict(), facts=facts(chain, unet=unet, text_encoder=encoder)
    )
    model = DeepFloydIF(
        unet,
        encode_text,
        partial(draw_prompts, drawn),
        name=name,
        digest=digest,
        training_alphas_cumprod=chain.alphas_cumprod,
        guidance_scale=guidance_scale,
        device=device,
    )
    return follow(model, chain)


def load_t5(source: Source, device: str | torch.device) -> tuple[TextEncoder, torch.nn.Module]:
    """IF's text encoder: 77 tokens of prompts that are lowered and stripped, as in diffusers' pipeline."""
    try:
        import sentencepiece  # noqa: F401 (the tokenizer needs it, and says so only in a log)
        from transformers import T5EncoderModel, T5Tokenizer
    except ImportError as error:
        raise ImportError("IF needs the extra packages of `pip install 'taba[deepfloyd]'`") from error
    encode, encoder = source.text_encoder(device, T5EncoderModel, T5Tokenizer, most=77)

    def encode_text(texts: list[str]) -> torch.Tensor:
        return encode([text.lower().strip() for text in texts])

    return encode_text, encoder
