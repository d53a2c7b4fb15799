"""A real SLURM of three nodes on this machine: Debian's slurm-wlm and munge, started and stopped by itself, as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

NODES = ("n1", "n2", "n3")
PROGRAMS = ("munged", "slurmctld", "slurmd")
ETC, MUNGE = Path("/etc/slurm"), Path("/run/munge")
MAIN = """ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=32000 Gres=gpu:1\n"
)
DEVICES = "NodeName=n[1-3] Name=gpu File=/dev/null\n"  # make-believe
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")


def missing() -> str:
    """Why SLURM cannot be started here; "" if it can."""
    if os.geteuid() or not all(map(shutil.which, PROGRAMS)):
        return "needs root and `apt-get install slurm-wlm munge`"
    there = [name for name in FILES if (ETC / name).exists()]
    return f"{ETC} has a configuration of its own: {there}" if there else ""


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Nodes n1, n2 and n3 with one device each, until the block ends."""
    host = socket.gethostname()
    for name in ("state", *NODES):
        (folder / name).mkdir(parents=True)
    nodes = "".join(NODE.format(name=name, host=host, port=17001 + i) for i, name in enumerate(NODES))
    (ETC / "slurm.conf").write_text(MAIN.format(host=host, folder=folder) + nodes)
    (ETC / "gres.conf").write_text(DEVICES)
    (ETC / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    MUNGE.mkdir(exist_ok=True)
    shutil.chown(MUNGE, "munge")
    munge = ["runuser", "-u", "munge", "--", "munged", "--foreground", "--force"]
    daemons = [munge, ["slurmctld", "-D"], *(["slurmd", "-D", "-N", name] for name in NODES)]
    running = []
    try:
        for command in daemons:
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            time.sleep(1)
        _wait_for_nodes()
        yield
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(30)
        for name in FILES:
            (ETC / name).unlink()


def ask(*command: str) -> str:
    """What a command of SLURM prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _wait_for_nodes() -> None:
    for _ in range(60):
        with contextlib.suppress(subprocess.CalledProcessError):
            if ask("sinfo", "--noheader", "--format=%t %D") == f"idle {len(NODES)}":
                return
        time.sleep(1)
    raise TimeoutError("the nodes did not come up")
