"""Incident files: what is read, and the one line that is said about a bad one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.review import read_incidents

GOOD = {
    "incident_id": "i-1", "title": "Secrets read", "malicious": True, "technique_ids": ["T1552"],
    "start": "2026-11-23T05:00:00.000001Z", "end": "2026-11-23T06:05:00+01:00", "users": ["u"], "source_ips": ["10.0.0.1"],
    "audit_ids": ["e1", "e2"],
}


def write(folder: Path, *lines: object) -> Path:
    path = folder / "incidents.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_reads_all_keys_and_keeps_the_others(tmp_path: Path) -> None:
    benign = {**GOOD, "incident_id": "i-2", "malicious": False, "reason": "backup", "category": "x"}
    frame = read_incidents(write(tmp_path, GOOD, "", benign))
    tables.check(frame, "incidents")
    first, second = frame.to_dicts()
    assert first["start"] == datetime(2026, 11, 23, 5, 0, 0, 1, tzinfo=UTC)
    assert first["end"] == datetime(2026, 11, 23, 5, 5, tzinfo=UTC)
    assert first["audit_ids"] == ["e1", "e2"]
    assert first["reason"] is None
    assert first["other"] is None
    assert (second["malicious"], second["reason"], json.loads(second["other"])) == (False, "backup", {"category": "x"})


def test_byte_order_mark_carriage_returns_and_missing_optional_keys(tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"incident_id": "a", "malicious": true, "audit_ids": ["e"], "users": null}\r\n')
    assert read_incidents(path).select("title", "users", "start").row(0) == ("", [], None)


@pytest.mark.parametrize(("line", "says"), [
    ("{", "not JSON"),
    ("[1]", "a JSON list, not an object"),
    ("[" * 100_000, "nested too deeply"),
    ({**GOOD, "malicious": "yes"}, "'malicious' is text, expected true or false"),
    ({key: value for key, value in GOOD.items() if key != "malicious"}, "'malicious' is missing"),
    ({**GOOD, "incident_id": ""}, "'incident_id' is text, expected text"),
    ({**GOOD, "incident_id": 7}, "'incident_id' is number"),
    ({**GOOD, "audit_ids": "e1"}, "'audit_ids' is text, expected a list of texts"),
    ({**GOOD, "users": [1]}, "'users' is list, expected a list of texts"),
    ({**GOOD, "start": "yesterday"}, "'start' is no time"),
    ({**GOOD, "start": 17}, "'start' is no time"),
    ({**GOOD, "start": "2027-01-01T00:00:00Z"}, "'start' is after 'end'"),
    ({**GOOD, "audit_ids": [], "users": [], "source_ips": []}, "nothing to match events by"),
    ({**GOOD, "audit_ids": [], "end": None}, "nothing to match events by"),
    ({**GOOD, "title": "\ud800"}, "half a Unicode character"),
])
def test_a_bad_line_is_named(tmp_path: Path, line: object, says: str) -> None:
    path = write(tmp_path, GOOD, line)
    with pytest.raises(InputError) as caught:
        read_incidents(path)
    text = str(caught.value)
    assert says in text
    assert "line 2" in text
    assert "hint: " in text
    assert "\n" not in text


def test_the_same_id_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: its incident_id stands already on line 1"):
        read_incidents(write(tmp_path, GOOD, GOOD))


def test_unusable_files_are_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "b"
    binary.write_bytes(b"\x1f\x8b\x08\x00\xff\xfe")
    empty = tmp_path / "e"
    empty.write_text("\n\n")
    missing = tmp_path / "none"
    for path, says in ((missing, "no incident file"), (tmp_path, "is a folder"), (binary, "is not UTF-8"), (empty, "holds no incident")):
        with pytest.raises(InputError, match=says):
            read_incidents(path)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = st.sampled_from([*GOOD, "x"])
ANY_JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=12)


@settings(max_examples=60, deadline=None)
@given(ANY_JSON)
def test_any_json_is_read_or_refused_by_an_input_error(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("any") / "i.jsonl"
    path.write_text(json.dumps(value))
    try:
        frame = read_incidents(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(tables.check(frame, "incidents"), pl.DataFrame)


def test_secrets_in_an_incident_file_are_masked(tmp_path):
    path = tmp_path / "incidents.jsonl"
    path.write_text('{"incident_id": "i", "title": "used token=hunter2x", "malicious": false, "technique_ids": [], "users": ["u"], '
                    '"source_ips": [], "audit_ids": ["a"], "reason": "password=hunter2x was old", "user_agents": ["curl token=hunter2x"]}\n')
    assert "hunter2x" not in read_incidents(path).write_ndjson()
