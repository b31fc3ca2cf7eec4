"""Law: sessions that begin later change no signal of an earlier one, by whichever detector, and what rules find in them is no routine yet."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from outlier_frames import START, make_signals, world

from audit_lab.profile import SignalSettings
from audit_lab.signals.fusion import rank_cases
from audit_lab.signals.outliers import OUTLIERS, find_outliers

SETTINGS = SignalSettings(min_peers=12, neighbours=3, detectors=list(OUTLIERS))
KINDS = ("human", "service_account", "node", "controller", "anonymous", "unauthenticated")
DEEDS = (
    {}, {"verb": "list", "resource": "secrets"}, {"verb": "create", "subresource": "exec", "command_classes": ["shell"]},
    {"verb": "delete"}, {"verb": "get", "resource": "secrets", "status": 403, "decision": "forbid"},
)
BEFORE, AFTER, CUT = 150, 150, 600


def visit(draw: np.random.Generator, at: float, shares: list[float]) -> dict:
    kind = str(draw.choice(KINDS, p=shares))
    network = int(draw.integers(3))
    return {
        "at": int(at), "user": f"{kind}-{draw.integers(4)}", "actor_kind": kind, "source_ip": f"10.0.{network}.1",
        "source_class": "public" if network == 2 else "private", "client_family": str(draw.choice(["kubectl", "http_library"])),
        "deeds": [DEEDS[draw.integers(len(DEEDS))] for _ in range(draw.integers(1, 4))],
        # Some run on past the end of the early ones, and many at the same time.
        "minutes": int(draw.choice([1, 5, 40, 400], p=[0.5, 0.3, 0.15, 0.05])),
    }


def grown(seed: int):
    """Two thirds of the kinds are rare before the cut and common after it; many sessions begin and end at the same minute."""
    draw = np.random.default_rng(seed)
    few, even = [0.5, 0.3, 0.05, 0.05, 0.05, 0.05], [1 / 6] * 6
    early = [visit(draw, draw.integers(0, CUT), few) for _ in range(BEFORE)]
    late = [visit(draw, CUT + draw.integers(0, CUT), even) for _ in range(AFTER)]
    sessions, events, placed = world(*early, *late)
    n = sessions.height
    places = draw.normal(size=(12, 8))
    vectors = places[draw.integers(0, 12, n)] + draw.choice([0, 0, 0.001, 0.3], size=(n, 1)) * draw.normal(size=(n, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    features = pl.DataFrame({
        "session_id": sessions["session_id"], "n_events": draw.poisson(4, n), "n_secrets": draw.poisson(1, n),
        "share_denied": draw.choice([0, 0.25, 1 / 3], n), "step_bits_max": np.where(draw.random(n) < 0.2, np.nan, draw.normal(size=n).round(1)),
    })
    return sessions, events, placed, vectors, features


def found(sessions, events, placed, vectors, features, rows) -> pl.DataFrame:
    some = sessions[rows]
    inside = placed.join(some, on="session_id", how="semi")
    return find_outliers(some, events.join(inside, on="event_id", how="semi"), inside, SETTINGS, vectors[rows], features[rows])


@pytest.mark.parametrize("seed", range(4))
def test_sessions_that_begin_later_change_no_signal_of_earlier_ones(seed, monkeypatch):
    monkeypatch.setattr("audit_lab.signals.isolation.N_TREES", 8)
    made = grown(seed)
    begun = (made[0]["start"] < START + timedelta(minutes=CUT)).to_numpy()
    draw = np.random.default_rng(seed)
    before = found(*made, draw.permutation(np.flatnonzero(begun)))
    after = found(*made, draw.permutation(len(begun)))
    early = pl.col("session_id").is_in(made[0]["session_id"].filter(pl.Series(begun)).implode())
    kept = after.filter(early)
    assert set(before["detector_id"]) == set(OUTLIERS)
    assert before["p_value"].null_count() < before.height / 2
    differing = before.join(kept, on=before.columns, how="anti", nulls_equal=True)
    assert differing.is_empty(), differing.select("session_id", "detector_id", "strength", "p_value")
    assert kept.equals(before)


@pytest.mark.parametrize("seed", range(4))
def test_hits_of_sessions_that_begin_later_are_no_routine_of_earlier_ones(seed):
    sessions = grown(seed)[0]
    draw = np.random.default_rng(seed)
    signals = make_signals(*(
        {"session_id": name, "detector_id": f"r{rule}", "kind": kind, "strength": 0.5}
        for name in sessions["session_id"] for rule, kind in enumerate(("rule", "rule", "correlation")) if draw.random() < 0.5))
    early = sessions.filter(pl.col("start") < START + timedelta(minutes=CUT))

    def scores(some: pl.DataFrame) -> pl.DataFrame:
        some = some.sample(fraction=1.0, shuffle=True, seed=seed)
        made = rank_cases(some, signals.join(some, on="session_id", how="semi"), SETTINGS).scores
        return made.join(early, on="session_id", how="semi").sort("session_id", "detector_id")

    before = scores(early)
    assert before.filter(detector_id="rules")["score"].n_unique() > early.height / 4, "routine lowers hits by what came before"
    assert scores(sessions).equals(before)
