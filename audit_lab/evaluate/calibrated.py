"""Scores as probabilities: a calibrator that was learnt on earlier time, tested on what came after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from audit_lab.evaluate.calibrators import Calibrator
from audit_lab.evaluate.intervals import ActorBootstrap
from audit_lab.evaluate.probability import ProbabilityFigures, probability_figures

NONE = "no calibrator: audit-lab calibrate --probabilities learns one from labels of earlier time"


@dataclass(frozen=True)
class LearntCalibrator:
    """A calibrator with what it may be used for: the scorer it was learnt on, and sessions that start at `until` or later."""

    calibrator: Calibrator
    scorer: str
    until: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"calibrator": self.calibrator.as_dict(), "scorer": self.scorer, "until": self.until.isoformat()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LearntCalibrator:
        """Build it again from `as_dict`."""
        return cls(Calibrator.from_dict(values["calibrator"]), values["scorer"], datetime.fromisoformat(values["until"]))


@dataclass(frozen=True)
class CalibratedFigures:
    """Raw and calibrated scores as probabilities, on the same later sessions; None with a reason where that cannot be told."""

    method: str | None
    scorer: str | None
    n_labels: int | None
    positives: int | None
    until: datetime | None
    raw: ProbabilityFigures | None
    calibrated: ProbabilityFigures | None
    reason: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**vars(self), "until": self.until and self.until.isoformat(), "raw": self.raw and self.raw.as_dict(),
                "calibrated": self.calibrated and self.calibrated.as_dict()}


def calibrated_figures(
    learnt: LearntCalibrator | None, sessions: pl.DataFrame, positive: np.ndarray, scores: dict[str, np.ndarray], shown: np.ndarray,
    draw: ActorBootstrap, n_bins: int,
) -> CalibratedFigures:
    """Compare raw and calibrated scores on the sessions that start after the calibrator's labels.

    Parameters
    ----------
    learnt
        The calibrator, None where there is none.
    sessions
        Frame with start, in the order of `positive`, of each of `scores`, of `shown` (who has a score that means something) and `draw`.
    n_bins
        Bins of equal mass.
    """
    if learnt is None:
        return CalibratedFigures(None, None, None, None, None, None, None, NONE)
    known = learnt.calibrator
    said = (known.method, learnt.scorer, known.n, known.positives, learnt.until)
    if learnt.scorer not in scores:
        return CalibratedFigures(*said, None, None, f"no scores of '{learnt.scorer}'")
    later = (sessions["start"] >= learnt.until).to_numpy() & (shown if learnt.scorer == "all" else np.ones_like(shown))
    if not later.any():
        return CalibratedFigures(*said, None, None, f"no session starts after {learnt.until:%Y-%m-%d %H:%M:%S}, when its labels end")
    raw = np.clip(scores[learnt.scorer], 0.0, 1.0)
    return CalibratedFigures(
        *said, probability_figures(positive, raw, draw, n_bins, among=later),
        probability_figures(positive, known.apply(raw), draw, n_bins, among=later), None,
    )

