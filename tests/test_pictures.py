"""The one reader of pictures, and `taba.encode_pictures`."""

import numpy as np
import pytest
import torch
from PIL import Image

import taba_utils as taba
from taba_utils import pictures
from taba_utils.models.gaussian import half_plain
from taba_utils.pictures import encode_pictures, picture_files, read_pictures

COLOURS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def read(picture, size=(24, 32), channels=3):
    """One picture, (C, H, W)."""
    return read_pictures([picture], size, channels)[0]


def expected(array):
    return torch.from_numpy(array.copy()).movedim(-1, 0) / 255


def tall():
    """A picture whose upper half is white."""
    picture = Image.new("RGB", (16, 16))
    picture.paste((255, 255, 255), (0, 0, 16, 8))
    return picture


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".gif", ".PNG", ".Tif"])
def test_a_picture_reads_as_its_pixels_in_every_format(suffix, tmp_path):
    file = tmp_path / f"a{suffix}"
    grey = COLOURS[..., :1].repeat(3, axis=2)  # exact in a palette too
    Image.fromarray(grey).save(file)
    assert picture_files(tmp_path) == [file]
    torch.testing.assert_close(read(file), expected(grey), rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_formats_that_lose_something_are_read(suffix, tmp_path):
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / f"a{suffix}")
    red = torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(read(tmp_path / f"a{suffix}", (8, 8)).mean(dim=(1, 2)), red, rtol=0, atol=0.02)


def test_a_picture_is_turned_as_its_orientation_says(tmp_path):
    exif = tall().getexif()
    exif[274] = 6  # turn it clockwise to show it
    tall().save(tmp_path / "a.png", exif=exif)
    turned = read(tmp_path / "a.png", (16, 16))
    assert turned[..., 8:].min() == 1 and turned[..., :8].max() == 0


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_of_grey_keep_their_brightness(suffix, tmp_path):
    ramp = np.linspace(0, 65535, 64)[None].repeat(64, 0).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / f"a{suffix}")
    wanted = torch.from_numpy(ramp / 65535).float().expand(3, -1, -1)
    torch.testing.assert_close(read(tmp_path / f"a{suffix}", (64, 64)), wanted, rtol=0, atol=1 / 255)


def test_numbers_of_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif cannot be read as a picture: .*floating-point"):
        read(tmp_path / "a.tif")
    Image.fromarray(np.full((8, 8), 2**20, np.int32)).save(tmp_path / "b.tif")
    with pytest.raises(ValueError, match=r"b\.tif cannot be read as a picture: .*at most 16 bits"):
        read(tmp_path / "b.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_show_white_whatever_their_colour(mode, tmp_path):
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 4, 8))
    picture.convert(mode).save(tmp_path / "a.png")
    pixels = read(tmp_path / "a.png", (8, 8))
    assert pixels[..., :4].max() == 0 and pixels[..., 4:].min() == 1


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 128)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", (8, 8)).mean().item() == pytest.approx(127 / 255, abs=0.01)


def test_the_middle_is_cut_out_before_it_is_scaled(tmp_path):
    wide = np.concatenate([np.zeros((24, 20, 3), np.uint8), COLOURS, np.zeros((24, 20, 3), np.uint8)], axis=1)
    Image.fromarray(wide).save(tmp_path / "a.png")
    torch.testing.assert_close(read(tmp_path / "a.png"), expected(COLOURS), rtol=0, atol=1e-6)


def test_a_picture_a_million_times_as_wide_as_high_is_read_in_little_memory(tmp_path):
    Image.new("RGB", (1_000_000, 1), (0, 255, 0)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", (8, 8))[1].min() == 1


def test_a_picture_of_too_many_pixels_is_refused_by_name(tmp_path, monkeypatch):
    Image.new("RGB", (100, 101)).save(tmp_path / "a.png")
    monkeypatch.setattr(pictures, "MOST_PIXELS", 10_000)
    with pytest.raises(
        ValueError, match=r"a\.png cannot be read as a picture: it must have at most 10000 pixels"
    ):
        read(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)  # Pillow's own bound
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".gif", ".bmp"])
@pytest.mark.parametrize("kept", [0, 10, 300])
def test_a_damaged_file_is_refused_by_name(suffix, kept, tmp_path):
    file = tmp_path / f"cut{suffix}"
    Image.fromarray(COLOURS).save(file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"cut\{suffix} cannot be read as a picture: ") as caught:
        read(file)
    assert "\n" not in str(caught.value)


