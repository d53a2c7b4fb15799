"""The graph of jobs on a real SLURM: a job is killed, a node drained, and the numbers are those of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from loopback import ask, missing, slurm

ROOT = Path(__file__).parents[2]
NOTEBOOK = "02_latents_vs_noise"
SEEDS, STEPS, IMAGES = (0, 1, 2), 10, 128
EVALUATIONS = 2 * STEPS * IMAGES  # of a seed: sampling and inversion
PARAMETERS = {
    "models": ["mini-adm-s"],
    "num_images": IMAGES,
    "num_steps": STEPS,
    "seeds": [*SEEDS],
    "device": "cpu",
    "batch_size": 64,
    "cache_dir": None,
    "figures_dir": None,
    "references": "tiny",
}
CODE = (
    "import sys, pathlib, workflow.__main__ as w; sys.exit(w.main(sys.argv[2:], pathlib.Path(sys.argv[1])))"
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]


class Repository:
    """A repository of one notebook and one tiny profile, with a cache of its own."""

    def __init__(self, folder: Path):
        self.folder, self.cache = folder, folder / "cache"
        (folder / "references" / "tiny").mkdir(parents=True)
        (folder / "params" / "tiny").mkdir(parents=True)
        (folder / "params" / "tiny" / f"{NOTEBOOK}.yaml").write_text(yaml.safe_dump(PARAMETERS))
        (folder / "notebooks").symlink_to(ROOT / "notebooks")

    def start(self, *options: str) -> subprocess.Popen:
        variables = {"PYTHONPATH": str(ROOT), "TABA_CACHE": str(self.cache), "TABA_REFERENCE": "update"}
        command = [sys.executable, "-c", CODE, str(self.folder), "paper", "--profile", "tiny", *options, "02"]
        return subprocess.Popen(
            command, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def has_shard(self, kind: str, seed: int) -> bool:
        keys = [
            path for path in self.cache.glob(f"{kind}-*/key.json") if any(path.parent.glob("*.safetensors"))
        ]
        return any(json.loads(path.read_text())["seed"] == seed for path in keys)

    def shards(self) -> set[str]:
        """Every file of the cache; its name ends with the SHA-256 of its bytes."""
        return {str(path.relative_to(self.cache)) for path in self.cache.glob("*/*.safetensors")}

    def numbers(self) -> dict:
        found = json.loads((self.folder / "references" / "tiny" / f"{NOTEBOOK}.json").read_text())
        return {key: found[key] for key in ("numbers", "effects")}


def profile(folder: Path) -> str:
    """The profile that ships, with one job a seed, and less patience."""
    given = yaml.safe_load((ROOT / "workflow" / "profiles" / "slurm" / "config.yaml").read_text())
    given |= {"slurm-init-seconds-before-status-checks": 2, "seconds-between-status-checks": 2}
    given["config"] = {"evaluations_a_job": EVALUATIONS}
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(given))
    return str(folder)


def jobs() -> list[list[str]]:
    """Id, node and rule of each job that runs."""
    lines = ask("squeue", "--noheader", "--states=R", "--format=%i|%N|%k").splitlines()
    return [line.split("|") for line in lines]


def event(line: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)


def test_a_killed_job_and_a_drained_node_change_no_number(tmp_path):
    if why := missing():
        pytest.skip(why)
    single = Repository(tmp_path / "single")
    event("one process")
    alone = single.start("--jobs", "1")
    print(alone.communicate()[0])
    assert alone.returncode == 0

    cluster, seen, killed, drained = Repository(tmp_path / "cluster"), {}, "", ""
    with slurm(tmp_path / "slurm"):
        event("three nodes")
        run = cluster.start("--jobs", "3", "--cluster", profile(tmp_path / "profile"))
        while run.poll() is None:
            for job, node, rule in (running := jobs()):
                if job not in seen:
                    event(f"SLURM job {job} on {node}: {rule}")
                    seen[job] = (node, rule, drained)
                others = [where for other, where, _ in running if other != job]
                half_way = f"{SEEDS[0]}-T{STEPS}" in rule and cluster.has_shard("image", SEEDS[0])
                if not killed and others and half_way:
                    killed, drained = job, others[0]
                    event(f"scancel {job}; scontrol update nodename={drained} state=drain")
                    ask("scancel", job)
                    ask("scontrol", "update", f"nodename={drained}", "state=drain", "reason=test")
            time.sleep(0.3)
        print(lines := run.stdout.read())
        nodes = ask("sinfo", "--noheader", "--Node", "--format=%N %t").splitlines()
        event(", ".join(map(str.strip, nodes)))
    assert run.returncode == 0
    assert killed
    assert any(job != killed and rule == seen[killed][1] for job, (_, rule, _) in seen.items())  # tried again
    there = [rule for node, rule, _ in seen.values() if node == drained]
    assert len(there) == 1  # the job that ran there came to its end, and no other followed
    assert [rule for _, rule, _ in seen.values()].count(there[0]) == 1
    made = [
        int(line.split()[-2].replace(",", "")) for line in lines.splitlines() if line.endswith(" evaluations")
    ]
    assert len(made) == len(SEEDS)
    assert min(made) < EVALUATIONS  # the killed job left a shard, which is not computed again
    assert cluster.shards() == single.shards()
    assert cluster.numbers() == single.numbers()
    event(f"{len(cluster.shards())} shards and all numbers are identical")
