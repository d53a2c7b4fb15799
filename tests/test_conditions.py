"""One entry per image, or one text or class for all images; names where the model has names."""

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch
from toys import Toy

import taba_utils as taba
from taba_utils import judges
from taba_utils.conditions import class_numbers, one_per_image
from taba_utils.fashion import CLASSES
from taba_utils.judges.protocols import check_prompts
from taba_utils.judges.remembered import remembered
from taba_utils.trajectories import Trajectories


@pytest.fixture(scope="module")
def dit():
    return taba.load_model("mini-dit")


@pytest.fixture(scope="module")
def text():
    return taba.load_model("mini-if")


def images(model, condition, num_steps=2):
    return taba.sample(model, model.sample_noise(3), model.schedule(num_steps), condition).image


@pytest.mark.parametrize("one", ["cat", 3, 3.5, np.int64(3), np.array(3), torch.tensor(3)])
def test_one_text_or_number_stands_for_all_images(one):
    value = one.item() if hasattr(one, "item") else one
    assert one_per_image(one, 3) == [value] * 3
    assert one_per_image(None, 3) is None


@pytest.mark.parametrize("entries", [["c", "a", "t"], (1, 2, 3), np.arange(3), torch.rand(3, 4)])
def test_entries_stay_as_they_are(entries):
    assert one_per_image(entries, 3) is entries


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ([1, 2], r"condition must have one entry per image \(3\), got 2"),
        (["cat"], r"condition must have one entry per image \(3\), got 1"),
        (b"cat", "condition must be None, one text or class for all images, or a list.*got bytes"),
        ({"a": 1, "b": 2, "c": 3}, "got dict"),
        ({1, 2, 3}, "got set"),
        (iter([1, 2, 3]), "got list_iterator"),
        (object(), "got object"),
    ],
)
def test_what_has_no_entry_per_image_is_refused_in_one_line(condition, message):
    with pytest.raises(ValueError, match=message):
        one_per_image(condition, 3)
    with pytest.raises(ValueError, match=message):
        images(Toy(), condition)


def test_classes_are_numbers_or_names():
    names = ["bag", "coat", "crane", "crane"]
    assert class_numbers(["coat", 3, torch.tensor(0), np.int64(2)], 4, names) == [1, 3, 0, 2]
    assert class_numbers(torch.tensor([1, 2]), 4) == class_numbers(np.array([1, 2]), 4) == [1, 2]
    for wrong, message in [
        ("crane", r"must name one class, got 'crane', the name of classes \[2, 3\]"),
        ("zebra", r"must hold classes 0\.\.3 or their names \(bag, coat, crane, \.\.\.\), got 'zebra'"),
        (4, "got 4"),
        (-1, "got -1"),
        (1.5, "got 1.5"),
        (True, "got True"),
        (None, "got None"),
    ]:
        with pytest.raises(ValueError, match=f"condition {message}" if "must" in message else message):
            class_numbers([wrong], 4, names)
    with pytest.raises(ValueError, match=r"condition must hold classes 0\.\.3, got 'bag'"):
        class_numbers(["bag"], 4)


@pytest.mark.parametrize("one", [7, CLASSES[7], [CLASSES[7], 7, CLASSES[7]]])
def test_a_class_model_takes_numbers_and_names_everywhere(dit, one, tmp_path):
    expected = images(dit, [7, 7, 7])
    assert torch.equal(images(dit, one), expected)
    x, told = dit.sample_noise(3), torch.tensor(500.0)
    assert torch.equal(dit.predict_noise(x, told, one), dit.predict_noise(x, told, [7, 7, 7]))
    by_number = Trajectories(dit, 2, condition=[7] * 3, cache_dir=tmp_path)
    by_number.latent(3)
    again = Trajectories(dit, 2, condition=one, cache_dir=tmp_path)
    assert torch.equal(again.latent(3), by_number.latent(3)) and again.evaluations == 0
    assert dit.prompt(CLASSES[7]) == dit.prompt(7)


