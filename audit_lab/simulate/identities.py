"""Find the identities in recorded texts: people, namespaces, accounts, workloads, nodes, groups, addresses, UIDs, pod suffixes.

A text is split into literals and numbered slots. The same identity has the same slot wherever it stands (URI, objectRef,
user, annotations, bodies), so that whoever fills the slots changes it everywhere at once. Names that every cluster has stay:
what Kubernetes brings along, and products (a name that a program uses for itself in its user agent or API group).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from audit_lab.kubernetes import CLEAR_NAMES
from audit_lab.simulate.recording import SEPARATOR

Part = str | int  # a literal, or the number of a slot
SAFE = "bcdfghjklmnpqrstvwxz2456789"  # letters of generated suffixes (k8s.io/apimachinery/pkg/util/rand)


class Slot(NamedTuple):
    """A place to fill: `kind` of identity, and the recorded `token` that stood there."""

    kind: str
    token: str


_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"
_ADDRESS = r"(?<![\d.])(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?![\d.])"
_ENCODED = r"(?<=%[0-9A-Fa-f][0-9A-Fa-f])"
_POD_TAIL = rf"-(?:[{SAFE}]{{7,10}}-)?[{SAFE}]{{5}}(?![\w-])|-[{SAFE}]{{7,10}}(?![\w-])|-\d+(?:-[{SAFE}]{{5}})?(?![\w-])|-token-"
_NAME = re.compile(r"^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$")
_PERSON = re.compile(r"^[A-Za-z0-9][^\s\"'\\]{1,127}$")  # also roles and subjects of identity providers
_PATH = re.compile(r"^(/api/[^/]+|/apis/[^/]+/[^/]+)(/watch)?(?:(/namespaces/)([^/]+))?(/[a-z]+)?(/.*)?$")
_SUFFIX_OF = re.compile(rf"-(?:([{SAFE}]{{7,10}})-)?([{SAFE}]{{5}})$|-([{SAFE}]{{7,10}})$")
_WORKLOADS = ("deployments", "statefulsets", "daemonsets", "cronjobs")
_SUFFIXED = ("pods", "replicasets", "secrets", "jobs")
_BUILTIN = frozenset().union(*(CLEAR_NAMES[kind] for kind in ("ns", "role", "binding", "sa", "object")))
_LOUD_AGENT = 20  # records of service accounts that make an agent a product's


class Identities:
    """The identities of a recording, and the slots they got.

    Parameters
    ----------
    index
        Index of a recording (`recording.Recording.index`).
    """

    def __init__(self, index: pl.DataFrame) -> None:
        self.slots: list[Slot] = []
        self._numbers: dict[Slot, int] = {}
        self.tokens = _find_tokens(index)
        # token -> (its place among the names of its kind, how many there are)
        of_kind = {kind: [token for token, other in self.tokens.items() if other == kind] for kind in set(self.tokens.values())}
        self.positions = {token: (place, len(names)) for names in of_kind.values() for place, token in enumerate(names)}
        self._suffixes = _find_suffixes(index)
        self._pattern = re.compile(self._regex())
        self._split = lru_cache(1 << 18)(self._split_once)
        self.lasting = frozenset(self.number("uuid", uid) for uid in index["uid"].drop_nulls().unique().sort().to_list())
        self.shared = self._shared(index)

    def number(self, kind: str, token: str) -> int:
        """Return the number of a slot; the same slot has one number."""
        slot = Slot(kind, token)
        if slot not in self._numbers:
            self._numbers[slot] = len(self.slots)
            self.slots.append(slot)
        return self._numbers[slot]

    def split(self, text: str) -> tuple[Part, ...]:
        """Split any text into literals and slots."""
        return self._split(text)

    def split_uri(self, uri: str) -> tuple[Part, ...]:
        """Split a request URI: what belongs to the API itself is kept, names are not."""
        path, mark, query = uri.partition("?")
        match = _PATH.match(path)
        if not match:
            # Paths outside the API (/healthz, /logs, what scanners ask for) are no names.
            return (path, *((mark, *self.split(query)) if mark else ()))
        base, watch, _, namespace, resource, rest = match.groups()
        head = f"{base}{watch or ''}{'/namespaces/' if namespace else ''}"
        parts: list[Part] = [head, *(self.split(namespace) if namespace else ()), resource or ""]
        if rest:
            parts.extend(self.split(rest))
        return (*parts, *((mark, *self.split(query)) if mark else ()))

    def split_agent(self, agent: str) -> tuple[Part, ...]:
        """Return the one slot of a user agent."""
        return (self.number("agent", agent),)

    def split_request(self, text: str) -> tuple[Part, ...]:
        """Return the slot of a certificate signing request: only its names live on."""
        names = request_names(text)
        return (self.number("csr", SEPARATOR.join(names)),) if names else ("***",)

    def is_common(self, text: str) -> bool:
        """Tell whether a text names nothing that differs between teams."""
        return all(isinstance(part, str) for part in self.split(text))

    def _split_once(self, text: str) -> tuple[Part, ...]:
        parts: list[Part] = []
        place = 0
        for match in self._pattern.finditer(text):
            kind = str(match.lastgroup)
            token = match.group()
            if kind == "suffix" and token not in self._suffixes:
                continue
            if match.start() > place:
                parts.append(text[place : match.start()])
            parts.append(self.number(self.tokens[token] if kind in ("loose", "strict") else kind, token))
            place = match.end()
        if place < len(text) or not parts:
            parts.append(text[place:])
        return tuple(parts)

    def _regex(self) -> str:
        # Namespaces, people and names of several words stand inside of other names (team-x, x.svc); single words that name
        # workloads and accounts are everyday words, so they count only as whole names or with the tail of a pod.
        loose = [token for token, kind in self.tokens.items() if kind in ("person", "namespace", "node") or "-" in token]
        strict = [token for token in self.tokens if token not in loose]
        parts = [rf"(?P<uuid>{_UUID})", rf"(?P<time>{_TIME})", rf"(?P<ip>{_ADDRESS})"]
        if loose:
            parts.append(rf"(?P<loose>(?:(?<![A-Za-z0-9])|{_ENCODED})(?:{_alternatives(loose)})(?![A-Za-z0-9]))")
        if strict:
            left = rf"(?:^|(?<=[/:\" ,=@])|{_ENCODED})"
            parts.append(rf"(?P<strict>{left}(?:{_alternatives(strict)})(?=$|%(?!3D)|[/?:\" ,&.@]|{_POD_TAIL}))")
        parts.append(rf"(?P<suffix>(?<=-)[{SAFE}]{{5,10}}(?![A-Za-z0-9]))")
        return "|".join(parts)

    def _shared(self, index: pl.DataFrame) -> frozenset[int]:
        """Return the slots that belong to actors whom a cluster has once: their address, UID and pod."""
        shared: set[int] = set()
        actors = index.select("user", "source", "uid", "pod").unique().sort("user", "source", "uid", "pod", nulls_last=True)
        for user, source, uid, pod in actors.iter_rows():
            if user in ("", "system:anonymous") or not self.is_common(user):
                continue
            for text in (source, uid, pod):
                shared.update(part for part in self.split(text or "") if isinstance(part, int))
        return frozenset(number for number in shared if self.slots[number].kind in ("ip", "uuid", "suffix"))


def _find_tokens(index: pl.DataFrame) -> dict[str, str]:
    """Return recorded name -> kind; a name of several kinds has the first of them."""
    users = [*index["user"].unique().to_list(), *index["impersonated"].unique().to_list()]
    named = index.select("resource", "name").drop_nulls().unique()
    accounts = [user.split(":")[2:] for user in users if user.startswith("system:serviceaccount:") and user.count(":") == 3]
    products = _products(index)
    kinds: dict[str, Iterable[str]] = {
        "node": [user.removeprefix("system:node:") for user in users if user.startswith("system:node:")] + _named(named, "nodes"),
        "person": [_person(user) for user in users],
        "namespace": [*index["namespace"].drop_nulls().unique().to_list(), *_named(named, "namespaces"), *(pair[0] for pair in accounts)],
        "account": [*(pair[1] for pair in accounts), *_named(named, "serviceaccounts")],
        "workload": [name for resource in _WORKLOADS for name in _named(named, resource)],
        "group": {group for groups in (*index["groups"].unique().to_list(), *index["impersonated_groups"].unique().to_list())
                  for group in groups.split(SEPARATOR) if not group.startswith("system:")},
    }
    tokens: dict[str, str] = {}
    for kind, names in kinds.items():
        for name in sorted(set(names)):
            is_name = (_PERSON if kind == "person" else _NAME).match(name)
            if is_name and name not in _BUILTIN and not name.startswith("kube") and not _is_product(name, products):
                tokens.setdefault(name, kind)
    return tokens


def _named(named: pl.DataFrame, resource: str) -> list[str]:
    return named.filter(pl.col("resource") == resource)["name"].to_list()


def _person(user: str) -> str:
    """Return the part of a user's name that is the person: the first word before '@', or the whole name."""
    if user.startswith("system:"):
        return ""
    local, at, _ = user.partition("@")
    return re.split(r"[.+_-]", local)[0] if at else local


