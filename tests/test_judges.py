import hashlib
import os
import re
import socket
import sys
import warnings
from types import SimpleNamespace

import lpips
import open_clip
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from transformers import ViTConfig, ViTModel

import taba_utils as taba
from taba_utils import figures, judges, metrics
from taba_utils.judges import JudgeMissing, Measure, MiniClip, MiniFeatures, finding, published, remembered
from taba_utils.models import mini, mini_clip
from taba_utils.paper import BETTER


def images(n: int, seed: int = 0, size: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def untrained_clip(tmp_path_factory):
    """Folder with an untrained mini-clip."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("mini-clip")
    weights = mini_clip.build_mini_clip().state_dict()
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def untrained_lpips():
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):  # torchvision's, of lpips' way to call it
        return lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)


@pytest.fixture
def make(untrained_clip, untrained_lpips):
    """Name of a judge of pairs and a batch size to the judge's method and what it says of equal images."""

    def build(name: str, batch_size: int = 32):
        features, clip = MiniFeatures(batch_size=batch_size), MiniClip(untrained_clip, batch_size=batch_size)
        trained = published.LPIPS(untrained_lpips, batch_size=batch_size)
        return {
            "mini-features distance": (features.distance, 0),
            "mini-features similarity": (features.similarity, 1),
            "mini-clip distance": (clip.distance, 0),
            "SSIM": (published.SSIM().similarity, 1),
            "LPIPS": (trained.distance, 0),
        }[name]

    return build


every_pair_judge = pytest.mark.parametrize(
    "name", ["mini-features distance", "mini-features similarity", "mini-clip distance", "SSIM", "LPIPS"]
)


@every_pair_judge
def test_an_image_does_not_differ_from_itself(make, name):
    method, of_equals = make(name)
    torch.testing.assert_close(method(images(2), images(2)), torch.full((2,), float(of_equals)))


@every_pair_judge
def test_a_pair_is_judged_alike_both_ways_round_and_by_itself(make, name):
    (method, _), (one_by_one, _) = make(name), make(name, batch_size=1)
    first, second = images(5), images(5, seed=1)
    values = method(first, second)
    torch.testing.assert_close(method(second, first), values)
    torch.testing.assert_close(one_by_one(first, second), values, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(method(first[3:], second[3:]), values[3:], rtol=1e-4, atol=1e-6)
    assert values.shape == (5,) and values.dtype == torch.float32
    assert values.std() > 0


@every_pair_judge
def test_images_out_of_range_or_of_other_shapes_are_refused(make, name):
    method, _ = make(name)
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\], that is .*, got -0.5 to "):
        method(images(2) - images(2).min() - 0.5, images(2))
    with pytest.raises(ValueError, match="images must be finite, got NaN or infinity"):
        method(images(2), images(2) * torch.nan)
    with pytest.raises(ValueError, match=r"images of a pair must have one shape, got \(2, .* and \(3, "):
        method(images(2), images(3))
    with pytest.raises(ValueError, match=r"images must be \(N, 3, .*, got shape \(2, 1, 32, 32\)"):
        method(images(2)[:, :1], images(2)[:, :1])


def test_embedded_judges_take_images_of_their_own_size_only():
    with pytest.raises(ValueError, match=r"images must be \(N, 3, 32, 32\), got shape \(1, 3, 64, 64\)"):
        MiniFeatures().features(images(1, size=64))


def test_the_lpips_like_distance_is_that_of_unit_vectors_at_every_place_of_every_layer():
    judge, first, second = MiniFeatures(), images(2), images(2, seed=1)
    layers = list(zip(judge.network.layers(first), judge.network.layers(second), strict=True))
    assert [a.shape[1:] for a, _ in layers] == [(32, 32, 32), (64, 16, 16), *[(128, 8, 8)] * 2, (128, 4, 4)]
    total = torch.zeros(2)
    for image in range(2):
        for a, b in layers:
            places = a.shape[2] * a.shape[3]
            for x, y in zip(a[image].flatten(1).T, b[image].flatten(1).T, strict=True):
                total[image] += (x / x.norm() - y / y.norm()).square().sum() / places / len(layers)
    torch.testing.assert_close(judge.distance(first, second), total)


def test_layers_end_in_the_features():
    judge, x = MiniFeatures(), images(3)
    torch.testing.assert_close(judge.network.layers(x)[-1].mean(dim=(2, 3)), judge.features(x))


def test_mini_clip_compares_as_open_clip_does(untrained_clip):
    judge, x = MiniClip(untrained_clip), images(3)
    prompts = ["a bag", "an ankle boot", "a red sneaker on a grey backdrop"]
    with torch.inference_mode():
        image, text, _ = judge.network(x * 2 - 1, mini_clip.tokenize(prompts))
    torch.testing.assert_close(judge.text_similarity(x, prompts), (image @ text.T).diagonal())
    torch.testing.assert_close(judge.distance(x, x.flip(0)), 1 - (image * image.flip(0)).sum(dim=1))


def test_a_text_judge_wants_one_known_prompt_per_image(untrained_clip):
    judge = MiniClip(untrained_clip)
    with pytest.raises(ValueError, match=r"prompts must be one per image \(2\), got 1"):
        judge.text_similarity(images(2), ["a bag"])
    with pytest.raises(ValueError, match=r"a prompt must have .* got 'a cat'"):
        judge.text_similarity(images(1), ["a cat"])


def test_ssim_of_plain_images_is_its_luminance_term():
    grey, light = torch.full((1, 3, 9, 9), 0.25), torch.full((1, 3, 9, 9), 0.75)
    expected = (2 * 0.25 * 0.75 + 0.01**2) / (0.25**2 + 0.75**2 + 0.01**2)
    assert published.SSIM().similarity(grey, light).item() == pytest.approx(expected, abs=1e-6)


def test_lpips_is_told_that_images_lie_between_0_and_1(untrained_lpips):
    first, second = images(2), images(2, seed=1)
    with torch.inference_mode():
        expected = untrained_lpips(first * 2 - 1, second * 2 - 1).flatten()
    torch.testing.assert_close(published.LPIPS(untrained_lpips).distance(first, second), expected)


def test_images_that_are_too_small_for_a_judge_are_refused(untrained_lpips):
    for judge, least in [(published.LPIPS(untrained_lpips).distance, 31), (published.SSIM().similarity, 7)]:
        judge(images(1, size=least), images(1, size=least))
        small = torch.zeros(1, 3, least, least - 1)
        with pytest.raises(ValueError, match=rf"must have H and W of at least {least}, got shape \(1, 3"):
            judge(small, small)


def test_a_judge_says_how_one_channel_becomes_three():
    with pytest.raises(
        ValueError, match=r"got shape \(2, 1, 32, 32\); of one channel: images\.expand\(-1, 3,"
    ):
        MiniFeatures().features(images(2)[:, :1])
    grey = images(2)[:, :1].expand(-1, 3, -1, -1)
    assert MiniFeatures().features(grey).shape == (2, 128)


def test_a_judge_refuses_images_that_are_not_finite():
    with pytest.raises(ValueError, match="images must be finite, got NaN or infinity"):
        MiniFeatures().features(images(2).log().log())


def tiny_vit() -> ViTModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    return ViTModel(ViTConfig(**sizes, image_size=224, patch_size=112), add_pooling_layer=False).eval()


def test_dino_sees_the_middle_of_the_image_with_the_statistics_of_imagenet():
    network, x = tiny_vit(), images(2, size=256)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        expected = network((x[..., 16:240, 16:240] - mean) / std).last_hidden_state[:, 0]
    torch.testing.assert_close(published.DINO(network).features(x), expected)
    assert published.DINO(network).similarity(x[:, :, :200], x[:, :, :200]).tolist() == pytest.approx([1, 1])


def test_clip_compares_as_open_clip_does():
    torch.manual_seed(0)
    vision = {"image_size": 224, "patch_size": 112, "layers": 1, "width": 16, "head_width": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    network, x = open_clip.CLIP(embed_dim=8, vision_cfg=vision, text_cfg=text).eval(), images(2, size=224)
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor(open_clip.OPENAI_DATASET_STD)
    prepared = (x - mean[:, None, None]) / std[:, None, None]
    with torch.inference_mode():
        image, words, _ = network(prepared, open_clip.tokenize(["a tabby cat", "a bridge"]))
    found = published.CLIP(network).text_similarity(x, ["a tabby cat", "a bridge"])
    torch.testing.assert_close(found, (image @ words.T).diagonal())
    with pytest.warns(UserWarning, match="1 of 2 prompts have over 75 tokens and are cut for CLIP"):
        published.CLIP(network).text_similarity(x, ["a tabby " * 40, "a bridge"])


class Recorder(nn.Module):
    """Stands for a network: keeps its inputs and returns `output` of them."""

    def __init__(self, output):
        super().__init__()
        self.output, self.seen = output, []

    def forward(self, *inputs):
        self.seen.append(inputs)
        return self.output(*inputs)


def test_dreamsim_sees_squares_of_224_pixels():
    network = Recorder(lambda a, b: (a - b).abs().mean(dim=(1, 2, 3)))
    plain = torch.full((1, 3, 32, 48), 0.25)
    assert published.DreamSim(network).distance(plain, plain + 0.5).tolist() == pytest.approx([0.5])
    assert [x.shape for x in network.seen[0]] == [(1, 3, 224, 224)] * 2


def test_inception_sees_bytes():
    network = Recorder(lambda x: (x.float().mean(dim=(2, 3)),))
    levels = torch.tensor([0.0, 0.2, 1.0])[:, None, None].expand(1, 3, 8, 8)
    assert published.Inception(network).features(levels).tolist() == [[0, 51, 255]]
    assert network.seen[0][0].dtype == torch.uint8


@pytest.fixture
def empty_caches(tmp_path, monkeypatch):
    """No weights anywhere, and a network that nobody may ask."""

    def refuse(*_):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("LPIPS", r"alexnet-owt-7be5be79.pth is not in .*torch/hub; put it there, or set TORCH_HOME"),
        ("DreamSim", r"dino_vitb16_pretrain.pth is not in .*torch/hub/dreamsim; put .* TORCH_HOME"),
        ("Inception", r"weights-inception-2015-12-05-6726825d.pth is not in .*torch/hub; put .* TORCH_HOME"),
        ("DINO", r"config.json of facebook/dino-vits16 is not in .*hf; put .* or set HF_HOME"),
        ("CLIP", r"open_clip_model.safetensors of timm/.* is not in .*hf; put .* or set HF_HOME"),
    ],
)
def test_a_judge_without_weights_says_where_they_belong_and_does_not_ask_the_network(
    empty_caches, name, what
):
    with pytest.raises(JudgeMissing, match=rf"^{name} is missing: .*{what}"):
        judges.load_judge(name)


