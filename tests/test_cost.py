"""What a run will cost: told before it starts, and held against what it then takes."""

import re
import sys
import time
from pathlib import Path

import pytest
import torch
from test_evaluation import Network

import taba_utils as taba
from taba_utils.report.start import COST
from taba_utils.studies import cost as costs
from taba_utils.studies.cost import Cost, cost_of, seconds_an_evaluation
from taba_utils.studies.models import Models
from taba_utils.studies.needs import Need, Shared, needs, tensors
from taba_utils.studies.triples import triples
from taba_utils.trajectories import Trajectories
from workflow import plan
from workflow.cost import cost as profile_cost

ROOT = Path(__file__).parents[1]
P = {
    "models": ["gaussian"],
    "num_images": 70,
    "num_steps": 4,
    "seeds": [0, 1],
    "device": "cpu",
    "batch_size": 64,
}


def test_evaluations_gflop_and_disk_follow_from_the_parameters_alone():
    told = taba.cost("02_latents_vs_noise", P | {"models": ["mini-adm", "mini-dit"]}, probe=0)
    made = 2 * 70 * 2 * 4
    assert told.evaluations == {"mini-adm": made, "mini-dit": made}
    assert told.gflop == pytest.approx(made * (0.27 + 0.14))
    assert told.disk == 2 * 70 * 2 * 4 * (3 * 32 * 32 + 4 * 16 * 16)
    assert (told.minutes, told.memory, told.held) == (None, None, 0)
    assert str(told) == "at most 2,240 evaluations of networks (459 GFLOP); 4.6 MB on disk"


def test_the_cost_of_a_profile_follows_the_parameters_that_are_given_besides():
    told = profile_cost(ROOT, "full", ["04_origin_of_the_divergence"], ["-p", "num_images", "10"], here=False)
    assert told.startswith("full: at most 30,800 evaluations")
    one = ["-y", "models: [mini-dit]", "-p", "num_images", "10"]
    assert profile_cost(ROOT, "full", ["04_origin_of_the_divergence"], one, here=False).startswith(
        "full: at most 15,800 evaluations"
    )


def test_the_minutes_of_a_profile_are_those_of_jobs_side_by_side(monkeypatch, tmp_path):
    seen = []

    def timed(denoiser, batch_size, probe):
        seen.append(torch.get_num_threads())
        return 0.06, 10**9

    monkeypatch.setattr(costs, "seconds_an_evaluation", timed)
    monkeypatch.setenv("TABA_CACHE", str(tmp_path))
    names = ["04_origin_of_the_divergence"]
    options = ["-y", "models: [mini-dit]", "-p", "num_images", "10"]
    one = profile_cost(ROOT, "full", names, options, jobs=2, threads=1)
    two = profile_cost(ROOT, "full", [*names, *names], options, jobs=2, threads=1)
    assert "about 16 minutes here (cpu); an evaluation of mini-dit 60 ms" in one.replace("\n", " ")
    assert "about 7.9 minutes here (cpu, 2 at a time)" in two.replace("\n", " ")
    assert set(seen) == {1}


@pytest.mark.parametrize(
    "options", [["-y", "models"], ["-y", "models: ["], ["-y"], ["-p", "num_images"], ["-r", "name", "1"]]
)
def test_options_of_papermill_that_are_not_understood_are_refused(options):
    with pytest.raises(ValueError, match="PARAMETERS must be of the form '-p NAME VALUE' or"):
        plan.parameters(ROOT, "full", "04_origin_of_the_divergence", options)


def test_the_cost_of_a_missing_parameter_or_an_unknown_notebook_is_refused():
    with pytest.raises(ValueError, match=r"parameters of 02_latents_vs_noise must hold 'num_steps', got \["):
        taba.cost("02_latents_vs_noise", {name: value for name, value in P.items() if name != "num_steps"})
    with pytest.raises(ValueError, match="notebook must begin with one of"):
        taba.cost("99", P)


def test_the_disk_is_what_the_cache_then_holds(tmp_path):
    p = P | {"cache_dir": str(tmp_path)}
    told = taba.cost("02_latents_vs_noise", p, probe=0)
    models = Models(["gaussian"], num_steps=4, cache_dir=tmp_path, batch_size=64)
    for seed in p["seeds"]:
        triples(models, "gaussian", seed, 70)
    held = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    assert told.disk <= held < 1.05 * told.disk