def test_a_text_is_no_list_of_letters(text, tmp_path):
    prompt = "a red bag on a white backdrop"
    assert torch.equal(images(text, prompt), images(text, [prompt] * 3))
    x, told = text.sample_noise(3), torch.tensor(500.0)
    assert torch.equal(text.predict_noise(x, told, prompt), text.predict_noise(x, told, [prompt] * 3))
    for wrong in (7, [7, 7, 7], [None] * 3):
        with pytest.raises(ValueError, match="condition must hold prompts for mini-if, got"):
            images(text, wrong)
    with pytest.raises(ValueError, match=r"a prompt must have at most 10 words.*got 'cat'"):
        images(text, "cat")


def test_one_condition_for_all_has_no_number_of_images(tmp_path):
    one = Trajectories(Toy(), 2, condition=5, cache_dir=tmp_path)
    each = Trajectories(Toy(left=0), 2, condition=[5] * 70, cache_dir=tmp_path)
    image, again = one.image(70), one.sample_from(one.noise(70), 5)
    assert torch.equal(each.image(70), image)
    torch.testing.assert_close(again, image, rtol=0, atol=1e-5)
    assert one.noise(200).shape[0] == 200


def test_the_observer_of_approximation_errors_takes_one_condition_for_all(dit):
    from taba_utils.observers import ApproximationError

    plain = torch.zeros(3, *dit.shape[1:], dtype=torch.bool)
    errors = []
    for condition in (7, [7] * 3):
        observer = ApproximationError(dit, plain, condition)
        taba.sample(dit, dit.sample_noise(3), dit.schedule(2), condition, [observer])
        errors.append(vars(observer))
    assert errors[0]["condition"] == errors[1]["condition"] == [7] * 3


def test_a_conditional_adm_takes_classes_and_says_which_there_are():
    from taba_utils.models.adm import ADM
    from taba_utils.schedule import linear_alphas_cumprod

    model = ADM(
        tiny.unet(num_class_embeds=5), name="adm", digest="", training_alphas_cumprod=linear_alphas_cumprod(1000),
        timestep_scale=1.0, convention="target",
    )  # fmt: skip
    assert torch.equal(images(model, 4), images(model, torch.tensor([4, 4, 4])))
    with pytest.raises(ValueError, match=r"condition must hold classes 0\.\.4, got 5"):
        images(model, [0, 1, 5])
    with pytest.raises(ValueError, match=r"condition must hold classes 0\.\.4, got 'cat'"):
        images(model, "cat")


def test_judges_take_no_text_for_a_list_of_letters(tmp_path):
    pixels = torch.rand(3, 3, 32, 32)
    with pytest.raises(
        ValueError, match="prompts must be a list with one text per image, got the text 'cat'"
    ):
        check_prompts(pixels, "cat")
    with pytest.raises(ValueError, match="names must be a list of names, got the string 'SSIM'"):
        judges.load_judges("SSIM")
    judge = judges.load_judge("mini-clip")
    with pytest.raises(ValueError, match="inputs must be tensors or lists of texts, got the text 'cat'"):
        remembered(judge.text_similarity, pixels, "cat", cache_dir=tmp_path)


@pytest.mark.parametrize("name", ["mini-dit", "mini-if"])
def test_without_a_condition_the_null_condition_is_taken_and_said(name):
    model = taba.load_model(name)
    said = f"{name} got no condition: every image takes the null condition"
    with pytest.warns(UserWarning, match=said) as told:
        image = images(model, None)
    with pytest.warns(UserWarning, match=said) as told_of_inversion:
        taba.invert(model, image, model.schedule(2))
    assert {one.filename for one in (*told, *told_of_inversion)} == {__file__}
    with pytest.raises(
        ValueError, match=f"condition must be given to {name} with guidance_scale 2, got None"
    ):
        images(taba.load_model(name, guidance_scale=2), None)
