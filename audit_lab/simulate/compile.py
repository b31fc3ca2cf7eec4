"""Turn the records of templates into pieces of text that are ready to be joined.

A record becomes a tuple of numbers into a table: literals first, then what each session fills in (audit IDs, times,
identities). Rendering an event is one join over looked-up strings, which is what makes the simulator fast.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from audit_lab.simulate.aliases import json_text
from audit_lab.simulate.identities import Identities, Part
from audit_lab.simulate.recording import Recording, read_records
from audit_lab.simulate.scrub import MASK, Scrubber
from audit_lab.simulate.templates import Template

_LITERAL_KEYS = frozenset({
    "kind", "apiVersion", "apiGroup", "apiGroups", "group", "resource", "resources", "subresource", "verb", "verbs", "level", "stage",
    "op", "type", "resourceVersion", "imagePullPolicy", "restartPolicy", "dnsPolicy", "protocol",
})
_AUDIT, _REQUESTED, _STAGED = -1, -2, -3  # places of a record that every event fills anew; slots count from 0
_MARKS = {_AUDIT: "audit", _REQUESTED: "requested", _STAGED: "staged"}
_FRACTION = re.compile(r"\.(\d+)Z$")


@dataclass(frozen=True)
class Compiled:
    """A template that is ready to be rendered.

    The table of a session is: `literals`, then per event its audit ID and its time, per row its stage time, then `times`, then
    `identities`. `codes` has one tuple of places per row; `fractions` says how many digits a time has.
    """

    template: Template
    literals: tuple[str, ...]
    codes: tuple[tuple[int, ...], ...]
    latency_us: np.ndarray        # per row: stage time − request time
    times: tuple[tuple[int, int], ...]  # (microseconds after the first event as recorded, digits of its fraction)
    identities: tuple[int, ...]   # slots


def compile_templates(recording: Recording, templates: Iterable[Template], identities: Identities) -> dict[str, Compiled]:
    """Return template id -> compiled template. No text that was scrubbed anywhere is left in any of them."""
    chosen = list(templates)
    scrubber = Scrubber()
    writer = _Writer(identities)
    wanted = sorted({row for template in chosen for row in template.rows})
    rows = {row: writer.record(scrubber.record(record)) for row, record in read_records(recording, wanted)}
    times = recording.index.select("time_us", "stage_us").to_numpy()
    compiled = {template.template_id: _compile(template, rows, times, identities) for template in chosen}
    return _seal(compiled, scrubber.removed)


class _Writer:
    """Writes records as JSON, with slots left open. What a text becomes is worked out once per text: recordings repeat themselves."""

    def __init__(self, identities: Identities) -> None:
        self._split = {
            "requestURI": identities.split_uri, "userAgent": identities.split_agent, "request": identities.split_request,
            "auditID": lambda _: (_AUDIT,), "requestReceivedTimestamp": lambda _: (_REQUESTED,), "stageTimestamp": lambda _: (_STAGED,),
            **dict.fromkeys(_LITERAL_KEYS, lambda text: (text,)),
        }
        self._text = identities.split
        self._known: dict[str | tuple[str, str], tuple[Part, ...]] = {}
        self._names: dict[tuple[str, bool], str] = {}
        self._parts: list[Part] = []
        self._run: list[str] = []

    def record(self, record: dict[str, Any]) -> tuple[Part, ...]:
        """Return literals and slots of a record, in turn."""
        self._parts, self._run = [], []
        self._write(record, "")
        self._parts.append("".join(self._run))
        return tuple(self._parts)

    def _write(self, value: Any, key: str) -> None:
        if isinstance(value, str):
            self._leaf(value, key)
        elif isinstance(value, dict):
            first = True
            for name, item in value.items():
                if (name, first) not in self._names:
                    self._names[name, first] = f'{"{" if first else ","}"{json_text(name)}":'
                self._run.append(self._names[name, first])
                self._write(item, name)
                first = False
            self._run.append("{}" if first else "}")
        elif isinstance(value, list):
            for place, item in enumerate(value):
                self._run.append("," if place else "[")
                self._write(item, key)
            self._run.append("]" if value else "[]")
        else:
            self._run.append(json.dumps(value))

    def _leaf(self, text: str, key: str) -> None:
        known = (text, key) if key in self._split else text
        parts = self._known.get(known)
        if parts is None:
            parts = self._known[known] = self._quoted(self._split.get(key, self._text)(text))
        for part in parts:
            if isinstance(part, str):
                self._run.append(part)
            else:
                self._parts.append("".join(self._run))
                self._parts.append(part)
                self._run = []

    @staticmethod
    def _quoted(parts: tuple[Part, ...]) -> tuple[Part, ...]:
        if all(isinstance(part, str) for part in parts):
            return (f'"{json_text("".join(map(str, parts)))}"',)
        return ('"', *(part if isinstance(part, int) else json_text(part) for part in parts), '"')


def _compile(template: Template, rows: dict[int, tuple[Part, ...]], clock: np.ndarray, identities: Identities) -> Compiled:
    literals: dict[str, int] = {}
    times: dict[tuple[int, int], int] = {}
    slots: dict[int, int] = {}
    first_us = int(clock[template.rows[0], 0])
    open_codes: list[list[tuple[str, int]]] = []
    for place, row in enumerate(template.rows):
        code: list[tuple[str, int]] = []
        for part in rows[row]:
            if isinstance(part, str):
                code.append(("literal", literals.setdefault(part, len(literals))))
            elif part < 0:
                code.append((_MARKS[part], place if part == _STAGED else int(template.event_of_row[place])))
            elif identities.slots[part].kind == "time":
                moment = _moment(identities.slots[part].token, first_us)
                code.append(("time", times.setdefault(moment, len(times))))
            else:
                code.append(("identity", slots.setdefault(part, len(slots))))
        open_codes.append(code)
    n_events, n_rows = template.n_events, len(template.rows)
    bases = dict(zip(
        ("literal", "audit", "requested", "staged", "time", "identity"),
        np.cumsum([0, len(literals), n_events, n_events, n_rows, len(times)]).tolist(), strict=True,
    ))
    codes = tuple(tuple(bases[kind] + number for kind, number in code) for code in open_codes)
    chosen = list(template.rows)
    return Compiled(template, tuple(literals), codes, clock[chosen, 1] - clock[chosen, 0], tuple(times), tuple(slots))


def _moment(text: str, first_us: int) -> tuple[int, int]:
    fraction = _FRACTION.search(text)
    digits = len(fraction[1]) if fraction else 0
    whole = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return int(whole.timestamp()) * 1_000_000 + (int(fraction[1][:6].ljust(6, "0")) if fraction else 0) - first_us, digits


def _seal(compiled: dict[str, Compiled], removed: set[str]) -> dict[str, Compiled]:
    """Look for every text that was scrubbed anywhere in all literals, and mask it there too; equal literals are kept once."""
    texts = sorted({literal for template in compiled.values() for literal in template.literals})
    secrets = sorted(json_text(text) for text in removed if not set(text) & set('"\\{}[],:'))
    sealed = pl.Series(texts, dtype=pl.String)
    if secrets:
        sealed = sealed.to_frame("text").select(pl.col("text").str.replace_many(secrets, [MASK] * len(secrets), leftmost=True)).to_series()
    table = dict(zip(texts, sealed.to_list(), strict=True))
    return {
        template_id: Compiled(
            template.template, tuple(table[literal] for literal in template.literals), template.codes, template.latency_us,
            template.times, template.identities,
        )
        for template_id, template in compiled.items()
    }
