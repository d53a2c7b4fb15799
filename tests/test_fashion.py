import gzip

import numpy as np
import pytest
import torch

from taba_utils import fashion


def garment(level=255):
    grey = np.zeros((1, 28, 28), np.uint8)
    grey[:, 8:20, 8:20] = level
    return grey


def test_a_garment_has_its_colour_and_the_backdrop_its_own():
    image = fashion.render(garment(), np.array([0]), np.array([1]), np.array([0.0]))[0]
    assert image.shape == (3, 32, 32)
    assert image[:, 16, 16].tolist() == [round(255 * c) for c in fashion.COLOURS["red"]]
    assert image[:, 0, 0].tolist() == [round(255 * c) for c in fashion.BACKDROPS["grey"]]


def test_the_backdrop_is_a_soft_gradient_from_top_to_bottom():
    image = fashion.render(garment(0), np.array([0]), np.array([1]), np.array([0.1]))[0].astype(int)
    steps = np.diff(image, axis=1)
    assert (np.diff(image, axis=2) == 0).all()
    assert steps.min() >= 0
    assert steps.max() <= 2
    assert image[0, -1, 0] - image[0, 0, 0] == pytest.approx(0.2 * 0.6 * 255, abs=1)


def write_fashion_mnist(folder, count=7):
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        images, labels = rng.integers(0, 256, (count, 28, 28)), rng.integers(0, 10, count)
        for kind, header, array in (("images-idx3", 16, images), ("labels-idx1", 8, labels)):
            content = bytes(header) + array.astype(np.uint8).tobytes()
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))


def test_a_data_set_depends_on_its_seed_alone(tmp_path):
    write_fashion_mnist(tmp_path)
    first, again, other = (fashion.load_fashion("train", seed=s, root=tmp_path) for s in (0, 0, 1))
    assert (first.images == again.images).all()
    assert not (first.images == other.images).all()
    assert (first.labels == other.labels).all()
    test = fashion.load_fashion("test", root=tmp_path)
    assert not (test.colours == first.colours).all()
    assert fashion.to_model_range(first.images).abs().max() <= 1


def test_captions_read_as_english():
    assert fashion.describe(7, 0, 1) == "a red sneaker on a grey backdrop"
    assert fashion.describe(1, 3, 0) == "blue trousers on a white backdrop"


def test_a_missing_data_set_and_an_unknown_split_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        fashion.load_fashion("train", root=tmp_path)
    with pytest.raises(ValueError, match=r"split must be one of \['train', 'test'\], got 'val'"):
        fashion.load_fashion("val")


def test_colours_and_backdrops_are_measured_from_pixels():
    rng = np.random.default_rng(0)
    garments = np.zeros((48, 28, 28), np.uint8)
    garments[:, 6:22, 8:20] = rng.integers(40, 255, (48, 16, 12))
    colours, backdrops = rng.integers(6, size=48), rng.integers(4, size=48)
    images = fashion.render(garments, colours, backdrops, rng.uniform(-0.1, 0.1, 48))
    measured = fashion.measured_colours(torch.from_numpy(images).float() / 255)
    assert (measured[0].numpy() == colours).all() and (measured[1].numpy() == backdrops).all()
