"""Devices by name: one, or several joined by commas, and only such as are on this machine."""

from __future__ import annotations

import torch


def list_devices() -> list[str]:
    """Names of the devices on this machine."""
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return there + ["mps"] * torch.backends.mps.is_available()


def problem_of(device: object) -> str:
    """ "" for the name of one device of this machine, or of several of one kind ("cuda:0,cuda:1"); else what is allowed."""
    there = list_devices()
    names = device.split(",") if isinstance(device, str) else [None]
    if not all(name in there for name in names):
        return f"one of {there}, or several of one kind joined by commas"
    kinds = {torch.device(str(name)).type for name in names}
    return "" if len(kinds) == 1 else "devices of one kind: different kinds round differently"


def devices(device: str | torch.device) -> list[torch.device]:
    """The devices that a name stands for; a `torch.device` stands for itself.

    Raises:
        ValueError: a device that is not on this machine, or devices of several kinds.
    """
    if isinstance(device, torch.device):
        return [device]
    if problem := problem_of(device):
        raise ValueError(f"device must be {problem}, got {device!r}")
    return [torch.device(name) for name in device.split(",")]
