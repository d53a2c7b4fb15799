"""Keys of the cache: networks, precision, guidance, methods and typed code that determine a result are in them."""

import json
from functools import partial

import pytest
import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from toys import STEPS, Toy, Weighted, assert_same, by_hand

from taba_utils.cache import fingerprint
from taba_utils.inversion import method
from taba_utils.models.adm import ADM
from taba_utils.models.guided import Guided
from taba_utils.schedule import linear_alphas_cumprod


class Steered(Toy, Guided):
    """Toy whose guidance can be set."""

    def predict_conditional(self, x, timestep, condition):
        return Toy.predict_noise(self, x, timestep, condition)

    predict_noise = Guided.predict_noise


def unet(**changes):
    """A tiny U-Net; the same weights whatever the changes."""
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
        **changes,
    )
    chain = linear_alphas_cumprod(1000)
    return ADM(
        network,
        name="tiny",
        digest="one",
        training_alphas_cumprod=chain,
        timestep_scale=1,
        convention="target",
    )


def cost(runs, denoiser, **options):
    made = runs(denoiser, **options)
    made.latent(2)
    return made.evaluations


def attention_layers(denoiser):
    return [layer for layer in denoiser.unet.modules() if isinstance(layer, Attention)]


def scale_attention(denoiser):
    attention_layers(denoiser)[0].scale *= 1.5


def other_processor(denoiser):
    class Halved(AttnProcessor):
        def __call__(self, *given, **more):
            return super().__call__(*given, **more) / 2

    attention_layers(denoiser)[0].set_processor(Halved())


def test_a_network_of_the_same_weights_and_configuration_is_the_same(runs):
    assert cost(runs, unet()) == 2 * 2 * STEPS
    assert cost(runs, unet()) == 0


@pytest.mark.parametrize("changes", [{"flip_sin_to_cos": False}, {"freq_shift": 1}, {"norm_eps": 1e-3}])
def test_the_same_weights_in_another_configuration_are_another_model(runs, changes):
    cost(runs, unet())
    assert unet(**changes).digest == unet().digest
    assert cost(runs, unet(**changes)) == 2 * 2 * STEPS


@pytest.mark.parametrize(
    "change", [scale_attention, other_processor, lambda denoiser: denoiser.unet.double()]
)
def test_what_is_changed_in_a_loaded_network_changes_the_key(runs, change):
    cost(runs, unet())
    other = unet()
    change(other)
    assert cost(runs, other) == 2 * 2 * STEPS


def test_where_a_network_was_loaded_from_does_not_matter(tmp_path):
    unet().unet.save_pretrained(tmp_path)
    loaded = unet()
    loaded.unet = UNet2DModel.from_pretrained(tmp_path).eval()
    assert fingerprint(loaded) == fingerprint(unet())


def test_the_precision_of_matrix_products_is_part_of_the_key(runs):
    cost(runs, Toy())
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        assert cost(runs, Toy()) == 2 * 2 * STEPS
    finally:
        torch.set_float32_matmul_precision(before)
    plain = fingerprint(Toy())
    with torch.autocast("cpu", torch.bfloat16):
        assert fingerprint(Toy()) != plain
    assert cost(runs, Toy()) == 0


def test_guidance_is_that_of_the_moment_of_computing(runs):
    model = Steered()
    made = runs(model, condition=[1, 2])
    plain = made.image(2)
    model.guidance_scale = 7.5
    for again in (made, runs(model, condition=[1, 2])):
        assert not torch.equal(again.image(2), plain)
    model.guidance_scale = 1.0
    assert torch.equal(runs(Steered(left=0), condition=[1, 2]).image(2), plain)


def typed(body, **names):
    """A model as it is typed into a session: it has no file. `own` is Toy's prediction."""
    names |= {"__name__": "__main__", "Toy": Toy}
    lines = [
        "class Typed(Toy):",
        "    def predict_noise(self, x, timestep, condition=None):",
        "        own = Toy.predict_noise(self, x, timestep)",
        *(f"        {line}" for line in body.splitlines()),
    ]
    exec("\n".join(lines), names)
    return names["Typed"]()


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("return own * 0.9", {}),
        ("return own[:, [2, 1, 0]]", {}),
        ("return factor * own", {"factor": 1}),
        ("return factor * own", {"factor": 2}),
        ("return inner(own)", {"inner": lambda x: x / 3}),
        ("return inner(own)", {"inner": lambda x: x / 4}),
        ("return own + shift", {"shift": torch.ones(1)}),
        ("return own + shift", {"shift": torch.zeros(1)}),
        ("inner = lambda x: x + 1\nreturn inner(own)", {}),
        ("inner = lambda x: x + 2\nreturn inner(own)", {}),
    ],
)
def test_code_typed_in_a_session_is_part_of_the_key(runs, known, body, names):
    made = fingerprint(typed(body, **names))
    assert json.dumps(made) not in known
    known.add(json.dumps(made))
    assert fingerprint(typed(f"# a comment\n\n{body}", **names)) == made
    assert cost(runs, typed(body, **names)) == 2 * 2 * STEPS
    assert cost(runs, typed(body, **names)) == 0


@pytest.fixture(scope="module")
def known():
    return {json.dumps(fingerprint(typed("return own")))}


def test_a_function_in_a_networks_place_is_part_of_the_key(runs):
    class Own(Toy):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def predict_noise(self, x, timestep, condition=None):
            return self.network(x)

    def times(factor, x):
        return factor * x

    networks = [
        lambda x: x,
        lambda x: x / 2,
        partial(times, 0.3),
        partial(times, 0.4),
        torch.nn.Identity().eval(),
    ]
    assert [cost(runs, Own(network)) for network in networks] == [2 * 2 * STEPS] * 5
    assert [cost(runs, Own(network)) for network in networks] == [0] * 5


def test_a_models_own_constants_are_part_of_the_key(runs):
    class Own(Toy):
        def __init__(self, strength):
            super().__init__()
            self.strength = strength

        def predict_noise(self, x, timestep, condition=None):
            return self.strength * super().predict_noise(x, timestep)

    assert [cost(runs, Own(strength)) for strength in (1.0, 0.5, 1.0)] == [2 * 2 * STEPS, 2 * 2 * STEPS, 0]


def test_what_a_model_counts_is_not_part_of_the_key(runs):
    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x

    class Own(Toy):
        asked = 0

        def predict_noise(self, x, timestep, condition=None):
            Own.asked += 1
            return self.network(x)

    model = Own()
    model.network = Counting().eval()
    assert cost(runs, model) == 2 * 2 * STEPS
    assert cost(runs, model) == 0
    assert Own.asked == model.network.calls == 2 * STEPS


def test_a_methods_name_and_parameters_are_part_of_the_key(runs):
    made = runs()
    plain = made.latent(70)
    for place, chosen in enumerate([Weighted(), Weighted(weight=2.0), Weighted("source", 2.0)]):
        latent = made.latent(70, method=chosen)
        assert made.evaluations == 70 * STEPS * (3 + place)
        convention = chosen.convention or "target"
        assert_same(latent, chosen.weight * by_hand(70, convention=convention)[1])
    assert torch.equal(made.latent(70, method="naive", convention="target"), plain)
    assert torch.equal(made.latent(70, method=method("naive")), plain)
    assert made.evaluations == 70 * STEPS * 5
