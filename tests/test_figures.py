import itertools
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
import tqdm
from matplotlib.image import imread

from taba_utils import figures, interactive


def test_four_channels_are_shown_by_their_principal_components():
    strong = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    weak = 0.1 * torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x = torch.cat([strong + weak, -strong, 2 * strong, weak], dim=1)
    first = figures.principal_components(x)[0, 0].flatten()
    correlation = torch.corrcoef(torch.stack([first, strong.flatten()]))[0, 1]
    assert correlation.abs() > 0.99
    assert figures.as_noise(x).shape == (1, 3, 8, 8)


def test_components_of_one_tensor_can_show_another_alike():
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        figures.principal_components(noise, like=noise), figures.principal_components(noise)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_and_noise_fill_the_range_of_a_picture(channels):
    x = torch.tensor([-5.0, -1.0, 0.0, 1.0]).reshape(1, 1, 2, 2).expand(1, channels, 2, 2)
    assert figures.as_pixels(x)[0, 2].flatten().tolist() == [0, 0, 0.5, 1]
    assert figures.as_noise(x)[0, 0].flatten().tolist() == pytest.approx([0, 1 / 3, 0.5, 2 / 3])


def test_pictures_of_one_channel_are_grey_and_rows_are_as_high_as_their_pictures():
    grey, flat = torch.rand(3, 1, 8, 4), torch.rand(3, 3, 4, 8)
    figure = figures.picture_rows({"tall": grey, "flat": flat})
    shown = torch.as_tensor(figure.axes[0].images[0].get_array())
    torch.testing.assert_close(shown, grey[0].permute(1, 2, 0).expand(-1, -1, 3))
    square = figures.picture_rows({"square": torch.rand(3, 3, 4, 4)})
    assert figure.get_figheight() == pytest.approx(2.5 * square.get_figheight())
    extents = [image.get_extent() for image in figure.axes[0].images]
    assert [top - bottom for _, _, bottom, top in extents] == pytest.approx([2] * 3 + [0.5] * 3)
    assert [right - left for left, right, _, _ in extents] == pytest.approx([1] * 6)


@pytest.mark.parametrize("show", [figures.as_pixels, figures.as_noise])
def test_two_channels_cannot_be_shown(show):
    with pytest.raises(
        ValueError, match=r"must be \(N, 3, H, W\) or \(N, 1, H, W\) to be shown, got \(1, 2, 4, 4\)"
    ):
        show(torch.zeros(1, 2, 4, 4))


