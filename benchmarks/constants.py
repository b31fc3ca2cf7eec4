"""How much hangs on the constants of fusion: each of them changed alone, on the same signals.

    python benchmarks/constants.py [RECORDING]

They were set by judgement; on the development recording the figures are in-sample. They show whether the results hang on a choice.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).parent.parent))

from audit_lab.evaluate import evaluate
from audit_lab.lab import Lab
from audit_lab.signals import fusion

ROOT = Path(__file__).parent.parent
SETTINGS = {"repeat": (0.4, 0.8), "usual_access": (0.3, 0.7)}
CONSTANTS: dict[str, tuple[Any, ...]] = {
    "WEAK": (0.15, 0.6), "WEIGHTS": ({"new-deed": 0.5}, {"new-deed": 1.0}), "LEAST_ROUTINE": (0.0, 0.3),
    "ECHO": (dict.fromkeys(("controller", "node"), 0.1), dict.fromkeys(("controller", "node"), 0.6)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", nargs="?", default=ROOT / "data", type=Path)
    recording = parser.parse_args().recording
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(folder, profile="sample")
        lab.ingest(recording)
        lab.run()
        lab.label(next(path for path in (recording / "labels.jsonl", recording / "incidents.jsonl") if path.is_file()))
        print(table(lab))


def table(lab: Lab) -> str:
    """Return found incidents, average precision and false alarms of the fused score, a line per changed constant."""
    read = lab.store.read
    scores = [_fused(lab, "as it is")]
    scores += [_fused(lab, f"{name} {value}", settings={name: value}) for name, values in SETTINGS.items() for value in values]
    scores += [_fused(lab, f"{name} {value}", constants={name: value}) for name, values in CONSTANTS.items() for value in values]
    result = evaluate(
        read("sessions"), read("session_events"), read("events").select("event_id", "time"), read("incidents"), lab.standing_labels(),
        pl.concat(scores), read("candidates"), read("verdicts"), lab.profile.evaluate,
    )
    lines = ["| constant | 1 % | 2 % | 5 % | 10 % | 20 % | average precision | false alarms at 0.5 |", "|---|---|---|---|---|---|---|---|"]
    for name in (frame["detector_id"][0] for frame in scores):
        block, found = result.blocks[name], [str(point["found"]) for point in result.curve[name]]
        lines.append(f"| {name} | {' | '.join(found)} | {block.average_precision.value:.3f} | {block.sessions.as_dict()['fp']} |")
    return "\n".join(lines)


def _fused(lab: Lab, name: str, settings: dict[str, Any] | None = None, constants: dict[str, Any] | None = None) -> pl.DataFrame:
    read = lab.store.read
    kept = {key: getattr(fusion, key) for key in constants or {}}
    for key, value in (constants or {}).items():
        setattr(fusion, key, value)
    try:
        made = fusion.rank_cases(
            read("sessions"), read("signals"), lab.profile.signals.model_copy(update=settings or {}), read("stories"))
    finally:
        for key, value in kept.items():
            setattr(fusion, key, value)
    return made.scores.filter(detector_id="fused").with_columns(detector_id=pl.lit(name))


if __name__ == "__main__":
    main()
