"""DeepFloyd IF, stage I (StabilityAI, 2023): a text-conditional U-Net on pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import UNet2DConditionModel

from taba_utils.denoiser import choices
from taba_utils.models.digest import weights_digest
from taba_utils.models.guided import Guided, check_guidance_scale
from taba_utils.models.network import for_evaluation, frozen, predict, space
from taba_utils.models.pipeline import scheduler_chain
from taba_utils.models.places import prompts_file

if TYPE_CHECKING:
    from taba_utils.models.registry import Entry

TextEncoder = Callable[[list[str]], torch.Tensor]


class DeepFloydIF(Guided):
    """A U-Net with cross-attention to the hidden states of a text encoder; target convention.

    The authors' code thresholds the predicted x_0 when sampling and clamps it when inverting, so that the two
    directions are different maps. Here both directions clip x_0, or neither does. A condition is a prompt per image.
    The null condition is the empty prompt.

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
        prompts = [""] * len(x) if condition is None else list(condition)
        states = self._hidden_states(prompts).to(self.unet.dtype)
        return predict(self.unet, x, timestep, encoder_hidden_states=states)

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


def draw_prompts(prompts: Sequence[str], n: int, seed: int = 0, start: int = 0) -> list[str]:
    """Prompts of images start..start+n-1, uniform, from (seed, image) alone; raises ValueError if there are none."""
    if not prompts:
        raise ValueError("prompts must be given to draw conditions for IF, got none")
    return [prompts[i] for (i,) in choices(n, seed, start, [len(prompts)])]


def read_prompts(place: Path) -> list[str]:
    """Lines of a file of prompts; raises FileNotFoundError if there is no such file."""
    if not place.exists():
        raise FileNotFoundError(
            f"no prompts for IF in {place}: put them there, one a line, or give `prompts`"
        )
    return place.read_text(encoding="utf-8").splitlines()


def load_if(
    entry: Entry,
    source: str | Path,
    device: str | torch.device = "cpu",
    guidance_scale: float = 1.0,
    prompts: Sequence[str] | None = None,
    **options,
) -> DeepFloydIF:
    """IF-I-XL from a folder or hub id (unet, text_encoder, tokenizer, scheduler).

    Args:
        prompts: what `sample_condition` draws from (the paper: Recap-COCO-30K); default: the lines of `prompts_file()`.
        options: handed to `from_pretrained` (`local_files_only`, `cache_dir`, `variant`, ...).

    Raises:
        FileNotFoundError: no prompts.
        ImportError: one of the packages of the extra "deepfloyd" is missing.
    """
    prompts = read_prompts(prompts_file()) if prompts is None else prompts
    unet = UNet2DConditionModel.from_pretrained(source, subfolder="unet", **options)
    encode_text, weights = load_t5(source, device, **options)
    return DeepFloydIF(
        unet,
        encode_text,
        partial(draw_prompts, prompts),
        name=entry.name,
        digest=weights_digest(unet.state_dict(), weights),
        training_alphas_cumprod=scheduler_chain(source, **options),
        guidance_scale=guidance_scale,
        device=device,
    )


def load_t5(
    source: str | Path, device: str | torch.device, **options
) -> tuple[TextEncoder, dict[str, torch.Tensor]]:
    """IF's text encoder and its weights.

    Prompts are lowered and stripped before T5 sees them, as in diffusers' pipeline.
    """
    try:
        import sentencepiece  # noqa: F401 (the tokenizer needs it, and says so only in a log)
        from transformers import T5EncoderModel, T5Tokenizer
    except ImportError as error:
        raise ImportError("IF needs the extra packages of `pip install 'taba[deepfloyd]'`") from error

    known_to_tokenizers = ("cache_dir", "local_files_only", "revision", "token")
    hub = {key: options[key] for key in known_to_tokenizers if key in options}
    tokenizer = T5Tokenizer.from_pretrained(source, subfolder="tokenizer", **hub)
    encoder = frozen(T5EncoderModel.from_pretrained(source, subfolder="text_encoder", **options), device)

    def encode_text(texts: list[str]) -> torch.Tensor:
        plain = [text.lower().strip() for text in texts]
        tokens = tokenizer(plain, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            return encoder(**tokens.to(device)).last_hidden_state

    return encode_text, encoder.state_dict()
