"""Untrusted text is shown as what it is."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_lab.visible import clean, visible, visible_markup


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("plain name-1", "plain name-1"),
        ("한국어 이름", "한국어 이름"),
        ("naïve", "naïve"),
        ("a\nb\tc", "a␊b␉c"),
        ("\x1b[31mred", "␛[31mred"),
        ("user\u202eexe.dob", "user⟦U+202E⟧exe.dob"),
        ("zero\u200bwidth\ufeff", "zero⟦U+200B⟧width⟦U+FEFF⟧"),
        ("tag\U000e0041", "tag⟦U+E0041⟧"),
        ("half \ud800", "half ⟦U+D800⟧"),
        ("no\u00a0break", "no⟦U+00A0⟧break"),
        ("filler\u3164", "filler⟦U+3164⟧"),
        ("nothing\x00here\x7f", "nothing␀here␡"),
        (None, ""),
        (7, "7"),
    ],
)
def test_hidden_characters_show_as_marks(given_text: object, shown: str) -> None:
    assert visible(given_text) == shown


def test_accents_stay_but_piles_of_them_do_not() -> None:
    assert visible("e" + "\u0301" * 3) == "e" + "\u0301" * 3
    assert visible("e" + "\u0301" * 5) == "e" + "\u0301" * 3 + "⟦U+0301⟧" * 2


def test_markup_is_escaped_and_marks_are_coloured() -> None:
    assert str(visible_markup("<b>\x07")) == '&lt;b&gt;<span class="hid">␇</span>'


def test_long_names_may_break_but_keep_their_text() -> None:
    name = "system:serviceaccount:a-long-namespace/with-a-path"
    assert str(visible_markup(name)).replace("<wbr>", "") == name
    assert ":<wbr>" in str(visible_markup(name))


def test_what_is_cut_is_counted() -> None:
    assert visible("x" * 1500, limit=10) == "x" * 10 + "… (+1,490)"


@given(st.text(st.characters(), max_size=60))
def test_nothing_hidden_is_left(text: str) -> None:
    for shown in (visible(text), visible_markup(text).unescape()):
        assert not [character for character in shown if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    visible(text).encode("utf-8")


def test_clean_reaches_keys_and_lists() -> None:
    assert clean({"a\x00": ["b\x1b", 1, None, {"c": "\u202e"}]}) == {"a␀": ["b␛", 1, None, {"c": "⟦U+202E⟧"}]}
