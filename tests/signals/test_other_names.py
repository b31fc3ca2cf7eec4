"""No rule, weight or feature may know a name of the recording: with other names the same sessions stand out."""

import re
from pathlib import Path

import polars as pl
import pytest

from audit_lab.lab import Lab
from benchmarks.variants import rename

DATA = Path(__file__).parent.parent.parent / "data"
WITHOUT_MODEL = ["rules", "new-access", "new-deed", "odd-sequence", "odd-numbers", "isolation", "new-combination"]


def fused(archives: Path, folder: Path) -> pl.DataFrame:
    """The fused score of each session, under the event that it begins with."""
    lab = Lab(folder, "sample")
    lab.ingest(archives)
    lab.run(until="candidates", detectors=WITHOUT_MODEL)
    first = (
        lab.session_events.join(lab.events.select("event_id", "time"), on="event_id").sort("time", "event_id")
        .group_by("session_id").agg(pl.col("event_id").first())
    )
    return lab.scores.filter(pl.col("detector_id") == "fused").join(first, on="session_id").select("event_id", "score").collect()


@pytest.mark.slow
def test_with_other_names_the_same_sessions_stand_out(tmp_path: Path) -> None:
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    taken = rename(DATA, renamed)
    people = [name for name in taken if "@" in name]
    assert len(people) >= 10, "the sample has people with names"
    text = "".join(pl.read_csv(path, separator="\x01", has_header=False, quote_char=None, truncate_ragged_lines=True)
                   .to_series().str.join("").item() for path in sorted(renamed.glob("*.gz")))
    assert not [name for name in people if re.search(rf'"username":"{re.escape(name)}"', text)]
    before, after = fused(DATA, tmp_path / "a"), fused(renamed, tmp_path / "b")
    both = before.join(after, on="event_id", how="inner", suffix="_renamed")
    assert both.height >= 0.98 * max(before.height, after.height)
    assert (both["score"] - both["score_renamed"]).abs().quantile(0.95) < 0.02
    assert pl.select(pl.corr(both["score"].rank(), both["score_renamed"].rank())).item() > 0.98
    flagged = [set(both.filter(pl.col(column) >= 0.5)["event_id"]) for column in ("score", "score_renamed")]
    assert len(flagged[0] ^ flagged[1]) <= 0.1 * len(flagged[0] | flagged[1])
