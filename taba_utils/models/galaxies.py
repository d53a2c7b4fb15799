"""Galaxies: score networks that others trained on telescope images (Sampson et al.), read from `galaxygrad` without jax.

The package is never imported: its import needs jax, and it fails where file names are case-sensitive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from taba_utils.denoiser import Denoiser
from taba_utils.models.network import frozen
from taba_utils.models.places import refuse_pointer
from taba_utils.schedule import Schedule

if TYPE_CHECKING:
    from taba_utils.models.registry import Entry

LAST_TIME = 10.0  # of the stochastic differential equation
PATCH, HIDDEN, MIXED, BLOCKS = 4, 64, 512, 4  # of galaxygrad's scorenet.py


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, MIXED), nn.ReLU(), nn.Linear(MIXED, width))


class MixerBlock(nn.Module):
    """One block of an MLP-mixer: an MLP across patches, then an MLP across channels, both residual."""

    def __init__(self, patches: int):
        super().__init__()
        self.patch_mixer, self.hidden_mixer = _mlp(patches), _mlp(HIDDEN)
        self.norm1, self.norm2 = nn.LayerNorm([HIDDEN, patches]), nn.LayerNorm([patches, HIDDEN])

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """(N, HIDDEN, patches) -> (N, HIDDEN, patches)."""
        y = (y + self.patch_mixer(self.norm1(y))).mT
        return (y + self.hidden_mixer(self.norm2(y))).mT


class ScoreNetwork(nn.Module):
    """∇ log p_t(x) as an MLP-mixer on patches of 4×4 pixels; the time is a second channel of the input.

    The parameters are registered in the order of the file (`read_leaves`).

    Args:
        size: H = W, a multiple of 4.
    """

    def __init__(self, size: int):
        super().__init__()
        patches = (size // PATCH) ** 2
        self.conv_in = nn.Conv2d(2, HIDDEN, PATCH, stride=PATCH)
        self.conv_out = nn.ConvTranspose2d(HIDDEN, 1, PATCH, stride=PATCH)
        self.blocks = nn.ModuleList(MixerBlock(patches) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm([HIDDEN, patches])

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The score, (N, 1, H, W), of x, (N, 1, H, W), at times in 0..10, scalar or (N,)."""
        told = (time / LAST_TIME).reshape(-1, 1, 1, 1).expand_as(x)
        y = self.conv_in(torch.cat([x, told], dim=1))
        grid, y = y.shape[2:], y.flatten(2)
        for block in self.blocks:
            y = block(y)
        return self.conv_out(self.norm(y).unflatten(2, grid))


