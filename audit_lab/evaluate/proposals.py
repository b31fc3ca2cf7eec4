"""From a chosen threshold to a proposal: what would be set, why, and on what evidence. Nothing changes by itself."""

from __future__ import annotations

from typing import Any

from audit_lab.errors import InputError
from audit_lab.evaluate.neyman_pearson import Promise, rounded_up
from audit_lab.hashing import short_id
from audit_lab.profile import Profile


def threshold_proposal(promise: Promise, profile: Profile, evaluation_id: str = "") -> dict[str, Any]:
    """Return the content of a proposal to use a promised threshold.

    Parameters
    ----------
    promise
        From one of the `calibrate…` functions.
    profile
        The settings in force.
    evaluation_id
        The evaluation whose scores it was learnt from.

    Returns
    -------
    `{proposal_id, kind: 'threshold', changes: {setting: {from, to}}, why, evidence}`; plain JSON. `evaluate.learnt_until` goes with the
    threshold: an evaluation with it counts later sessions only (law 9).

    Raises
    ------
    InputError
        When the promise was refused: there is nothing to propose.
    """
    if promise.threshold is None:
        raise InputError(f"nothing to propose: {promise.reason}", "calibrate on more data, or with a larger limit")
    before = profile.evaluate.learnt_until
    changes = {
        "evaluate.threshold": {"from": profile.evaluate.threshold, "to": rounded_up(promise.threshold)},
        "evaluate.learnt_until": {
            "from": before and before.isoformat(), "to": promise.until and promise.until.isoformat()},
    }
    return {
        "proposal_id": short_id("p", "threshold", profile.digest, str(promise.as_dict()), evaluation_id),
        "kind": "threshold", "changes": changes, "why": promise.says(), "evidence": promise.as_dict() | {"evaluation_id": evaluation_id},
    }


def profile_lines(proposal: dict[str, Any]) -> str:
    """Return a proposal as lines of a profile (TOML), ready to be pasted.

    >>> print(profile_lines({"changes": {"evaluate.threshold": {"from": 0.5, "to": 0.62}}}))
    [evaluate]
    threshold = 0.62
    """
    sections: dict[str, list[str]] = {}
    for setting, change in proposal["changes"].items():
        section, _, key = setting.partition(".")
        value = change["to"]
        if value is not None:
            sections.setdefault(section, []).append(f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}")
    return "\n".join(f"[{section}]\n" + "\n".join(lines) for section, lines in sections.items())