class Harmful:
    """Unpickled without care it would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def in_torch_hub(folder, name: str, content: object):
    """A file of torch's cache."""
    place = folder / "torch" / "hub" / "checkpoints" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, place)
    return place


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("LPIPS", "alexnet-owt-7be5be79.pth", "7be5be79"),
        ("Inception", "weights-inception-2015-12-05-6726825d.pth", "6726825d"),
    ],
)
def test_weights_without_the_published_hash_are_refused(empty_caches, name, file, expected):
    place = in_torch_hub(empty_caches, file, {"weight": torch.zeros(1)})
    found = hashlib.sha256(place.read_bytes()).hexdigest()[:8]
    line = f"{name} is refused: the SHA-256 of {place} must begin with {expected}, got {found}"
    with pytest.raises(JudgeMissing, match=f"^{re.escape(line)}$"):
        judges.load_judge(name)


def test_weights_with_anything_but_tensors_are_refused_and_not_run(empty_caches):
    place = in_torch_hub(empty_caches, "harmful.pth", Harmful(empty_caches / "harmed"))
    named = place.with_name(f"harmful-{hashlib.sha256(place.read_bytes()).hexdigest()[:8]}.pth")
    place.rename(named)
    with pytest.raises(JudgeMissing, match=r"^LPIPS is refused: .*harmful-.* must hold nothing but tensors"):
        finding.in_torch_hub("LPIPS", [f"checkpoints/{named.name}"])
    assert not (empty_caches / "harmed").exists()
    torch.save({"weight": torch.zeros(1)}, named.with_name("harmless.pth"))
    assert finding.in_torch_hub("LPIPS", ["checkpoints/harmless.pth"]) == empty_caches / "torch" / "hub"


