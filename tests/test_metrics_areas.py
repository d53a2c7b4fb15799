import math

import pytest
import torch

from taba_utils import metrics
from taba_utils.metrics import plain_mask


def noisy_images(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (0.03 * torch.randn(shape, generator=generator)).clamp(-1, 1)


def literal_mask(image: torch.Tensor, threshold: float) -> torch.Tensor:
    """App. C for one image, pixel by pixel."""
    channels, height, width = image.shape
    mask = torch.empty(height, width, dtype=torch.bool)
    for h in range(height):
        for w in range(width):
            plain = True
            for c in range(channels):
                below = abs(image[c, h + 1, w] - image[c, h, w]) if h + 1 < height else 0
                right = abs(image[c, h, w + 1] - image[c, h, w]) if w + 1 < width else 0
                plain = plain and bool((below + right) / 2 < threshold)
            mask[h, w] = plain
    return mask


def test_the_mask_of_a_small_drawing_is_the_one_drawn_by_hand():
    # steps of 0.04 stay under τ where the other neighbour is equal: 0.04 / 2 = 0.02; two of them do not: 0.04
    image = torch.tensor(
        [
            [0.00, 0.00, 0.04, 0.04],
            [0.00, 0.00, 0.00, 0.10],
            [0.04, 0.04, 0.10, 0.60],
        ]
    )
    expected = torch.tensor(
        [
            [1, 1, 1, 0],  # D: 0, .02, .02, and in the last column half of .06: .03
            [1, 1, 0, 0],  # D: .02, .02, .10, and half of .50
            [
                1,
                0,
                0,
                1,
            ],  # last row, half of what lies to the right: 0, .03, .25; the corner has no neighbour
        ]
    ).bool()
    assert plain_mask(image[None, None]).tolist() == [expected.tolist()]


@pytest.mark.parametrize("threshold", [0.01, 0.025, 0.05])
def test_the_mask_is_its_literal_definition(threshold):
    images = noisy_images(4, 3, 5, 6)
    expected = torch.stack([literal_mask(image, threshold) for image in images])
    assert 0 < expected.sum() < expected.numel()
    assert torch.equal(plain_mask(images, threshold), expected)


def test_one_textured_channel_is_enough_for_a_pixel_not_to_be_plain():
    image = torch.zeros(1, 3, 3, 3)
    image[0, 1, 1, 1] = 0.5
    expected = torch.ones(3, 3, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = expected[1, 1] = False
    assert torch.equal(plain_mask(image)[0], expected)


def test_a_difference_equal_to_the_threshold_is_not_plain():
    image = torch.tensor([0.0, 0.5, 0.5]).view(1, 1, 1, 3)
    assert plain_mask(image, threshold=0.25).flatten().tolist() == [False, True, True]


def test_a_constant_image_is_plain_everywhere():
    assert plain_mask(torch.full((2, 3, 4, 5), 0.3)).all()
    assert plain_mask(torch.zeros(1, 3, 1, 1)).all()


def test_brightness_and_sign_do_not_change_the_mask():
    images = noisy_images(2, 3, 8, 8).double()
    assert torch.equal(plain_mask(0.5 - images), plain_mask(images))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_gives_the_mask_that_its_values_give_in_float32(dtype):
    images = (128 * noisy_images(4, 3, 8, 8)).round() / 128  # exact in every type
    mask = plain_mask(images)
    assert 0 < mask.sum() < mask.numel()
    assert torch.equal(plain_mask(images.to(dtype)), mask)


def test_differences_of_half_precision_images_are_not_rounded_again():
    image = (
        torch.tensor([-0.9961, 0.0513]).bfloat16().view(1, 1, 1, 2)
    )  # their difference has too many digits
    threshold = ((image[..., 1].float() - image[..., 0].float()) / 2).item() * (1 + 1e-4)
    assert plain_mask(image, threshold).all()
    assert not plain_mask(image, threshold * (1 - 2e-4)).all()


@pytest.mark.parametrize(
    ("image", "threshold", "message"),
    [
        (torch.zeros(3, 8, 8), 0.025, r"image must be \(N, C, H, W\), got shape \(3, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8).byte(), 0.025, r"image must have a floating-point dtype, got torch\.uint8"),
        (torch.zeros(1, 3, 8, 0), 0.025, "image must not be empty"),
        (torch.zeros(1, 3, 8, 8), 0.0, r"threshold must be above 0, got 0\.0"),
        (torch.zeros(1, 3, 8, 8), float("nan"), "threshold must be above 0, got nan"),
    ],
)
def test_impossible_masks_are_refused(image, threshold, message):
    with pytest.raises(ValueError, match=message):
        plain_mask(image, threshold)


def test_area_statistics_of_known_areas():
    noise, plain = (
        torch.randn(200, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.zeros(200, 8, 8, dtype=torch.bool),
    )
    plain[..., :4] = True
    latent = torch.where(plain[:, None], 0.5 * noise, noise)
    found = metrics.per_area_statistics(noise, latent, plain)
    assert found.std_plain == pytest.approx(0.5, abs=0.01)
    assert found.std_rest == pytest.approx(1, abs=0.02)
    assert found.error_plain == pytest.approx(0.5 * math.sqrt(2 / math.pi), abs=0.01)
    assert found.error_rest == 0
    assert math.isnan(metrics.per_area_statistics(noise, latent, plain | True).error_rest)


def test_area_statistics_of_shapes_that_do_not_belong_together_are_refused():
    x = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"plain \(N, H, W\), got .*\(2, 4, 4\)"):
        metrics.per_area_statistics(x, x, torch.zeros(2, 4, 4, dtype=torch.bool))


def test_a_cell_of_the_latent_grid_is_plain_if_enough_of_its_pixels_are():
    plain = torch.ones(1, 4, 4, dtype=torch.bool)
    plain[0, 0, 0] = plain[0, 0, 2] = plain[0, 0, 3] = plain[0, 1, 2] = False
    assert metrics.pool_mask(plain, (4, 2, 2)).tolist() == [[[False, False], [True, True]]]
    assert metrics.pool_mask(plain, (4, 2, 2), share=0.5).tolist() == [[[True, False], [True, True]]]
    assert metrics.pool_mask(plain, (4, 2, 2), share=0.25).all()
    assert torch.equal(metrics.pool_mask(plain, (3, 4, 4)), plain)


def test_grids_that_do_not_fit_and_shares_out_of_range_are_refused():
    plain = torch.ones(1, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"shape must divide the mask's 4x4 pixels, got \(4, 3, 3\)"):
        metrics.pool_mask(plain, (4, 3, 3))
    with pytest.raises(ValueError, match="share must be above 0 and at most 1, got 0"):
        metrics.pool_mask(plain, (4, 2, 2), share=0)


def test_change_is_that_of_each_image_on_its_own_pixels():
    x, y = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    y[0, :, :2] = 0.25
    plain = torch.zeros(2, 4, 4, dtype=torch.bool)
    plain[0, :2] = True
    on_plain, on_others = metrics.per_area_change(x, y, plain)
    assert on_plain[0] == 0.25 and on_others.tolist() == [1, 1]
    assert on_plain[1].isnan()  # an image without plain pixels


def test_change_refuses_a_mask_of_another_size():
    with pytest.raises(ValueError, match=r"plain \(N, H, W\), got \(2, 3, 4, 4\), .* and \(2, 4, 5\)"):
        metrics.per_area_change(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 5).bool())
