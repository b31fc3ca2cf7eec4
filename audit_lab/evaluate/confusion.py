"""Session level: what was flagged, what was malicious, and the rates between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from audit_lab.evaluate.intervals import ActorBootstrap, Rate

BENIGN, LOOK_ALIKE, MALICIOUS = 0, 1, 2
CLASS_NAMES = ("benign", "benign-but-suspicious", "malicious")


@dataclass(frozen=True)
class SessionFigures:
    """Counts and rates over sessions at one threshold; counts are None where nothing was scored."""

    n: int
    malicious: int
    flagged: int | None
    tp: int | None
    fp: int | None
    fn: int | None
    tn: int | None
    recall: Rate
    fpr: Rate
    precision: Rate
    fpr_without_look_alikes: Rate

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {name: value.as_dict() if isinstance(value, Rate) else value for name, value in vars(self).items()}


def session_figures(classes: np.ndarray, flagged: np.ndarray, draw: ActorBootstrap) -> SessionFigures:
    """Count sessions and compute their rates.

    Parameters
    ----------
    classes
        BENIGN, LOOK_ALIKE or MALICIOUS for each session.
    flagged
        Whether each session is flagged.
    draw
        Resamples of actors over the same sessions.

    Returns
    -------
    SessionFigures. The false-positive rate divides by all sessions that are not malicious, look-alikes included
    (DESIGN §3); `fpr_without_look_alikes` leaves these out above and below the line.
    """
    malicious = classes == MALICIOUS
    ordinary = classes == BENIGN
    return SessionFigures(
        n=int(classes.size),
        malicious=int(malicious.sum()),
        flagged=int(flagged.sum()),
        tp=int((flagged & malicious).sum()),
        fp=int((flagged & ~malicious).sum()),
        fn=int((~flagged & malicious).sum()),
        tn=int((~flagged & ~malicious).sum()),
        recall=draw.rate(flagged, malicious, "malicious sessions"),
        fpr=draw.rate(flagged, ~malicious, "sessions that are not malicious"),
        precision=draw.rate(malicious, flagged, "flagged sessions"),
        fpr_without_look_alikes=draw.rate(flagged, ordinary, "sessions without any incident"),
    )


def unscored_figures(classes: np.ndarray, reason: str) -> SessionFigures:
    """Return the figures of a scorer that scored nothing: null with a reason, never 0."""
    malicious = int((classes == MALICIOUS).sum())
    ordinary = int((classes == BENIGN).sum())
    n = int(classes.size)

    def null(denominator: int) -> Rate:
        return Rate(None, None, None, denominator, reason)

    return SessionFigures(
        n, malicious, None, None, None, None, None, null(malicious), null(n - malicious), null(0), null(ordinary)
    )