def test_what_the_cache_holds_is_subtracted_and_a_full_cache_is_not_timed(tmp_path, monkeypatch):
    p, models = P | {"cache_dir": str(tmp_path)}, Models(["gaussian"], num_steps=4, cache_dir=tmp_path)
    triples(models, "gaussian", 0, 40)
    part = taba.cost("02_latents_vs_noise", p, probe=0.01)
    assert (part.held, part.evaluations) == (40 * 8, {"gaussian": (2 * 70 - 40) * 8})
    assert "besides 320 that the cache holds" in str(part)
    for seed in p["seeds"]:
        triples(models, "gaussian", seed, 70)
    monkeypatch.setattr(costs, "seconds_an_evaluation", pytest.fail)
    full = taba.cost("02_latents_vs_noise", p)
    assert (full.evaluations, full.minutes, models.evaluations) == ({"gaussian": 0}, None, 2 * 70 * 8)


def test_exact_steps_keep_the_samplers_predictions():
    p = P | {"percentages": [0, 50], "num_reconstructions": 2, "num_edits": 2}
    kept = {need.work: need.kept for need in needs("08_first_inversion_steps", p)}
    sampled, inverted = Shared(paired=True), [Shared(True, "target", k, paired=True) for k in (0, 2)]
    assert (kept[sampled], *map(kept.get, inverted)) == (1 + 2, 1, 1)
    assert tensors([Need("a", "sample ", 0, 4, 3, 4), Need("a", "watched", 0, 4, 3, 8, kept=0)]) == {"a": 3}


def test_minutes_are_evaluations_times_measured_seconds_and_long_ones_are_hours():
    told = Cost({"a": 600, "b": 0}, 0, None, 10**6, "cpu", {"a": 0.5}, 2 * 10**9)
    assert told.minutes == 5
    assert str(told) == (
        "at most 600 evaluations of networks (GFLOP unknown); 1.0 MB on disk; 2.0 GB of memory;\n"
        "about 5 minutes here (cpu); an evaluation of a 5e+02 ms"
    )
    assert "about 10.0 hours here" in str(Cost({"a": 72_000}, 0, 1.0, 0, "cpu", {"a": 0.5}, None))


class Slow(Network):
    """A network whose evaluation takes a while."""

    digest = "slow"

    def predict_noise(self, x, timestep, condition=None):
        time.sleep(0.005 * len(x))
        return super().predict_noise(x, timestep, condition)


def test_the_minutes_are_those_of_the_run_to_within_a_factor_of_one_and_a_half(tmp_path):
    model = Slow()
    seconds, memory = seconds_an_evaluation(model, 8, 0.2)
    assert model.evaluations == 0
    assert 50e6 < memory < 100e9
    made = Trajectories(model, 4, cache_dir=tmp_path, batch_size=8)
    began = time.monotonic()
    made.latent(24)
    spent = time.monotonic() - began
    assert spent / 1.5 < seconds * made.evaluations < 1.5 * spent


def test_replicas_are_timed_together():
    model = Network()
    model.replicas = (Network(),)
    seconds_an_evaluation(model, 4, 0.0)
    assert model.calls == model.replicas[0].calls == [4, 4]  # one that does not count, and one that does


def test_a_notebook_begins_with_its_cost_and_a_script_does_not(monkeypatch, capsys):
    monkeypatch.setenv("TABA_PROBE", "0")
    p = P | {"references": None, "figures_dir": None, "cache_dir": None}
    taba.start("02_latents_vs_noise", **p)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys.modules["taba_utils.report.start"], "declared", lambda: p)
    taba.start("02_latents_vs_noise")
    assert re.fullmatch(
        r"cost: at most 1,120 evaluations of networks \(0 GFLOP\); 3.4 MB on disk\n", capsys.readouterr().out
    )
    taba.start("a_notebook_of_mine")
    assert capsys.readouterr().out == ""


def test_a_model_whose_weights_are_missing_is_not_timed():
    told = cost_of([Need("dit", "sample ", 0, 50, 8, 50)], {"device": "cpu"})
    assert (told.minutes, told.evaluations) == (None, {"dit": 400})


def test_the_line_of_a_notebook_is_found_where_start_looks_for_it():
    module, _, function = COST.partition(":")
    assert (costs.__name__, costs.tell.__name__) == (module, function)
