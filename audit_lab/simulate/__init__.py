"""Long labelled archives for scale and drift, resampled from a recording. They prove scale, never accuracy."""

from audit_lab.simulate.calendar import Drift, default_drifts
from audit_lab.simulate.run import SimulationReport, simulate
from audit_lab.simulate.truth import match_sessions, read_truth

__all__ = ["Drift", "SimulationReport", "default_drifts", "match_sessions", "read_truth", "simulate"]
