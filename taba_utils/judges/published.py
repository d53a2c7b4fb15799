"""The judges that the paper uses, each loaded from this machine only (`taba_utils.judges.finding`)."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import torch

from taba_utils.judges.finding import check_weights, import_package, in_hugging_face_hub, in_torch_hub
from taba_utils.judges.preparation import centre, normalised, squares
from taba_utils.judges.protocols import JudgeMissing, Measure, check_images, check_prompts, cosine, in_batches
from taba_utils.models.digest import weights_digest

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ALEXNET = "checkpoints/alexnet-owt-7be5be79.pth"
INCEPTION = "checkpoints/weights-inception-2015-12-05-6726825d.pth"
DREAMSIM = (
    "dino_vitb16_pretrain.pth",
    "open_clip_vitb16_pretrain.pth.tar",
    "clip_vitb16_pretrain.pth.tar",
    "ensemble_lora",
    "facebookresearch_dino_main",
    "checkpoints/dino_vitbase16_pretrain.pth",
)
DINO_ID = "facebook/dino-vits16"
CLIP_ID, CLIP_ARCHITECTURE = "timm/vit_base_patch32_clip_224.openai", "ViT-B-32-quickgelu"


class SSIM:
    """Structural similarity (Wang et al., 2004) by scikit-image: per channel, averaged.

    Images are in [0, 1], and their range is 1. The authors' code hands over images in [-1, 1] with a range of 1.
    """

    name, digest = "SSIM", "7x7-range-1"

    @classmethod
    def load(cls, device: str | torch.device = "cpu", batch_size: int = 32) -> SSIM:
        """Without weights, on the CPU, whatever the device."""
        return cls()

    def measures(self) -> list[Measure]:
        """SSIM itself."""
        return [Measure("SSIM", "SSIM", self.similarity)]

    def similarity(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Two (N, 3, H, W) in [0, 1], at least 7x7, to (N,); 1 for equal images."""
        from skimage.metrics import structural_similarity

        check_images(first, second, least=7)
        pairs = zip(*(x.movedim(1, -1).float().cpu().numpy() for x in (first, second)), strict=True)
        scores = [structural_similarity(a, b, channel_axis=-1, data_range=1.0) for a, b in pairs]
        return torch.tensor(scores, dtype=torch.float32)


