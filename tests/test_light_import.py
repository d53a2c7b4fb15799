"""Nothing heavy is imported before its first use. Each script runs in a Python of its own."""

import subprocess
import sys

HEAVY = {
    "IPython", "diffusers", "ipywidgets", "matplotlib", "open_clip", "pandas", "scipy", "seaborn", "skimage",
    "torch_fidelity", "torchvision", "transformers",
}  # fmt: skip


def imported(*script: str) -> set[str]:
    """Heavy packages that a script imports."""
    report = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    lines = "\n".join(["import taba_utils as taba", *script, report])
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.split())


def test_sampling_a_light_model_imports_nothing_heavy():
    uses = [
        "denoiser = taba.load_model('gaussian')",
        "noise, schedule = denoiser.sample_noise(2), denoiser.schedule(3)",
        "latent = taba.invert(denoiser, taba.sample(denoiser, noise, schedule).image, schedule).latent",
        "taba.metrics.mean_absolute_error(noise, latent), taba.interpolation.slerp(noise, latent, 0.5)",
        "taba.judges.list_judges(), taba.judges.MiniFeatures().features(noise.clamp(0, 1))",
        "taba.models.list_names(), taba.Trajectories, taba.theory",
    ]
    assert imported(*uses) == set()


def test_a_table_imports_pandas_and_no_more():
    assert imported("taba.list_models(), taba.paper.table(2)") == {"pandas"}


def test_the_cost_of_a_run_draws_nothing_and_tests_nothing():
    """Each job of the graph begins with it."""
    p = {"models": ["mini-adm"], "num_images": 2, "num_steps": 2, "seeds": [0]}
    assert imported(
        f"print(taba.cost('02_latents_vs_noise', {p}, probe=0), file=open('/dev/null', 'w'))"
    ) == {"pandas"}
