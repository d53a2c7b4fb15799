"""Every figure has a text that stands for it where it cannot be seen."""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from taba_utils import figures
from taba_utils.figures import style
from taba_utils.metrics import ApproximationErrors

ROOT = Path(__file__).parents[1]
LEAST = 20  # letters
IN_MARKDOWN = re.compile(r"!\[([^\]]*)\]\(([^)]*\.png)\)")


def picture(channels: int = 3) -> torch.Tensor:
    return torch.rand(3, channels, 4, 4, generator=torch.Generator().manual_seed(channels))


def table(**columns) -> pd.DataFrame:
    """Two rows of one toy model."""
    return pd.DataFrame({"model": ["toy", "toy"], "seed": [0, 1], **columns})


x, plain = picture(), torch.ones(3, 4, 4, dtype=torch.bool)
angles = {"at image": [50.0, 60.0], "at noise": [60.0, 50.0], "at latent": [70.0, 70.0]}
kinds = {"noise": 0.1, "latent": 0.4, "image": 0.9, "floor": 0.1}
errors = [ApproximationErrors(0.1, 0.2, 0.3, 0.4)] * 4
interval = {"mean": [0.2, 0.8], "low": [0.1, 0.7], "high": [0.3, 0.9]}
areas = {"std_plain": [0.2, 0.8], "std_rest": [0.9, 1.0]}
by_area = pd.concat(table(replaced=[0, 2], quantity=q, index="none", **interval) for q in areas)
predicted = pd.concat(table(replaced=[0, 2], picture=p, index="none", **areas) for p in ("alike", "extreme"))
edited = table(measure="LPIPS", quantity="LPIPS", replaced=[0, 3], improvement=[0.0, 5.0], error=1.0)
exact = {"noise error": [0.5, 0.2], "image error": 0.1, "excess": [0.2, 0.1], "neighbours": 0.1}
quality = table(start=["noise", "latent"], weight=0.5, recall=[0.5, 0.4])
compared = pd.DataFrame(
    {"method": ["naive", "noise"], "given": "image", "image error": 0.1, "neighbours": 0.1, "std, plain": 0.5}
)
effect = SimpleNamespace(name="2a", model="toy", estimate=SimpleNamespace(mean=1, low=0, high=2), paper=1)
whole = pd.DataFrame(
    {"toy": 1.0, "control": 1.0},
    index=pd.MultiIndex.from_product(
        [
            ["-"],
            [
                *(f"correlation of {kind}" for kind in ("noise", "latent", "image")), "floor of white noise",
                *(f"{name}, {area}" for name in ("error", "std of latent") for area in ("plain", "other")),
                *(f"angle at {vertex}" for vertex in ("image", "noise", "latent")),
            ],
        ],
        names=["paper", "quantity"],
    ),
)  # fmt: skip
DRAWN = {
    "angle_histograms": lambda: figures.angle_histograms(table(**angles)),
    "correlations": lambda: figures.correlations(table(**kinds)),
    "diagnosed": lambda: figures.diagnosed(whole, (errors, errors), 1, noise=x, latent=x, pixels=x, plain=plain),
    "distance_maps": lambda: figures.distance_maps({"toy": torch.rand(3, 2)}, [0, 1]),
    "edits": lambda: figures.edits(x, x, x, ["a bag"] * 3),
    "error_over_guidance": lambda: figures.error_over_guidance(table(w=1, **{"noise error": [0.1, 0.2]})),
    "error_over_levels": lambda: figures.error_over_levels(torch.rand(2, 3), torch.rand(3)),
    "error_over_num_steps": lambda: figures.error_over_num_steps({"target": torch.rand(2, 2)}, [10, 20]),
    "error_per_step": lambda: figures.error_per_step({"toy": (errors, errors)}, 1),
    "exact_first_steps": lambda: figures.exact_first_steps(table(replaced=[0, 3], **exact)),
    "forest": lambda: figures.forest([effect], ["agrees"], ["2a"]),
    "forward_replacement": lambda: figures.forward_replacement(by_area.drop_duplicates("quantity"), predicted),
    "gain_of_exact_steps": lambda: figures.gain_of_exact_steps(
        table(replaced=[0, 2], **areas), {"perfect": torch.rand(3)}
    ),
    "gain_over_variance": lambda: figures.gain_over_variance([0.1, 1], {"target": [0.5, 1]}),
    "gains_over_num_steps": lambda: figures.gains_over_num_steps(pd.DataFrame({"λ = 1": [0.5]}, index=[10])),
    "improvement": lambda: figures.improvement(edited),
    "latents_and_errors": lambda: figures.latents_and_errors(x, x, x),
    "latents_by_num_steps": lambda: figures.latents_by_num_steps(x, {10: x}),
    "masks": lambda: figures.masks(x, plain),
    "over_training": lambda: figures.over_training(table(step=1, a=[1, 2]), {"quantity": ["a"]}),
    "own_states": lambda: figures.own_states({0.1: {"target": torch.rand(4)}}),
    "path_strip": lambda: figures.path_strip({"pair 0": x}, [0, 0.5, 1]),
    "picture_rows": lambda: figures.picture_rows({"latent $\\hat{x}_T$": x}),
    "predicted_by_area": lambda: figures.predicted_by_area(by_area, predicted, "replaced", "std", ("k", "std")),
    "quality_along_path": lambda: figures.quality_along_path(quality, ["recall"]),
    "reconstruction_against_whiteness": lambda: figures.reconstruction_against_whiteness(compared),
    "round_trip": lambda: figures.round_trip(x, x, x),
    "table_9_predicted": lambda: figures.table_9_predicted(
        table(replaced=[0, 1], quantity=["KL", "MAE"], printed=0.5, predicted=0.5, low=0.4, high=0.6)
    ),
    "toy_paths": lambda: figures.toy_paths(torch.rand(2, 3), torch.rand(2, 3), torch.rand(9), torch.rand(9)),
    "triangles": lambda: figures.triangles(table(**angles)),
    "what_remains": lambda: figures.what_remains([0.1, 1], {"naive": [0.5, 0.6], "best": [0.7, 0.8]}),
    "where_exactness_ends": lambda: figures.where_exactness_ends(
        pd.DataFrame({"method": ["naive"], "circumstance": ["8 bits"], "error, plain": [0.5]})
    ),
    "wrong_assignments": lambda: figures.wrong_assignments(x, x, torch.tensor([1, 1, 2])),
}  # fmt: skip


