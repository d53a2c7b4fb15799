"""What a profile lacks on this machine is told at once, with the notebooks that it stops."""

import pytest
import yaml

from taba_utils.judges import JudgeMissing
from workflow import preflight


@pytest.fixture
def lacking(tmp_path, monkeypatch):
    """What `obstacles` says of one notebook with these parameters, where DreamSim and Inception are missing."""

    def load(name):
        if name in ("DreamSim", "Inception"):
            raise JudgeMissing(f"{name} is missing: put it there")

    monkeypatch.setattr(preflight, "load_judge", load)
    preflight._judge_missing.cache_clear()
    folder = tmp_path / "params" / "big"
    folder.mkdir(parents=True)

    def told(**given):
        (folder / "08_one.yaml").write_text(yaml.safe_dump(given))
        return preflight.said(preflight.obstacles(tmp_path, "big", ["08_one"]))

    yield told
    preflight._judge_missing.cache_clear()


def test_a_judge_that_a_notebook_cannot_do_without_is_told(lacking):
    line = "missing: judge {0} is missing: put it there (stops 08)"
    assert lacking(judge="mini-features", judges=["DreamSim", "SSIM"]) == ""
    assert lacking(judges=["DreamSim"]) == line.format("DreamSim")
    assert lacking(judge="Inception") == line.format("Inception")


def test_weights_that_are_not_here_are_told_with_their_size(lacking):
    told = lacking(models=["mini-adm", "adm-32"])
    assert told.startswith("missing: weights of adm-32, 53M parameters, in ") and told.endswith("(stops 08)")
