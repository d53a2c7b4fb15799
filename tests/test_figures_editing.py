import pandas as pd
import pytest
import torch

from taba_utils import figures
from taba_utils.figures import editing


def improvements(*models: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": model, "measure": measure, "quantity": "LPIPS", "replaced": k, "improvement": value,
            "error": 1.0,
        }
        for model in models
        for measure in ("LPIPS", "LPIPS-like")
        for k, value in ((0, 0.0), (3, 5.0), ("noise", 10.0))
    )  # fmt: skip


def test_every_model_has_a_panel_with_its_replaced_steps_in_order():
    figure = figures.improvement(improvements("second", "first"))
    assert [axes.get_title() for axes in figure.axes] == ["second", "first"]
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert labels == ["0", "3", "noise"]


def test_a_measure_that_stands_in_for_another_is_dashed():
    axes = figures.improvement(improvements("model")).axes[0]
    own, stand_in = (container.lines[0] for container in axes.containers)
    assert (own.get_linestyle(), stand_in.get_linestyle()) == ("-", "--")
    assert own.get_color() == stand_in.get_color() == editing.COLOURS["LPIPS"]


def test_the_prompt_of_an_edit_stands_above_its_column():
    images = torch.rand(2, 3, 4, 4)
    figure = figures.edits(images, images, images, ["a bag", "a purple shirt on a sand backdrop"])
    assert titles(figure) == ["→ a bag", "→ a purple shirt on a sand backdrop"]


def test_a_long_prompt_over_a_narrow_picture_is_broken_into_lines():
    images = torch.rand(8, 3, 4, 4)
    figure = figures.edits(images, images, images, ["a purple shirt on a sand backdrop"] * 8)
    assert titles(figure) == ["→ a purple shirt\non a sand\nbackdrop"] * 8


def titles(figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_what_all_sets_of_a_seed_share_widens_no_band():
    quality = pd.DataFrame(
        {"model": "m", "seed": seed, "start": start, "weight": w, "recall": 10.0 * seed + (start == "latent")}
        for seed in (0, 1, 2)
        for start in ("noise", "latent")
        for w in (0.0, 0.5, 1.0)
    )
    axes = figures.quality_along_path(quality, ["recall"]).axes[0]
    for band, level in zip(axes.collections, (10, 11), strict=True):
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.tolist() == pytest.approx([level] * len(heights))


def test_the_columns_of_a_strip_are_headed_by_their_weights():
    figure = figures.path_strip({"pair 0": torch.rand(3, 3, 4, 4)}, [0, 0.5, 1])
    assert titles(figure) == ["λ = 0.00", "λ = 0.50", "λ = 1.00"]


def test_guidance_has_a_line_for_each_model_with_intervals_over_images():
    errors = pd.DataFrame(
        {"model": model, "w": w, "noise error": w + image}
        for model in ("second", "first")
        for w in (1, 2, 4)
        for image in (0, 1, 2)
    )
    axes = figures.error_over_guidance(errors).axes[0]
    assert [line.get_label() for line in axes.containers] == ["second", "first"]
    points, _, (bars,) = axes.containers[0].lines
    assert points.get_ydata().tolist() == pytest.approx([2, 3, 5])
    lengths = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    assert lengths == pytest.approx(
        [2 * 4.3027 / 3**0.5] * 3, rel=1e-4
    )  # Student's t, two degrees of freedom
