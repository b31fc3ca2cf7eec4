"""Evaluate once on the later recording, beside the one everything was built on, and append the figures to docs/heldout.md.

    make heldout        (the recordings: AUDIT_LAB_RECORDINGS, or the folder shared/data beside the checkout)

Nobody tunes on the later recording: its labels are read here and nowhere else, once per issue.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from audit_lab import AuditLabError, Lab
from audit_lab.evaluate import Evaluation, evaluate
from audit_lab.profile_files import load_profile
from benchmarks.bench_detectors import evaluate_all

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "heldout.md"
HEAD = """# Held-out figures

Appended by `make heldout`, once per piece of work, with the commit. `dev` is the recording everything was built and tuned on
(in-sample); `dev-later` is the same cluster later, with drift; its labels are read by this command only. Intervals are 95 %:
bootstrap over actors for session rates, exact ones for incidents. Both are one small cluster.
"""
QUICK = "quick: rank fusion of the four"
OURS = ("fused", "all")
AFTER = "dev-later after dev"
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)


def main() -> None:
    recordings = Path(os.environ.get("AUDIT_LAB_RECORDINGS", ROOT.parent / "shared" / "data"))
    if not (recordings / "dev-later").is_dir():
        sys.exit("the recordings are not here (hint: set AUDIT_LAB_RECORDINGS)")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()
    results = {name: _evaluate(recordings / name) for name in ("dev", "dev-later")}
    results[AFTER] = _evaluate_after(recordings / "dev", recordings / "dev-later")
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else HEAD
    PAGE.write_text(text + _section(commit, results), encoding="utf-8")
    print(_section(commit, results))


def _evaluate(folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        lab = Lab(Path(scratch) / "lab", "sample")
        started = time.monotonic()
        lab.ingest(folder, cluster=folder.name)
        lab.run()
        took = time.monotonic() - started
        result = lab.evaluate(folder / "labels.jsonl", split=folder.name).as_dict()
        beside = evaluate_all(lab)
        return result | {"flow": lab.summary(), "took_s": took, "curve": beside.curve, "paired": paired_differences(beside)}


def _evaluate_after(past: Path, folder: Path) -> dict[str, Any]:
    """Evaluate the later recording in a lab that holds the earlier one too: sessions are compared with what was known before them.

    Both fall on one calendar day, which a lab of each alone has to itself; so here that day has twice the budget.
    """
    with tempfile.TemporaryDirectory() as scratch:
        profile = load_profile("sample")
        signals = profile.signals.model_copy(update={"budget_cases": 2 * profile.signals.budget_cases})
        lab = Lab(Path(scratch) / "lab", profile.model_copy(update={"signals": signals}))
        lab.ingest(past, cluster="dev")
        ended: Any = lab.store.scan("events").select(pl.col("time").max()).collect().item()
        lab.ingest(folder, cluster="dev")
        started = time.monotonic()
        lab.run()
        took = time.monotonic() - started
        lab.label(folder / "labels.jsonl")
        read = lab.store.read
        sessions = read("sessions").filter(pl.col("start") > ended)
        inside = read("session_events").join(sessions, on="session_id", how="semi")
        result = evaluate(
            sessions, inside, read("events").select("event_id", "time"), read("incidents"), lab.standing_labels(),
            read("scores").join(sessions, on="session_id", how="semi"), read("candidates"), read("verdicts"), lab.profile.evaluate,
            split=AFTER,
        )
        return result.as_dict() | {
            "flow": {"events": inside.height, "sessions": sessions.height}, "took_s": took, "curve": result.curve, "paired": {},
        }


def paired_differences(evaluation: Evaluation) -> dict[str, list[tuple[int, int, int]]]:
    """Return, for ours and each share, incidents found more than by the quick fusion: difference, and its 95 % interval.

    Both scorers look at the same incidents, so incidents are resampled together (paired bootstrap, 5,000 resamples).
    """
    def found(scorer: str, share: float) -> np.ndarray:
        limit = next(point["threshold"] for point in evaluation.curve[scorer] if round(point["share"], 4) == share)
        own = evaluation.incident_scores.filter(pl.col("scorer") == scorer).sort("incident_id")
        malicious = evaluation.incident_rows.filter("malicious")["incident_id"]
        scores = own.filter(pl.col("incident_id").is_in(malicious.implode()))["score"].fill_null(-1).to_numpy()
        return (scores >= limit if limit is not None else np.zeros(len(scores), bool)).astype(int)

    draw = np.random.default_rng(7)
    differences: dict[str, list[tuple[int, int, int]]] = {}
    for scorer in OURS:
        for share in SHARES:
            gain = found(scorer, share) - found(QUICK, share)
            sums = gain[draw.integers(0, len(gain), (5000, len(gain)))].sum(axis=1)
            low, high = np.percentile(sums, [2.5, 97.5])
            differences.setdefault(scorer, []).append((int(gain.sum()), round(low), round(high)))
    return differences


def _section(commit: str, results: dict[str, dict[str, Any]]) -> str:
    lines = [f"\n## {time.strftime('%Y-%m-%d')}, commit {commit}\n", f"| | dev (in-sample) | dev-later | {AFTER} |", "|---|---|---|---|"]
    for name, pick in _ROWS:
        lines.append(f"| {name} | " + " | ".join(pick(result) for result in results.values()) + " |")
    lines.append("\nIncidents found when a share of the non-malicious sessions is let through:\n")
    lines += ["| scorer | data | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |", "|---|---|" + "---|" * len(SHARES)]
    for scorer in results["dev"]["curve"]:
        for name, result in results.items():
            if scorer not in result["curve"]:
                continue
            points = {round(point["share"], 4): point for point in result["curve"].get(scorer, [])}
            cells = [_found(points.get(share)) for share in SHARES]
            lines.append(f"| {scorer} | {name} | " + " | ".join(cells) + " |")
    lines.append(f"\nIncidents found more than by `{QUICK}` on the same incidents (paired bootstrap over incidents, 95 %):\n")
    lines += ["| scorer | data | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |", "|---|---|" + "---|" * len(SHARES)]
    for scorer in OURS:
        for name, result in results.items():
            if scorer not in result["paired"]:
                continue
            cells = [f"{gain:+d} ({low:+d} to {high:+d})" for gain, low, high in result["paired"][scorer]]
            lines.append(f"| {scorer} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _found(point: dict[str, Any] | None) -> str:
    return "–" if not point or point.get("found") is None else str(point["found"])


def _rate(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return "–"
    return f"{rate['value']:.3f}" if rate["low"] is None else f"{rate['value']:.3f} ({rate['low']:.3f}–{rate['high']:.3f})"


_ROWS = (
    ("events, sessions", lambda r: f"{r['flow']['events']:,}, {r['flow']['sessions']:,}"),
    ("malicious sessions, flagged", lambda r: f"{r['sessions']['malicious']}, {r['sessions']['flagged']}"),
    ("incidents found", lambda r: f"{r['incidents']['found']} of {r['incidents']['n']}"),
    ("incidents missed", lambda r: ", ".join(r["incidents"]["missed"]) or "none"),
    ("session recall", lambda r: _rate(r["sessions"]["recall"])),
    ("false-positive rate", lambda r: _rate(r["sessions"]["fpr"])),
    ("precision", lambda r: _rate(r["sessions"]["precision"])),
    ("average precision", lambda r: _rate({"value": r["average_precision"]} | r["average_precision_interval"])),
    ("look-alikes flagged", lambda r: f"{r['benign_suspicious']['flagged']} of {r['benign_suspicious']['n']}"),
    ("seconds for ingest and run", lambda r: f"{r['took_s']:.0f}"),
)

if __name__ == "__main__":
    try:
        main()
    except AuditLabError as error:
        sys.exit(str(error))