def test_a_judge_without_its_package_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(JudgeMissing, match=r"^LPIPS is missing: install the package lpips$"):
        published.LPIPS.load()


@pytest.mark.parametrize("judge", [MiniFeatures, MiniClip])
def test_an_embedded_judge_without_weights_says_where_they_were_looked_for(judge, tmp_path):
    with pytest.raises(JudgeMissing, match=rf"^{judge.name} is missing: there is no model.* in .*nowhere"):
        judge(tmp_path / "nowhere")


def test_weights_in_the_cache_are_found_without_the_network(empty_caches):
    place = empty_caches / "hf" / "models--facebook--dino-vits16"
    tiny_vit().save_pretrained(place / "snapshots" / "0123")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123")
    x = images(1, size=224)
    torch.testing.assert_close(published.DINO.load().features(x), published.DINO(tiny_vit()).features(x))


def test_a_missing_judge_costs_one_line_and_the_others_go_on(empty_caches, capsys):
    found = judges.load_judges(["DINO", "mini-features", "SSIM", "LPIPS"])
    lines = capsys.readouterr().out.splitlines()
    assert [judge.name for judge in found] == ["mini-features", "SSIM"]
    assert [line.split(":")[0] for line in lines] == ["DINO is missing", "LPIPS is missing"]


