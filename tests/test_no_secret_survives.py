"""No planted fake secret, plain or base64, anywhere under a lab folder or in a report (law 4)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import polars as pl
import pytest

from audit_lab import Lab
from audit_lab.archive import read_original


def spellings(canary: str) -> list[bytes]:
    """Plain, and what its base64 form has in common whatever stands before and behind it; also base64 of base64."""
    raw = canary.encode()
    once = [base64.b64encode(b"x" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    twice = [base64.b64encode(b"x" * shift + once[0])[4 if shift else 0 : -4] for shift in range(3)]
    return [raw, *once, *twice]


def leaks(folder: Path, archive: Path) -> list[str]:
    """What was found below a folder: Parquet is searched as the values that it holds, all else as its bytes."""
    canaries = [json.loads(line) for line in (archive / "canaries.jsonl").read_text().splitlines()]
    assert sum(item["occurrences_plain"] > 0 for item in canaries) > 40, "the archive must hold canaries for this to mean anything"
    looked_for = [text.decode() for item in canaries for text in spellings(item["canary"])]
    found = set()
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        text = pl.read_parquet(path).write_ndjson() if path.suffix == ".parquet" else path.read_bytes().decode("latin-1")
        lines = pl.Series(text.split("\n"))
        hits = lines.filter(lines.str.contains_any(looked_for))
        found |= {f"{path.relative_to(folder)}: {line[:200]}" for line in hits}
    return sorted(found)


def whole_flow(folder: Path, archive: Path) -> Lab:
    lab = Lab(folder / "lab", "sample")
    lab.ingest(archive, cluster="c")
    lab.run()
    lab.evaluate(archive / "labels.jsonl")
    lab.report(folder / "reports")
    return lab


def test_nothing_that_the_sample_leaves_behind_holds_a_canary(tmp_path: Path, sample: Path) -> None:
    lab = whole_flow(tmp_path, sample)
    shown = tmp_path / "shown.json"
    cases = lab.store.read("candidates")["case_id"].to_list()
    shown.write_text("\n".join(json.dumps(lab.originals(case, 30)) + lab.prompt(case) for case in cases[:12]))
    assert leaks(tmp_path, sample) == []


def test_masked_originals_hold_no_canary_where_the_record_does(tmp_path: Path, sample: Path) -> None:
    """Records with bodies that hold canaries, read back one by one."""
    from audit_lab.archive import find_archives
    from audit_lab.archive.files import ByteCount, read_lines

    canaries = [json.loads(line)["canary"].encode() for line in (sample / "canaries.jsonl").read_text().splitlines()]
    path = find_archives(sample)[0]
    found = []
    for batch in read_lines(path, 8 << 20, ByteCount()):
        for position, text in zip(batch.position, batch.text, strict=True):
            if b"anary" in text.lower() and any(canary in text for canary in canaries):
                found.append(int(position))
        if len(found) > 300:
            break
    assert len(found) > 100
    for position in found[:: len(found) // 25]:
        masked = json.dumps(read_original(path, position)).encode()
        assert not any(canary in masked for canary in canaries)
        assert b"auditID" in masked


@pytest.mark.slow
def test_nothing_that_the_whole_recording_leaves_behind_holds_a_canary(tmp_path: Path, recordings: Path) -> None:
    whole_flow(tmp_path, recordings / "dev")
    assert leaks(tmp_path, recordings / "dev") == []


def test_the_search_would_find_a_leak(tmp_path: Path, sample: Path) -> None:
    canary = json.loads((sample / "canaries.jsonl").read_text().splitlines()[0])["canary"]
    pl.DataFrame({"a": ["x", "see " + base64.b64encode(b"{" + canary.encode() + b"}").decode()]}).write_parquet(tmp_path / "t.parquet")
    (tmp_path / "page.html").write_text(f"<p>{canary}</p>")
    assert len(leaks(tmp_path, sample)) == 2
