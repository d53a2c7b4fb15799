"""What a run is given, what it found, and how that compares with the references and with the paper."""

from taba_utils.report.effects import Effect, Estimate, statements, verdicts
from taba_utils.report.parameters import ParameterError, Parameters, check
from taba_utils.report.run import Run
from taba_utils.report.start import start

__all__ = [
    "Effect",
    "Estimate",
    "ParameterError",
    "Parameters",
    "Run",
    "check",
    "start",
    "statements",
    "verdicts",
]
