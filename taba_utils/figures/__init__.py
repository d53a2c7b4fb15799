"""One function per figure: data in, matplotlib Figure out. `style` holds the palette and the type."""

from taba_utils.figures.correlation import correlations
from taba_utils.figures.diagnosis import diagnosed
from taba_utils.figures.editing import edits, error_over_guidance, improvement
from taba_utils.figures.forest import forest
from taba_utils.figures.inversion import (
    error_over_levels,
    error_over_num_steps,
    gain_over_variance,
    toy_paths,
)
from taba_utils.figures.location import angle_histograms, distance_maps, masks, triangles
from taba_utils.figures.mapping import path_strip, quality_along_path, wrong_assignments
from taba_utils.figures.methods import reconstruction_against_whiteness, where_exactness_ends
from taba_utils.figures.pictures import (
    as_noise,
    as_pixels,
    latents_and_errors,
    latents_by_num_steps,
    picture_rows,
    principal_components,
    round_trip,
)
from taba_utils.figures.steps import error_per_step, exact_first_steps, gain_of_exact_steps
from taba_utils.figures.style import save
from taba_utils.figures.theory import (
    forward_replacement,
    gains_over_num_steps,
    own_states,
    predicted_by_area,
    table_9_predicted,
    what_remains,
)
from taba_utils.figures.training import over_training

__all__ = [
    "angle_histograms",
    "as_noise",
    "as_pixels",
    "correlations",
    "diagnosed",
    "distance_maps",
    "edits",
    "error_over_guidance",
    "error_over_levels",
    "error_over_num_steps",
    "error_per_step",
    "exact_first_steps",
    "forest",
    "forward_replacement",
    "gain_of_exact_steps",
    "gain_over_variance",
    "gains_over_num_steps",
    "improvement",
    "latents_and_errors",
    "latents_by_num_steps",
    "masks",
    "over_training",
    "own_states",
    "path_strip",
    "picture_rows",
    "predicted_by_area",
    "principal_components",
    "quality_along_path",
    "reconstruction_against_whiteness",
    "round_trip",
    "save",
    "table_9_predicted",
    "toy_paths",
    "triangles",
    "what_remains",
    "where_exactness_ends",
    "wrong_assignments",
]
