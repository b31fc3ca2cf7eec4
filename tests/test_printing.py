"""What leaves on standard output or into a file: exact where a program reads it, harmless where a person does."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import polars as pl
import pytest

from audit_lab.printing import to_csv, to_json


def rows_of(frame: pl.DataFrame) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(frame))))


@pytest.mark.parametrize("text", ["=HYPERLINK(\"http://x\")", "+1+cmd", "-2+3", "@SUM(A1)"])
def test_no_text_of_an_archive_is_a_formula_in_a_spreadsheet(text: str) -> None:
    (row,) = rows_of(pl.DataFrame({"user": [text], "n": [-5]}))
    assert row == {"user": f"'{text}", "n": "-5"}


def test_csv_holds_every_element_of_a_list_and_every_field_of_a_struct() -> None:
    ids = [f"e-{number}" for number in range(40)]
    frame = pl.DataFrame({"ids": [ids, None], "at": [{"when": datetime(2026, 11, 23, tzinfo=UTC), "n": 1}, None]})
    first, second = rows_of(frame)
    assert json.loads(first["ids"]) == ids
    assert json.loads(first["at"]) == {"when": "2026-11-23T00:00:00+00:00", "n": 1}
    assert second == {"ids": "", "at": ""}


def test_csv_and_json_hold_no_character_that_a_terminal_obeys() -> None:
    hostile = "a\x1b[2J\x9b31m\u202e\U000e0001z"
    frame = pl.DataFrame({"user": [hostile], "list": [[hostile]]})
    for text in (to_csv(frame), to_json(frame)):
        assert all(character.isprintable() or character == "\n" for character in text)
    assert json.loads(to_json(frame)) == [{"user": hostile, "list": [hostile]}]
    assert to_csv(pl.DataFrame({"n": [1]})) == "n\n1\n"


def test_json_has_no_number_that_json_does_not_know() -> None:
    found = to_json({"value": float("nan"), "high": float("inf"), "low": [0.5, None]})
    assert json.loads(found, parse_constant=pytest.fail) == {"value": None, "high": None, "low": [0.5, None]}
