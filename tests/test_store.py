from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from audit_lab import store as store_module
from audit_lab import tables
from audit_lab.errors import ContractError, LabError
from audit_lab.store import Store


def rows(*ids: str) -> pl.DataFrame:
    return pl.DataFrame({"event_id": list(ids), "session_id": ["s"] * len(ids)})


def test_a_reader_keeps_its_files_while_a_writer_replaces_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab")
    store.replace("session_events", rows("a"))
    held = store.scan("session_events")
    store.replace("session_events", rows("b", "c"))
    assert held.collect()["event_id"].to_list() == ["a"]
    assert store.read("session_events")["event_id"].to_list() == ["b", "c"]


def test_old_files_are_swept_after_their_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "lab")
    store.replace("session_events", rows("a"))
    first = store.files("session_events")[0]
    monkeypatch.setattr(store_module, "GRACE_S", -10.0)
    store.replace("session_events", rows("b"))
    assert not first.exists()
    assert store.read("session_events").height == 1


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab")
    with store.writing(), pytest.raises(LabError, match="another run is writing"), Store(tmp_path / "lab").writing():
        pass
    with store.writing():
        pass


def test_several_tables_change_in_one_step(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab")
    store.replace_many({"session_events": (rows("a"), "x"), "labels": (tables.empty("labels"), "y")})
    assert (store.inputs("session_events"), store.inputs("labels"), store.inputs("events")) == ("x", "y", None)


def test_the_digest_ignores_order_and_clock(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "1"), Store(tmp_path / "2")
    one.replace("session_events", rows("a", "b"))
    two.replace("session_events", rows("b", "a"))
    assert one.digest("session_events") == two.digest("session_events")
    two.replace("session_events", rows("b", "c"))
    assert one.digest("session_events") != two.digest("session_events")


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pl.DataFrame({"event_id": ["a"]}), "missing columns ['session_id']"),
        (rows("a").with_columns(x=1), "unknown columns ['x']"),
        (rows("a").with_columns(event_id=pl.lit(1)), "is Int32, expected String"),
        (rows("a").with_columns(session_id=pl.lit(None, pl.String)), "has 1 nulls"),
    ],
)
def test_a_frame_that_breaks_the_contract_is_refused(tmp_path: Path, frame: pl.DataFrame, says: str) -> None:
    with pytest.raises(ContractError) as caught:
        Store(tmp_path / "lab").replace("session_events", frame)
    assert says in str(caught.value)


def test_a_damaged_manifest_and_a_file_in_the_way_are_told(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "manifest.json").write_text("{")
    with pytest.raises(LabError, match="manifest of lab .* is damaged"):
        Store(tmp_path / "lab").manifest()
    (tmp_path / "file").write_text("x")
    with pytest.raises(LabError, match="is a file, not a lab folder"):
        Store(tmp_path / "file").manifest()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_right_to_write_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LabError, match="cannot be written"), Store(tmp_path / "lab").writing():
        pass


def test_tables_of_an_earlier_version_get_null_for_what_it_did_not_know(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab")
    store.replace("exceptions", pl.DataFrame(
        [{"exception_id": "a", "scope": "s", "owner": "o", "reason": "r", "expires": None, "n_hidden": 1}], schema=tables.TABLES["exceptions"].schema))
    file = store.files("exceptions")[0]
    pl.read_parquet(file).drop("expires").write_parquet(file)
    assert store.read("exceptions")["expires"].to_list() == [None]
    pl.read_parquet(file).drop("owner").write_parquet(file)
    with pytest.raises(LabError, match="table 'exceptions' .* was made by another version"):
        store.read("exceptions")


def test_an_append_does_not_wait_for_a_run_and_neither_loses_the_others_tables(tmp_path: Path) -> None:
    store, other = Store(tmp_path / "lab"), Store(tmp_path / "lab")
    with store.writing():
        store.replace("session_events", rows("a"))
        with other.appending("labels"):
            other.replace("labels", tables.empty("labels"), "review")
        store.replace("sessions", tables.empty("sessions"), "run")
    assert (store.rows("session_events"), store.inputs("labels"), store.inputs("sessions")) == (1, "review", "run")


def test_two_appends_wait_for_each_other_and_say_so_when_it_takes_too_long(tmp_path: Path) -> None:
    store = Store(tmp_path / "lab")
    said = "another process has been adding to labels of lab .* nothing was kept .hint: try again"
    with store.appending("labels"), pytest.raises(LabError, match=said), Store(tmp_path / "lab").appending("labels", patience_s=0.1):
        pass
    with store.appending("labels"):
        pass


def test_processes_that_add_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, polars as pl\n"
        "from datetime import UTC, datetime\n"
        "from audit_lab.review import new_label\n"
        "from audit_lab.reviewing import add_labels\n"
        "from audit_lab.store import Store\n"
        "store = Store(sys.argv[1])\n"
        "for k in range(8):\n"
        "    add_labels(store, new_label('case', f'c-{k}', 'unsure', sys.argv[2], datetime(2026, 1, 1, tzinfo=UTC)))\n"
    )
    going = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "lab"), name]) for name in ("kim", "lee")]
    assert [process.wait(120) for process in going] == [0, 0]
    assert Store(tmp_path / "lab").read("labels").group_by("author").len().sort("author").rows() == [("kim", 8), ("lee", 8)]
