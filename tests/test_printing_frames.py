"""Frames on a terminal: readable at any width, and no word of an id, a name or a rule broken."""

import io

import polars as pl
import pytest
from rich.console import Console

from audit_lab import printing
from audit_lab.cli_case import list_page


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch):
    def at(width: int, frame: pl.DataFrame) -> list[str]:
        console = Console(width=width, highlight=False, record=True, file=io.StringIO())
        monkeypatch.setattr(printing, "out", console)
        printing.print_frame(frame)
        return console.export_text().splitlines()

    return at


WIDE = pl.DataFrame({"case_id": ["c-8d52dd641780611f"], "n_superseded": [1070], "damage": [None],
                     "actors": ["system:serviceaccount:argocd:argocd-application-controller"],
                     "summary": ["The actor listed secrets, which it had not done before, in the namespaces of other teams."]})


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_word_is_broken_and_no_line_is_wider_than_the_screen(printed, width):
    lines = printed(width, WIDE)
    text = "\n".join(lines)
    assert "c-8d52dd641780611f" in text
    assert "system:serviceaccount:argocd:argocd-application-controller" in text
    assert "1,070" in text
    assert max(map(len, lines)) <= width


def test_a_table_where_it_fits_a_block_for_each_row_where_not(printed):
    assert printed(200, WIDE)[0].split() == ["case_id", "n_superseded", "damage", "actors", "summary"]
    narrow = printed(80, WIDE)
    assert narrow[0] == "c-8d52dd641780611f"
    assert narrow[1] == "  n_superseded 1,070  damage –"
    assert narrow[2] == "  actors system:serviceaccount:argocd:argocd-application-controller"


def test_names_of_columns_fold_at_underscores_before_rows_become_blocks(printed):
    frame = pl.DataFrame({f"n_quarantined_{i}": [i] for i in range(5)})
    first, *rest = printed(72, frame)
    assert first.split() == ["n_"] * 5
    assert rest[-1].split() == ["0", "1", "2", "3", "4"]


def test_the_title_of_a_block_says_what_a_bare_number_is(printed):
    assert printed(60, WIDE.with_row_index("place", offset=1).select("place", "actors", "summary"))[0] == "place 1"


def test_a_cut_text_says_so(printed):
    (_, line) = printed(300, pl.DataFrame({"text": ["x" * 500]}))
    assert line.strip() == "x" * (printing.CELL_SHOWN - 1) + "…"


def test_an_empty_frame_prints_its_names(printed):
    assert printed(80, WIDE.clear())[0].split() == ["case_id", "n_superseded", "damage", "actors", "summary"]


def test_the_queue_keeps_ids_and_scores_on_eighty_columns():
    item = {"place": 3, "case_id": "c-8d52dd641780611f", "priority": "P2", "score": 0.8123, "is_blind": False, "n_events": 1637,
            "actors": ["system:serviceaccount:monitoring:prometheus-k8s"], "verdict": None, "is_skipped": False, "summary": "Listed secrets."}
    console = Console(width=80, highlight=False, record=True, file=io.StringIO())
    console.print(*list_page([item], current=""))
    text = console.export_text()
    assert "c-8d52dd64" in text
    assert "0.81" in text
    assert "1,637" in text
