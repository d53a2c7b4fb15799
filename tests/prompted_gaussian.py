"""A conditional model whose answers are known: the Gaussian oracle, which hears prompts and ignores them."""

from types import SimpleNamespace

import pytest
import torch

from taba_utils.denoiser import choices
from taba_utils.models.gaussian import GaussianMixture
from taba_utils.report import Run

WORDS = ("a bag", "a shirt", "a dress", "a coat")


class PromptedGaussian(GaussianMixture):
    """N(0, λ) with a plain left half and a textured right half, whatever the prompt says."""

    def __init__(self, name: str = "prompted gaussian", shape: tuple[int, int, int] = (3, 32, 32)):
        variances = torch.full((1, *shape), 0.25)
        variances[..., : shape[2] // 2] = 1e-6
        super().__init__(variances)
        self.name = name

    def sample_condition(self, n: int, seed: int = 0, start: int = 0) -> list[str]:
        return [WORDS[i] for (i,) in choices(n, seed, start, [len(WORDS)])]

    def prompt(self, condition: str) -> str:
        return condition


def toy_run(monkeypatch: pytest.MonkeyPatch, notebook: str, cache_dir, **parameters) -> Run:
    """A run of a notebook in which every model is the Gaussian oracle under the model's name."""
    monkeypatch.setattr("taba_utils.studies.models.load_model", lambda name, device: PromptedGaussian(name))
    return Run(notebook, SimpleNamespace(cache_dir=str(cache_dir), device="cpu", **parameters))