def test_every_figure_of_pictures_takes_one_channel_and_sizes_that_are_not_square():
    noise, latent = (torch.randn(3, 1, 8, 4, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    pixels, plain = noise.clamp(-1, 1), torch.ones(3, 8, 4, dtype=torch.bool)
    drawn = [
        figures.round_trip(noise, pixels, latent, again=pixels),
        figures.latents_by_num_steps(noise, {10: latent}),
        figures.latents_and_errors(noise, latent, pixels),
        figures.edits(pixels / 2 + 0.5, pixels / 2 + 0.5, pixels / 2 + 0.5, ["a"] * 3),
        figures.wrong_assignments(noise, pixels, torch.tensor([1, 1, 2])),
        figures.masks(pixels, plain),
    ]
    for figure in drawn:
        arrays = [image.get_array() for axes in figure.axes for image in axes.images]
        assert arrays
        assert {array.shape[:2] for array in arrays} == {(8, 4)}
        assert all(array.ndim == 2 or array.shape[2] == 3 for array in arrays)


def test_maps_of_one_row_share_a_scale_and_pictures_do_not_need_one():
    rows = {"pictures": torch.rand(3, 3, 4, 4), "maps": torch.rand(3, 4, 4)}
    figure = figures.picture_rows(rows)
    (axes,) = figure.axes
    (bar,) = axes.child_axes
    top = rows["maps"].quantile(0.995).item()
    assert [image.get_clim() for image in axes.images[3:]] == [(0, top)] * 3
    assert bar.get_ylim() == (0, top)
    for image, values in zip(axes.images[3:], rows["maps"], strict=True):
        assert image.get_array().tolist() == values.tolist()


def test_titles_stand_over_their_columns_and_do_not_touch():
    titles = [f"level {level}" for level in range(1000, 1011)]
    figure = figures.picture_rows({"a long label\nof two lines": torch.rand(11, 3, 4, 4)}, titles)
    figures.style.lay_out(figure)
    (axes,) = figure.axes
    assert [label.get_text().replace("\n", " ") for label in axes.get_xticklabels()] == titles
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    columns = [image.get_window_extent() for image in axes.images]
    assert [(box.x0 + box.x1) / 2 for box in boxes] == pytest.approx(
        [(column.x0 + column.x1) / 2 for column in columns], abs=1
    )
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert min(box.y0 for box in boxes) > columns[0].y1
    (label,) = (label.get_window_extent() for label in axes.get_yticklabels())
    assert 0 <= label.x0 < label.x1 < columns[0].x0


def test_latents_of_each_t_are_labelled_with_their_error():
    noise = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    figure = figures.latents_by_num_steps(noise, {10: noise + 0.5, 50: noise - 0.25})
    assert row_labels(figure) == ["noise", "T = 10\nerror 0.50", "T = 50\nerror 0.25"]
    assert len(figure.axes[0].images) == 3 * 6  # the first six images


def row_labels(figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_error_over_levels_is_drawn_plain_and_in_units_of_the_noise():
    figure = figures.error_over_levels(torch.tensor([[0.1, 0.4], [0.3, 0.4]]), torch.tensor([0.1, 0.8]))
    plain, in_noise = (axes.lines[0].get_ydata().tolist() for axes in figure.axes)
    assert plain == pytest.approx([0.2, 0.4])
    assert in_noise == pytest.approx([2, 0.5])


def test_a_figure_is_written_only_where_a_folder_is_given(tmp_path):
    figure = figures.picture_rows({"pictures": torch.rand(2, 3, 4, 4)})
    assert figures.save(figure, "name", None) is figure
    figures.save(figure, "name", tmp_path / "new")
    assert imread(tmp_path / "new" / "name.png").ndim == 3
    assert figures.save(figure, "name", tmp_path) is figure


def test_a_figure_looks_the_same_whenever_it_is_shown():
    shown, fresh = (figures.masks(torch.zeros(2, 3, 4, 4), torch.ones(2, 4, 4) > 0) for _ in range(2))
    first = shown._repr_mimebundle_()[0]["image/png"]
    assert shown._repr_mimebundle_()[0]["image/png"] == first == fresh._repr_mimebundle_()[0]["image/png"]


def test_without_a_notebook_and_a_terminal_nobody_watches(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert not interactive.is_live()
    assert interactive.progress(total=3).disable


def test_a_bar_is_text_and_the_environment_turns_it_off(monkeypatch):
    monkeypatch.setattr(interactive, "is_live", lambda: True)
    bar = interactive.progress(total=3)
    assert type(bar).mro()[1] is tqdm.std.tqdm and not bar.disable
    interactive.of_the_whole(lambda: 0.42)
    assert "42% of all" in str(bar)
    interactive.of_the_whole(None)
    assert "of all" not in str(bar)
    code = "from taba_utils import interactive as i; i.is_live = lambda: True; print(i.progress(total=3).disable)"
    run = [sys.executable, "-c", code]
    assert subprocess.check_output(run, env=os.environ | {"TQDM_DISABLE": "1"}, text=True) == "True\n"


def test_a_slider_is_plain_html_with_a_picture_for_each_value_and_a_label():
    slider = interactive.explore(
        lambda value: figures.style.new_figure(1, 1, f"A figure of {value}."), [10, 20], "T"
    )
    html = slider._repr_html_()
    assert repr(slider) == "a slider over T = 10, 20"
    assert html.count("data:image/webp;base64,") == 2 and html.count(" hidden") == 1
    assert "<label>T = <output>10</output>" in html and 'alt="T = 20. A figure of 20."' in html


def test_bars_stand_in_the_order_of_the_models():
    kinds = {"noise": 0.2, "latent": 0.5, "image": 0.9, "floor": 0.2}
    found = pd.DataFrame({"model": ["second", "first"], "seed": 0} | kinds)
    axes = figures.correlations(found).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["second", "first"]
    assert [bar.get_height() for bar in axes.patches] == [0.2, 0.2, 0.5, 0.5, 0.9, 0.9]


def test_a_drawn_triangle_has_the_angles_of_its_row():
    angles = {"at image": 90.0, "at noise": 45.0, "at latent": 45.0}
    axes = figures.triangles(pd.DataFrame(angles, index=["right"])).axes[0]
    latent = axes.patches[0].get_xy()[2]
    assert latent.tolist() == pytest.approx([0, 1])  # image at 0, noise at 1
    assert axes.get_title() == "right"


def test_only_a_map_with_a_transition_has_a_dashed_line():
    nearer_to_latent = torch.tensor([[2.0, 1.0], [1.5, 1.5], [1.0, 2.0]])
    drawn = figures.distance_maps({"some": nearer_to_latent, "none": nearer_to_latent.flip(1)}, [0, 1])
    assert [sum(line.get_linestyle() == "--" for line in axes.lines) for axes in drawn.axes[:2]] == [1, 0]


def test_rows_of_wrong_assignments_without_pictures_are_left_out():
    noise, pixels = torch.rand(4, 3, 4, 4), torch.rand(4, 3, 4, 4)
    all_right = figures.wrong_assignments(noise, pixels, torch.arange(4), most=4)
    one_wrong = figures.wrong_assignments(noise, pixels, torch.tensor([0, 0, 2, 3]), most=4)
    assert row_labels(all_right) == ["C: least varied"]
    assert row_labels(one_wrong) == [
        "A: noise", "A: its image", "A: assigned image", "B: attractors", "C: least varied",
    ]  # fmt: skip
    captions = [text.get_text() for text in one_wrong.axes[0].texts]
    assert captions[:4] == ["", "", "", "2 noises"] and len(captions) == 4 + 4
