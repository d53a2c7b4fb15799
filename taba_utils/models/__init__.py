"""The models: `zoo.toml` holds the facts, `registry` reads them, `loading` makes a `Denoiser` of an entry."""

from taba_utils.models.folders import entry_of
from taba_utils.models.loading import load_model, trained_alike
from taba_utils.models.places import checkpoints, prompts_file, weights_dir
from taba_utils.models.registry import GARMENTS, ZOO, Entry, list_models, list_names

__all__ = [
    "GARMENTS",
    "ZOO",
    "Entry",
    "checkpoints",
    "entry_of",
    "list_models",
    "list_names",
    "load_model",
    "prompts_file",
    "trained_alike",
    "weights_dir",
]