def test_judges_that_are_unknown_or_all_missing_are_refused(empty_caches):
    with pytest.raises(ValueError, match=r"judge must be one of \['mini-clip', .*, got 'lpips'"):
        judges.load_judges(["SSIM", "lpips"])
    with pytest.raises(JudgeMissing, match=r"none of the judges \['DINO', 'LPIPS'\] is on this machine"):
        judges.load_judges(["DINO", "LPIPS"])


def test_only_a_judge_itself_has_its_name_over_its_numbers(untrained_clip, untrained_lpips):
    embedded = [*MiniClip(untrained_clip).measures(), *MiniFeatures().measures()]
    assert {measure.stands_for for measure in embedded} == BETTER.keys() - {
        "SSIM",
        "FID",
        "precision",
        "recall",
    }
    for measure in embedded:
        assert "-like" in measure.name and "(mini-" in measure.name
    for measure in [*published.LPIPS(untrained_lpips).measures(), *published.SSIM().measures()]:
        assert measure.name == measure.stands_for


class Brightness:
    """A judge that counts what it is asked."""

    name = "brightness"

    def __init__(self, digest: str = "first"):
        self.digest, self.asked = digest, []

    def measures(self) -> list[Measure]:
        return [
            Measure("prompt length", "CLIP-T target", self.words, "target_prompts"),
            Measure("length of source", "CLIP-T source", self.words, "source_prompts"),
            Measure("brightness", "DreamSim", self.distance),
        ]

    def distance(self, first, second):
        self.asked.append(len(first))
        return (first - second).mean(dim=(1, 2, 3))

    def words(self, x, prompts):
        self.asked.append(len(x))
        return torch.tensor([float(len(prompt)) for prompt in prompts])


def test_what_is_known_is_not_judged_again(tmp_path):
    judge, x, y = Brightness(), images(70, size=4), images(70, seed=1, size=4)
    first = remembered(judge.distance, x, y, cache_dir=tmp_path)
    assert judge.asked == [64, 6]
    again = Brightness()
    torch.testing.assert_close(remembered(again.distance, x, y, cache_dir=tmp_path), first, rtol=0, atol=0)
    assert again.asked == []
    torch.testing.assert_close(first, (x - y).mean(dim=(1, 2, 3)))


def test_more_images_cost_only_the_new_ones(tmp_path):
    x, y = images(130, size=4), images(130, seed=1, size=4)
    remembered(Brightness().distance, x[:64], y[:64], cache_dir=tmp_path)
    judge = Brightness()
    found = remembered(judge.distance, x, y, cache_dir=tmp_path)
    assert judge.asked == [64, 2]
    torch.testing.assert_close(found, (x - y).mean(dim=(1, 2, 3)))