def _products(index: pl.DataFrame) -> set[str]:
    loud = (
        index.filter(pl.col("user").str.starts_with("system:serviceaccount:"))["agent"].drop_nulls().value_counts()
        .filter(pl.col("count") >= _LOUD_AGENT)["agent"].to_list()
    )
    words = {word for agent in loud for word in re.split(r"[/ ()]+", agent.lower())}
    words |= {label for group in index["api_group"].drop_nulls().unique().to_list() for label in group.split(".")}
    return {word for word in words if len(word) >= 4 and _NAME.match(word)}


def _is_product(name: str, products: set[str]) -> bool:
    return any(name == word or name.startswith(f"{word}-") or word.startswith(f"{name}-") for word in products)


def _find_suffixes(index: pl.DataFrame) -> set[str]:
    names = set(index.filter(pl.col("resource").is_in(_SUFFIXED))["name"].drop_nulls().unique().to_list())
    names |= set(index["pod"].drop_nulls().unique().to_list())
    return {part for name in names if (match := _SUFFIX_OF.search(name)) for part in match.groups() if part}


def _alternatives(words: list[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


def request_names(text: str) -> list[str]:
    """Return common name and organizations of a base64 PEM signing request, [] when there are none."""
    try:
        lines = base64.b64decode(text).decode("ascii", "ignore").splitlines()
        der = base64.b64decode("".join(line for line in lines if not line.startswith("-----")))
    except (binascii.Error, ValueError):
        return []
    # Object identifiers 2.5.4.3 (common name) and 2.5.4.10 (organization); RFC 5280, appendix A.
    places = [match.end() for identifier in (rb"\x55\x04\x03", rb"\x55\x04\x0a") for match in re.finditer(identifier, der)]
    names = [_string_at(der, place) for place in places]
    return [name for name in names if name]


def _string_at(der: bytes, place: int) -> str:
    if place + 2 > len(der) or der[place] not in (0x0C, 0x13, 0x16) or der[place + 1] >= 0x80:
        return ""
    return der[place + 2 : place + 2 + der[place + 1]].decode("utf-8", "replace")
