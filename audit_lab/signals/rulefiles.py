"""Rule files as documents: one slip of YAML costs the document it stands in, not the rules beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from sigma.rule.base import SigmaYAMLLoader

# Dates and numbers that are none, keys that are no texts: the loader meets them with errors of Python's own.
YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, RecursionError, AttributeError)


class Document(NamedTuple):
    """One YAML document of a rule file: its `content`, or why it cannot be read, with the title and name that its text shows."""

    content: Any
    unreadable: str = ""
    title: str = ""
    name: str = ""


def read_documents(path: Path) -> list[Document]:
    """Return the documents of a file; those that are no YAML with the reason, by line of the file, the others whole."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return [Document(None, f"not readable as YAML: {one_line(error)}")]
    try:
        return [Document(content) for content in yaml.load_all(raw.decode("utf-8"), Loader=SigmaYAMLLoader)]
    except YAML_ERRORS:
        return list(_one_by_one(raw))


def _one_by_one(raw: bytes) -> Iterator[Document]:
    # Three dashes at the start of a line begin a document wherever they stand in YAML.
    starts = [0, *(match.start() for match in re.finditer(rb"^---(?=\s|$)", raw, re.MULTILINE)), len(raw)]
    for begin, end in pairwise(starts):
        piece = raw[begin:end]
        if not piece.strip():
            continue
        try:
            # Empty lines instead of what comes before: errors name the line in the file.
            text = "\n" * raw.count(b"\n", 0, begin) + piece.decode("utf-8")
            contents = list(yaml.load_all(text, Loader=SigmaYAMLLoader))
        except YAML_ERRORS as error:
            name = _stated(piece, b"name") or _stated(piece, b"id")
            yield Document(None, f"not readable as YAML: {one_line(error)}", _stated(piece, b"title"), name)
        else:
            yield from map(Document, contents)


def _stated(piece: bytes, key: bytes) -> str:
    """Return what follows a key at the start of a line, '' if nothing.

    >>> _stated(b"title: 'A rule'\\nname: [", b"title")
    'A rule'
    """
    found = re.search(rb"^" + key + rb":[ \t]*(\S[^\r\n]*)", piece, re.MULTILINE)
    return found[1].decode("utf-8", "replace").strip().strip("'\"")[:200] if found else ""


def one_line(error: Exception) -> str:
    """Return the words of an error in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