def test_other_weights_other_images_other_prompts_and_other_questions_are_judged_anew(tmp_path):
    x, y = images(2, size=4), images(2, seed=1, size=4)
    judge, other = Brightness(), Brightness("second")
    for method, *inputs in [
        (judge.distance, x, y),
        (other.distance, x, y),
        (judge.distance, y, x),
        (judge.distance, x.double(), y.double()),
        (judge.words, x, ["a", "b"]),
        (judge.words, x, ["a", "c"]),
    ]:
        before = len(judge.asked) + len(other.asked)
        remembered(method, *inputs, cache_dir=tmp_path)
        assert len(judge.asked) + len(other.asked) == before + 1


def test_a_damaged_judgement_is_reported_and_made_again(tmp_path, capsys):
    x, y = images(2, size=4), images(2, seed=1, size=4)
    first = remembered(Brightness().distance, x, y, cache_dir=tmp_path)
    (file,) = tmp_path.glob("judged-*/*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    judge = Brightness()
    torch.testing.assert_close(remembered(judge.distance, x, y, cache_dir=tmp_path), first)
    assert judge.asked == [2]
    assert "damaged" in capsys.readouterr().err


def test_inputs_that_do_not_belong_together_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"inputs must be equally many, at least one, got \[2, 3\]"):
        remembered(Brightness().distance, images(2), images(3), cache_dir=tmp_path)
    with pytest.raises(ValueError, match=r"inputs must be equally many, at least one, got \[0, 0\]"):
        remembered(Brightness().words, images(2)[:0], [], cache_dir=tmp_path)


def conditional(sample_condition):
    return SimpleNamespace(name="conditional", sample_condition=sample_condition)


def test_features_of_real_pictures_are_those_of_their_middle_at_the_models_size(tmp_path):
    judge = MiniFeatures()
    picture = (images(1, size=32)[0] * 255).round().byte()
    twice = picture.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    wide = torch.cat([torch.zeros(3, 32, 20), picture, torch.zeros(3, 32, 20)], dim=2).byte()
    (tmp_path / "more").mkdir()
    Image.fromarray(wide.movedim(0, -1).numpy()).save(tmp_path / "a.png")
    Image.fromarray(twice.movedim(0, -1).numpy()).save(tmp_path / "more" / "b.PNG")
    found = judges.real_features(judge, tmp_path, (32, 32), tmp_path / "cache")
    expected = judge.features(picture[None] / 255)
    torch.testing.assert_close(found[:1], expected, rtol=1e-4, atol=1e-5)
    assert found.shape == (2, 128) and 0 < (found[1] - expected[0]).abs().mean() < 0.5
    with pytest.raises(ValueError, match="pictures must hold at least one of"):
        judges.real_features(judge, tmp_path / "cache")


def test_the_first_pictures_of_a_folder_are_of_all_its_kinds(tmp_path):
    for i in range(40):
        (tmp_path / f"{i // 20}").mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (i, i, i)).save(tmp_path / f"{i // 20}" / f"{i:02}.png")

    class Grey:
        name = digest = "grey"

        def features(self, pixels):
            return 255 * pixels[:, :1, 0, 0]

    grey, cache = Grey(), tmp_path / "cache"
    found = judges.real_features(grey, tmp_path, cache_dir=cache).flatten().round().int().tolist()
    assert sorted(found) == list(range(40)) and 5 <= sum(i < 20 for i in found[:20]) <= 15
    assert found == judges.real_features(grey, tmp_path, cache_dir=cache).flatten().round().int().tolist()


def test_the_quality_of_a_set_has_the_three_measures_of_fig_5_and_a_kernel_distance(tmp_path):
    judge, pixels = MiniFeatures(), images(6, size=32)
    real = judges.real_features(judge)[:50]
    found = judges.set_quality(judge, pixels, real, 20, tmp_path)
    features = judge.features(pixels)
    precision, recall = metrics.precision_recall(features, real[:20])
    assert found == {
        "Fréchet distance": pytest.approx(metrics.frechet_distance(features, real)),
        "precision": precision,
        "recall": recall,
        "kernel distance": pytest.approx(metrics.kernel_distance(features, real[:20])),
    }


