"""taba: noise, image, and back again. See README.md and notebooks/."""

from taba_utils import interpolation, metrics, observers, paper, parameters
from taba_utils.ddim import invert, sample
from taba_utils.denoiser import Denoiser
from taba_utils.models import list_models, load_model
from taba_utils.reference import Run
from taba_utils.schedule import Schedule
from taba_utils.trajectories import Trajectories

__version__ = "0.1.0"

__all__ = [
    "Denoiser",
    "Run",
    "Schedule",
    "Trajectories",
    "interpolation",
    "invert",
    "list_models",
    "load_model",
    "metrics",
    "observers",
    "paper",
    "parameters",
    "sample",
]