class _Network:
    """A judge that is one network.

    Args:
        network: see the subclass; `load` finds it on this machine.
        device: where it runs.
        batch_size: images per call of the network.
    """

    name: str
    network: Any  # its calls are its package's own

    def __init__(self, network: torch.nn.Module, device: str | torch.device = "cpu", batch_size: int = 32):
        self.network = network.to(device).eval().requires_grad_(False)
        self.digest = weights_digest(network.state_dict())
        self.device, self.batch_size = device, batch_size

    def _run(self, function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
        return in_batches(function, self.device, self.batch_size, *inputs)


class LPIPS(_Network):
    """LPIPS 0.1 on AlexNet (Zhang et al., 2018), `lpips.LPIPS`, as in the authors' code."""

    name = "LPIPS"

    @classmethod
    def load(cls, device: str | torch.device = "cpu", batch_size: int = 32) -> LPIPS:
        """From the torch cache; raises JudgeMissing."""
        library = import_package("lpips", cls.name)
        in_torch_hub(cls.name, [ALEXNET])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
            return cls(library.LPIPS(net="alex", version="0.1", verbose=False), device, batch_size)

    def measures(self) -> list[Measure]:
        """LPIPS itself."""
        return [Measure("LPIPS", "LPIPS", self.distance)]

    def distance(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Two (N, 3, H, W) in [0, 1], at least 31x31, to (N,)."""
        check_images(first, second, least=31)  # AlexNet's pooling leaves nothing of fewer pixels
        return self._run(lambda a, b: self.network(a, b, normalize=True).flatten(), first, second)


class DreamSim(_Network):
    """DreamSim's ensemble (Fu et al., 2023), `dreamsim.dreamsim`, as in the authors' code."""

    name = "DreamSim"

    @classmethod
    def load(cls, device: str | torch.device = "cpu", batch_size: int = 32) -> DreamSim:
        """From `hub/dreamsim` of the torch cache (the package's `cache_dir`); raises JudgeMissing."""
        library, before = import_package("dreamsim", cls.name), torch.hub.get_dir()
        folder = in_torch_hub(cls.name, DREAMSIM, "dreamsim")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                network, _ = library.dreamsim(device=str(device), cache_dir=str(folder))
        finally:
            torch.hub.set_dir(before)  # the package sets another and leaves it
        return cls(network, device, batch_size)

    def measures(self) -> list[Measure]:
        """DreamSim itself."""
        return [Measure("DreamSim", "DreamSim", self.distance)]

    def distance(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Two (N, 3, H, W) in [0, 1] to (N,): 1 - cosine of the embeddings."""
        check_images(first, second)
        return self._run(lambda a, b: self.network(squares(a), squares(b)).flatten(), first, second)


class DINO(_Network):
    """DINO ViT-S/16 (Caron et al., 2021), class token, as in the authors' code; the paper cites DINOv2."""

    name = "DINO"

    @classmethod
    def load(cls, device: str | torch.device = "cpu", batch_size: int = 32) -> DINO:
        """From the cache of Hugging Face; raises JudgeMissing."""
        library = import_package("transformers", cls.name)
        folder = in_hugging_face_hub(cls.name, DINO_ID, "config.json").parent
        check_weights(cls.name, folder)
        try:  # Given a hub name, transformers asks the network even when the files are cached; a folder avoids that.
            network = library.AutoModel.from_pretrained(folder, add_pooling_layer=False)
        except OSError as error:
            raise JudgeMissing(f"{cls.name} is missing: {folder} is not complete") from error
        return cls(network, device, batch_size)

    def measures(self) -> list[Measure]:
        """The cosine of DINO's features."""
        return [Measure("DINO", "DINO", self.similarity)]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] to (N, 384)."""
        check_images(images)
        return self._run(self._class_token, images)

    def similarity(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Cosine of the features of each pair, two (N, 3, H, W) in [0, 1] to (N,)."""
        check_images(first, second)
        return cosine(self.features(first), self.features(second))

    def _class_token(self, images: torch.Tensor) -> torch.Tensor:
        prepared = normalised(centre(images, 256), IMAGENET_MEAN, IMAGENET_STD)
        return self.network(prepared).last_hidden_state[:, 0]


class CLIP(_Network):
    """CLIP ViT-B/32 of OpenAI (Radford et al., 2021) through open_clip.

    Its CLIP-T is the cosine, as the paper's text says; the authors' code prints 2.5 max(cosine, 0).
    """

    name = "CLIP"

    @classmethod
    def load(cls, device: str | torch.device = "cpu", batch_size: int = 32) -> CLIP:
        """From the cache of Hugging Face; raises JudgeMissing."""
        import open_clip

        path = in_hugging_face_hub(cls.name, CLIP_ID, "open_clip_model.safetensors")
        return cls(open_clip.create_model(CLIP_ARCHITECTURE, pretrained=str(path)), device, batch_size)

    def measures(self) -> list[Measure]:
        """CLIP-T to either prompt."""
        return [
            Measure("CLIP-T source", "CLIP-T source", self.text_similarity, "source_prompts"),
            Measure("CLIP-T target", "CLIP-T target", self.text_similarity, "target_prompts"),
        ]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] to unit embeddings (N, 512)."""
        check_images(images)
        return self._run(self._embed_images, images)

    def text_similarity(self, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        """Cosine of each image with its prompt, (N, 3, H, W) in [0, 1] and N texts to (N,)."""
        import open_clip

        check_prompts(images, prompts)
        tokenizer: Any = open_clip.get_tokenizer(CLIP_ARCHITECTURE)
        most = tokenizer.context_length - 2  # start and end
        if cut := sum(len(tokenizer.encode(prompt)) > most for prompt in prompts):
            warnings.warn(
                f"{cut} of {len(prompts)} prompts have over {most} tokens and are cut for CLIP", stacklevel=2
            )
        tokens = tokenizer(list(prompts))
        return cosine(self.features(images), self._run(self._embed_texts, tokens))

    def _embed_images(self, images: torch.Tensor) -> torch.Tensor:
        from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

        prepared = normalised(centre(images, 224), OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
        return self.network.encode_image(prepared, normalize=True)

    def _embed_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.network.encode_text(tokens, normalize=True)


class Inception(_Network):
    """InceptionV3 of the original FID (Heusel et al., 2017), torch-fidelity's conversion."""

    name = "Inception"

    @classmethod
    def load(cls, device: str | torch.device = "cpu", batch_size: int = 32) -> Inception:
        """From the torch cache; raises JudgeMissing."""
        library = import_package("torch_fidelity.feature_extractor_inceptionv3", cls.name, "torch-fidelity")
        path = in_torch_hub(cls.name, [INCEPTION]) / INCEPTION
        network = library.FeatureExtractorInceptionV3(
            cls.name, ["2048"], feature_extractor_weights_path=str(path)
        )
        return cls(network, device, batch_size)

    def measures(self) -> list[Measure]:
        """None: it judges sets of images, not pairs."""
        return []

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1], rounded to eight bits as FID asks, to (N, 2048)."""
        check_images(images)
        return self._run(lambda part: self.network((part * 255).round().to(torch.uint8))[0], images)