def test_what_is_no_picture_is_skipped_and_counted(tmp_path, capsys):
    plain = Image.new("RGB", (32, 32))
    for name in ("a.png", "b.bmp", "e.PNG", ".hidden.png"):
        plain.save(tmp_path / name)
    for folder in (".ipynb_checkpoints", "below", "folder.png"):
        (tmp_path / folder).mkdir()
        plain.save(tmp_path / folder / "c.png")
    for name in ("words.txt", "more.txt", "README"):
        (tmp_path / name).write_text("a garment")
    (tmp_path / "link.png").symlink_to(tmp_path / "nothing.png")
    found = [str(path.relative_to(tmp_path)) for path in picture_files(tmp_path)]
    assert found == ["a.png", "b.bmp", "below/c.png", "e.PNG", "folder.png/c.png"]
    assert pictures.listed(tmp_path) == picture_files(tmp_path)
    said = "2 .txt, 1 broken links, 2 hidden, 1 without suffix"
    assert capsys.readouterr().out == f"pictures: skipped in {tmp_path}: {said}\n"


def test_a_hidden_folder_may_hold_the_pictures_and_home_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    (tmp_path / ".mine").mkdir()
    Image.fromarray(COLOURS).save(tmp_path / ".mine" / "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pictures.listed("~/.mine") == picture_files("~/.mine") == [tmp_path / ".mine" / "a.png"]
    assert pictures.listed("~/.mine/a.png") == [tmp_path / ".mine" / "a.png"]


def test_places_without_pictures_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=rf"pictures must hold at least one of .bmp, .*got {tmp_path}"):
        pictures.listed(tmp_path)
    with pytest.raises(ValueError, match=r"got nowhere\.png, which is not there"):
        pictures.listed("nowhere.png")
    with pytest.raises(ValueError, match=r"pictures must hold at least one of .*got \[\]"):
        pictures.listed([])


def test_a_folder_files_and_pil_pictures_become_images_of_a_pixel_model(tmp_path):
    model = half_plain((3, 24, 32))
    picture = Image.fromarray(COLOURS)
    picture.save(tmp_path / "a.png")
    for given in (tmp_path, str(tmp_path), tmp_path / "a.png", [tmp_path / "a.png"], picture, [picture]):
        image = encode_pictures(given, model)
        torch.testing.assert_close(image, 2 * expected(COLOURS)[None] - 1, rtol=0, atol=1e-6)
    assert taba.encode_pictures([picture] * 5, model, batch_size=2).shape == (5, 3, 24, 32)


def test_pictures_of_a_one_channel_model_are_their_brightness():
    model = half_plain((1, 24, 32))
    grey = np.asarray(Image.fromarray(COLOURS).convert("L"))[..., None]
    image = encode_pictures(Image.fromarray(COLOURS), model)
    torch.testing.assert_close(image, 2 * expected(grey)[None] - 1, rtol=0, atol=1e-6)


def test_pictures_of_a_latent_model_are_encoded():
    model = taba.load_model("mini-ldm")
    image = encode_pictures(Image.new("RGB", (50, 40), (200, 30, 30)), model)
    pixels = torch.tensor([200.0, 30, 30]).reshape(1, 3, 1, 1).expand(-1, -1, 32, 32) / 127.5 - 1
    torch.testing.assert_close(image, model.encode(pixels), rtol=0, atol=1e-4)
    assert image.shape == (1, *model.shape)


def test_a_model_of_other_channels_shows_no_pictures():
    with pytest.raises(ValueError, match="channels must be 1 or 3 to show pictures, got 2"):
        encode_pictures(Image.new("RGB", (8, 8)), half_plain((2, 8, 8)))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
            "must be float in .*got torch.uint8; of bytes: pixels / 127.5",
        ),
        (
            torch.full((1, 3, 32, 32), 255.0),
            r"must lie in \[-1, 1\], got 255 to 255; clamp them, or of 0..255",
        ),
        (torch.full((1, 3, 32, 32), -1.1), r"must lie in \[-1, 1\]"),
        (torch.full((1, 3, 32, 32), float("nan")), r"must lie in \[-1, 1\], got nan"),
        (torch.zeros(1, 3, 35, 35), r"must be \(N, 3, .*got \(1, 3, 35, 35\)"),
        (torch.zeros(1, 1, 32, 32), r"must be \(N, 3, .*got \(1, 1, 32, 32\)"),
        (torch.zeros(3, 32, 32), r"must be \(N, .*got \(3, 32, 32\)"),
    ],
)
@pytest.mark.parametrize("name", ["mini-ldm", "gaussian"])
def test_pixels_that_cannot_be_encoded_are_refused_in_one_line(name, pixels, message):
    with pytest.raises(ValueError, match=f"pixels for {name} {message}") as caught:
        taba.load_model(name).encode(pixels)
    assert "\n" not in str(caught.value)


def test_sizes_that_divide_are_encoded():
    model = taba.load_model("mini-ldm")
    factor = model.autoencoder.factor
    assert model.encode(torch.zeros(1, 3, 32, 32 + 2 * factor)).shape[-1] == 32 // factor + 2


def test_judges_say_at_the_door_that_they_need_three_channels():
    from taba_utils.judges import picture_size

    assert picture_size(half_plain((3, 24, 32))) == (24, 32)
    with pytest.raises(ValueError, match="judges need images of three channels, got 1 of gaussian"):
        picture_size(half_plain((1, 24, 32)))
