"""Train mini-adm-s, keeping weights on the way for App. G: `python -m training.mini_adm_s` (resumes)."""

from __future__ import annotations

import torch

from taba_utils.models.mini import build_mini_adm_s
from training.loop import arguments
from training.mini_adm import run
from training.noise_prediction import COARSE

KEEP = (100, 200, 400, 800, 1200, 1800, 2700)


def main() -> None:
    given = arguments(__doc__, steps=4000, folder="runs/mini-adm-s")
    torch.manual_seed(0)
    run(build_mini_adm_s(), given, keep=(*KEEP, given.steps), coarse=COARSE)


if __name__ == "__main__":
    main()