def test_the_shipped_features_are_those_of_garments():
    assert judges.real_features(MiniFeatures()).shape == (10_000, 128)


def test_the_target_always_differs_and_depends_on_seed_and_image_alone():
    denoiser = conditional(mini.sample_prompts)
    coin = conditional(lambda n, seed: [(seed * 7 + i) % 2 for i in range(n)])
    source, target = judges.edit_conditions(denoiser, 30, seed=3)
    assert source == mini.sample_prompts(30, 3)
    assert all(a != b for a, b in zip(source, target, strict=True))
    assert judges.edit_conditions(denoiser, 9, seed=3) == (source[:9], target[:9])
    assert judges.edit_conditions(denoiser, 30, seed=4)[1] != target
    assert judges.edit_conditions(coin, 4) == ([0, 1, 0, 1], [1, 0, 1, 0])


def test_models_whose_condition_cannot_be_replaced_are_refused():
    with pytest.raises(ValueError, match="model must be conditional, got gaussian"):
        judges.edit_conditions(taba.load_model("gaussian"), 2)
    with pytest.raises(ValueError, match="conditions of conditional must differ, got 'a bag' in every draw"):
        judges.edit_conditions(conditional(lambda n, seed: ["a bag"] * n), 2)


def test_images_are_clipped_for_the_judges_and_keep_their_contrast():
    denoiser = taba.load_model("gaussian")
    x = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0]).expand(3, 3, 1, 5)
    assert judges.decoded(denoiser, x)[2, 0, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_edits_are_scored_in_the_papers_order_each_against_its_own(tmp_path):
    source, edited = images(2, size=4), images(2, seed=1, size=4)
    edits = judges.Edits(source, ["12", "123"], ["1234", "12345"])
    scores = judges.edit_scores([Brightness()], edited, edits, tmp_path)
    assert [score.stands_for for score in scores] == ["DreamSim", "CLIP-T source", "CLIP-T target"]
    assert [score.name for score in scores] == ["brightness", "length of source", "prompt length"]
    assert [score.sign for score in scores] == [1, -1, 1]
    torch.testing.assert_close(scores[0].values, (edited - source).mean(dim=(1, 2, 3)))
    assert [score.mean for score in scores[1:]] == [2.5, 4.5]
    assert scores[1].values.tolist() == [2, 3] and scores[2].values.tolist() == [4, 5]


def test_fig_6_has_a_column_an_image_under_its_prompt():
    x = images(3)
    figure = figures.edits(x, x, x, ["a bag", "a blue sneaker on a sand backdrop", "a coat"])
    (axes,) = figure.axes
    assert len(axes.images) == 9
    assert [label.get_text().replace("\n", " ") for label in axes.get_xticklabels()] == [
        "→ a bag",
        "→ a blue sneaker on a sand backdrop",
        "→ a coat",
    ]


def test_fig_7_has_a_panel_a_model_and_a_line_a_measure():
    lines = [("one", "LPIPS", "LPIPS"), ("one", "DINO-like (judge)", "DINO"), ("two", "SSIM", "SSIM")]
    rows = [(*line, k, 2.0 * place) for line in lines for place, k in enumerate([0, 3, "noise"])]
    columns = ["model", "measure", "quantity", "replaced", "improvement"]
    one, two = figures.improvement(pd.DataFrame(rows, columns=columns).assign(error=0.5)).axes
    assert [text.get_text() for text in one.get_legend().get_texts()] == ["LPIPS", "DINO-like (judge)"]
    bars = two.collections[0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars] == [[-1, 1], [1, 3], [3, 5]]  # two standard errors
    assert [line.get_linestyle() for line in one.get_lines()[1:]] == ["-", "--"]
    assert list(two.get_lines()[1].get_ydata()) == [0, 2, 4]
    assert [tick.get_text() for tick in two.get_xticklabels()] == ["0", "3", "noise"]
