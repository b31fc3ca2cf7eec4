"""Labels from CSV: every bad row is told by its line, every good one keeps who, when and why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_lab.errors import InputError
from audit_lab.review import read_label_file

HEADER = "target_id,verdict,author,at,reason"
GOOD = "c-1,benign,kim,2026-11-23T09:00:00Z,planned"


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def test_rows_keep_target_author_time_and_reason(tmp_path: Path) -> None:
    rows = read_label_file(write(
        tmp_path, HEADER + ",minutes", '', 'c-1,Benign but suspicious,kim,2026-11-23T10:00:00+01:00,"a, ""quoted"" word",2.5',
        "s-2,malicious,lee,2026-11-23 09:00:00,,", "inc-7,unsure,lee,2026-11-23,,"))
    assert [(row.target_kind, row.target_id, row.verdict, row.author, row.reason, row.minutes) for row in rows] == [
        ("case", "c-1", "benign-but-suspicious", "kim", 'a, "quoted" word', 2.5), ("session", "s-2", "malicious", "lee", None, None),
        ("incident", "inc-7", "unsure", "lee", None, None)]
    assert {row.at for row in rows[:2]} == {datetime(2026, 11, 23, 9, tzinfo=UTC)}
    assert rows[0].where.endswith("line 3")


def test_a_file_as_a_spreadsheet_saves_it(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(("\ufeff" + HEADER.upper() + "\r\n" + GOOD + "\r\n").encode())
    assert len(read_label_file(path)) == 1


@pytest.mark.parametrize(("lines", "said"), [
    ((), "holds no label.*the first line names the columns: target_id,verdict,author,at"),
    ((HEADER,), "holds no label"),
    (("target_id,verdict,at", GOOD), "line 1: missing column 'author'"),
    (("target_id;verdict;author;at", GOOD), "line 1: unknown column 'target_id;verdict;author;at'.*separated by commas"),
    ((HEADER + ",reason", GOOD), "line 1: twice the column 'reason'"),
    ((HEADER, GOOD, "c-1,benign,kim"), "line 3: 3 values, the header names 5"),
    ((HEADER, "c-1,wrong,kim,2026-11-23,x"), "line 2: no verdict 'wrong'.*malicious, benign"),
    ((HEADER, "c-1,withdrawn,kim,2026-11-23,x"), "line 2: no verdict 'withdrawn'"),
    ((HEADER, "c-1,benign,,2026-11-23,x"), "line 2: 'author' is empty"),
    ((HEADER, "c-1,benign,kim,yesterday,x"), "line 2: 'at' is no time: 'yesterday'"),
    ((HEADER + ",minutes", GOOD + ",-1"), "line 2: 'minutes' is no time spent: '-1'"),
    ((HEADER + ",minutes", GOOD + ",inf"), "line 2: 'minutes' is no time spent"),
    ((HEADER + ",target_kind", GOOD + ",pod"), "line 2: a label for a 'pod'"),
    ((HEADER, 'c-1,benign,kim,2026-11-23,"open'), "line 2: no CSV"),
    ((HEADER, '"c-1\nc-2",benign,kim,2026-11-23,ok', "c-3,maybe,kim,2026-11-23,x"), "line 4: no verdict 'maybe'"),
])
def test_a_bad_row_is_told_by_its_line(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_label_file(write(tmp_path, *lines))


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_label_file(write(tmp_path, HEADER, GOOD.replace("planned", "geplänt"), encoding="latin-1"))
    with pytest.raises(InputError, match="is not there"):
        read_label_file(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is not there"):
        read_label_file(tmp_path)


@given(st.text(max_size=200))
def test_whatever_is_in_a_file_it_is_read_or_told_in_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "labels.csv"
    path.write_text(f"{HEADER}\n{text}", encoding="utf-8", errors="replace")
    try:
        assert read_label_file(path)
    except InputError as error:
        assert "\n" not in str(error)