def test_every_figure_function_is_drawn_here():
    functions = {name: getattr(figures, name) for name in figures.__all__}
    drawing = {name for name, it in functions.items() if inspect.signature(it).return_annotation == "Figure"}
    assert drawing - {"save"} == set(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_has_an_alternative_text_without_tex(name):
    text = DRAWN[name]().get_label()
    assert len(text) >= LEAST
    assert not set("$\\\n") & set(text)


def test_hats_are_letters_in_words():
    assert style.in_words("latent $\\hat{x}_T$", "T = 10\nerror") == "latent x̂_T, T = 10 error"


def test_a_notebook_keeps_the_text_beside_the_picture_and_a_live_one_shows_it(monkeypatch):
    figure = DRAWN["masks"]()
    data, metadata = figure._repr_mimebundle_()
    assert metadata == {"image/png": {"alt": figure.get_label()}}
    assert "text/html" not in data
    monkeypatch.setattr(style, "is_live", lambda: True)
    data, _ = figure._repr_mimebundle_()
    assert data["text/html"].startswith(f'<img alt="{figure.get_label()}" src="data:image/png;base64,')


@pytest.mark.parametrize("page", ["README.md", "RESULTS.md", "docs/index.md"])
def test_a_picture_of_a_page_has_an_alternative_text(page):
    pictures = IN_MARKDOWN.findall((ROOT / page).read_text())
    assert pictures
    assert [path for text, path in pictures if len(text) < LEAST] == []