class Galaxies(Denoiser):
    """Galaxies of one channel. x_0 is log-scaled brightness, 10 log(1 + b): about 0 on the sky, 2 to 10 in a galaxy.

    The networks were trained on the variance-preserving equation dx = -x/2 dt + dw with t uniform in 0..10. A picture
    keeps ᾱ = exp(-t) of its variance, and ε = -√(1 - ᾱ) times the score. The training chain here is N equally spaced
    times, 10/N, 20/N, ..., 10. Equal spacing is how the training drew t, as DDPM draws its steps, and how the package
    itself samples (constant steps of 0.025). N = 1,000 makes the first time 0.01, the smallest that the package itself
    asks its networks for (t = 0 has no score), and lets a T-step grid be cut as from every other chain. At T = 50 the
    levels are t = 0.01, 0.21, ..., 9.81. The network is told t itself.

    Args:
        network: the score.
        name, digest: see `Denoiser`.
        size: H = W.
        training_steps: N.
    """

    def __init__(
        self,
        network: ScoreNetwork,
        *,
        name: str,
        digest: str,
        size: int,
        training_steps: int = 1000,
        device: str | torch.device = "cpu",
    ):
        self.device = torch.device(device)
        self.network = frozen(network, self.device)
        self.name, self.digest, self.shape = name, digest, (1, size, size)
        self.timestep_scale = LAST_TIME / training_steps
        times = torch.arange(1, training_steps + 1, dtype=torch.float64) * self.timestep_scale
        self.training_alphas_cumprod = (-times).exp()

    def schedule(self, num_steps: int) -> Schedule:
        """Levels of a T-step grid; the first one is at the first time of the chain, not at 0."""
        grid = super().schedule(num_steps)
        return Schedule(grid.alphas_cumprod, grid.timesteps + self.timestep_scale)

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition=None) -> torch.Tensor:
        """ε = -√(1 - exp(-t)) ∇ log p_t(x), (N, 1, H, W); raises ValueError for a condition."""
        self.refuse_condition(condition)
        time = torch.as_tensor(timestep, dtype=torch.float32, device=x.device)
        sigma = (-torch.expm1(-time)).sqrt().reshape(-1, 1, 1, 1)
        return (-sigma * self.network(x.float(), time)).to(x.dtype)

    def decode(self, image: torch.Tensor) -> torch.Tensor:
        """Each picture stretched from its own least and largest value to [-1, 1], (N, 1, H, W).

        Log-scaled brightness has no fixed range, so that plain pixels (App. C) and figures take the picture as a viewer
        shows it. A picture of one value becomes -1.
        """
        low, high = (f(image, dim=(1, 2, 3), keepdim=True) for f in (torch.amin, torch.amax))
        return 2 * (image - low) / (high - low).clamp(min=torch.finfo(image.dtype).tiny) - 1

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Raises ValueError: a stretched picture does not say how bright it was."""
        raise ValueError(
            f"pixels in [-1, 1] cannot be encoded for {self.name}: give taba.invert 10 log(1 + brightness) itself"
        )


def load_galaxies(entry: Entry, source: Path, device: str | torch.device = "cpu") -> Galaxies:
    """The network of an .eqx file; the digest is the SHA-256 of the file.

    Raises:
        ValueError: a file of another network, or of another version where the installed package is asked for.
    """
    refuse_pointer(source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if source == entry.source and digest != entry.settings["sha256"]:
        raise ValueError(f"{source} must be the file of {entry.package}, got a file with SHA-256 {digest}")
    size, network = entry.shape[1], ScoreNetwork(entry.shape[1])
    network.load_state_dict(_fitting(network, read_leaves(source), source))
    options = {"size": size, "training_steps": entry.training_steps, "device": device}
    return Galaxies(network, name=entry.name, digest=digest, **options)


def read_leaves(file: Path) -> list[np.ndarray]:
    """The arrays of an .eqx file: one .npy after the other, in the order of the model's fields; nothing is unpickled.

    Raises:
        ValueError: the file holds something else.
    """
    leaves = []
    with file.open("rb") as opened:
        while opened.peek(1):
            try:
                leaves.append(np.lib.format.read_array(opened, allow_pickle=False))
            except ValueError as error:
                raise ValueError(
                    f"{file} must be a row of .npy arrays, got another at {len(leaves)}: {error}"
                ) from error
    return leaves


def _fitting(network: ScoreNetwork, leaves: list[np.ndarray], file: Path) -> Mapping[str, torch.Tensor]:
    """Leaves by the names of parameters, in torch's layout; raises ValueError for a leaf that does not fit."""
    own = dict(network.named_parameters())
    arrays, last = leaves[:-1], leaves[-1:]
    if len(arrays) != len(own) or last[0].size != 1 or last[0] != LAST_TIME:
        ends = last[0].item() if last and last[0].size == 1 else "an array"
        wanted = f"{len(own)} arrays and then the last time, {LAST_TIME:g}"
        raise ValueError(f"{file} must hold {wanted}, got {len(arrays)} arrays and then {ends}")
    found = {}
    for (name, parameter), leaf in zip(own.items(), arrays, strict=True):
        value = torch.from_numpy(leaf)
        if name == "conv_out.weight" and value.ndim == 4:
            # (out, in, k, k), and jax correlates with the spread-out input where torch convolves
            value = value.transpose(0, 1).flip(2, 3)
        if name.startswith("conv") and name.endswith("bias"):
            value = value.flatten()
        if value.shape != parameter.shape:
            raise ValueError(f"{name} in {file} must be {tuple(parameter.shape)}, got {tuple(value.shape)}")
        found[name] = value
    return found
