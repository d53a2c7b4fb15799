import pytest
from shapes import hold_to_shapes
from toys import STEPS, Toy

from taba_utils.trajectories import Trajectories

hold_to_shapes("taba_utils.metrics", "taba_utils.interpolation")


@pytest.fixture
def runs(tmp_path):
    """Trajectories of a small model, kept in the test's own folder."""

    def make(denoiser=None, num_steps=STEPS, seed=0, **options):
        return Trajectories(denoiser or Toy(), num_steps, seed, **{"cache_dir": tmp_path, **options})

    return make
