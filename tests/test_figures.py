import pytest
import torch
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


def test_maps_of_one_row_share_a_scale_and_pictures_do_not_need_one():
    rows = {"pictures": torch.rand(3, 3, 4, 4), "maps": torch.rand(3, 4, 4)}
    figure = figures.picture_rows(rows)
    limits = {axes.images[0].get_clim() for axes in figure.axes[3:6]}
    assert len(figure.axes) == 7  # six pictures and one colour bar
    assert len(limits) == 1


def test_latents_of_each_t_are_labelled_with_their_error():
    noise = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    figure = figures.latents_by_num_steps(noise, {10: noise + 0.5, 50: noise - 0.25})
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == ["noise", "T = 10\nerror 0.50", "T = 50\nerror 0.25"]
    assert len(figure.axes) == 3 * 6  # the first six images


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


def test_without_a_notebook_and_a_terminal_nobody_watches(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert not interactive.is_live()
    assert interactive.progress(total=3).disable
    interactive.explore(lambda value: pytest.fail("drawn although nobody watches"), [1, 2], "T")
