"""Untrusted text, made visible: what a reader sees is what is there.

Escaping markup is jinja2's work (autoescape is on). What escaping leaves is worse to see: characters that
reorder a line, hide in it, or end it. They are shown as marks instead. The same function guards the charts:
one control character in a label makes the SVG converter abort the whole process.

Sources: Unicode Technical Report 36 (security considerations); CVE-2021-42574 (reordering by bidi controls).
"""

from __future__ import annotations

import unicodedata
from typing import Any

from markupsafe import Markup, escape

# Characters without ink that Unicode does not class as format characters: Hangul fillers, the blank Braille cell.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PICTURES = 0x2400  # block of pictures for the C0 controls, in their order
_DELETE = 0x7F
BREAK_FROM = 24  # shorter text never needs a place to break
MAX_MARKS = 3  # combining marks on one letter; more pile up over the neighbouring lines


def visible(value: Any, limit: int | None = None) -> str:
    """Return `value` as one line of text in which every hidden or reordering character shows as a mark.

    Parameters
    ----------
    value
        Anything; None gives ''.
    limit
        Longest result in characters of the original; what is cut is counted at the end.

    >>> visible("pod\\u202egnp.exe\\x1b[31m")
    'pod⟦U+202E⟧gnp.exe␛[31m'
    >>> visible("abcdef", limit=3)
    'abc… (+3)'
    """
    return "".join(text for text, _ in _pieces(value, limit))


def visible_markup(value: Any, limit: int | None = None) -> Markup:
    """Return the same for HTML: escaped, its marks in `<span class="hid">`, long names breakable after ':' and '/'."""
    parts = []
    for text, kind in _pieces(value, limit):
        parts.append(Markup('<span class="{}">{}</span>').format(kind, text) if kind else _breakable(escape(text)))
    return Markup("").join(parts)


def _breakable(text: Markup) -> Markup:
    return text.replace("/", Markup("/<wbr>")).replace(":", Markup(":<wbr>")) if len(text) > BREAK_FROM else text


def clean(value: Any) -> Any:
    """Return a JSON-like value (dicts, lists, strings) with every string in it made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def _pieces(value: Any, limit: int | None) -> list[tuple[str, str]]:
    """Return the pieces of a text with their kind: '' as it is, 'hid' a mark for a hidden character, 'cut' what was left out."""
    if value is None:
        return []
    text = str(value)
    cut = 0 if limit is None or len(text) <= limit else len(text) - limit
    kept = text[: len(text) - cut]
    pieces: list[tuple[str, str]] = []
    if kept.isascii() and kept.isprintable():
        pieces.append((kept, ""))
    else:
        marks = 0
        for character in kept:
            marks = marks + 1 if unicodedata.combining(character) else 0
            shown = _mark(character, marks)
            if shown is not None:
                pieces.append((shown, "hid"))
            elif pieces and not pieces[-1][1]:
                pieces[-1] = (pieces[-1][0] + character, "")
            else:
                pieces.append((character, ""))
    return [*pieces, (f"… (+{cut:,})", "cut")] if cut else pieces


def _mark(character: str, marks: int) -> str | None:
    code = ord(character)
    if code < 0x20:
        return chr(_PICTURES + code)
    if code == _DELETE:
        return "␡"
    category = unicodedata.category(character)
    if category in _HIDDEN_CATEGORIES or character in _BLANK or marks > MAX_MARKS or (category == "Zs" and character != " "):
        return f"⟦U+{code:04X}⟧"
    return None
