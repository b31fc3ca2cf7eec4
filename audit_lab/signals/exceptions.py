"""Noise first: exceptions say what is no finding, narrowly, with an owner, a reason and an expiry.

An exception hides events from rules; it deletes nothing, and the table `exceptions` counts what it hid. It never covers
everything a rule finds, nor touches a rule with a floor unless it names that rule, nor hides what somebody does under
another identity: `user` is compared with the whole actor, 'jane' is not 'jane as system:admin', nor 'Jane'. What anybody
can write, a user agent, narrows an exception but never makes one.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import classes
from audit_lab.errors import InputError
from audit_lab.signals.rulebook import Rule

_SCOPES = ("users", "actor_kinds", "sources", "namespaces", "images", "clients", "paths")
_SAYS = {"users": "actor", "actor_kinds": "actor kind", "sources": "source", "namespaces": "namespace", "images": "every image",
         "clients": "client family", "paths": "path"}
# What the client writes itself and nothing checks.
_CLAIMED = ("clients",)
HIDDEN = {"rule": pl.Int64, "i": pl.Int64, "exception_id": pl.String}


@dataclass(frozen=True)
class RuleException:
    """One noise rule; every scope that is given must fit, each by any of its values (`*` and `?` are wildcards).

    Parameters
    ----------
    exception_id, owner, reason, expires
        Name, who answers for it, why it is noise, and the last day it holds.
    rules
        Rules it applies to, by id.
    users, actor_kinds, sources, namespaces, images, clients, paths
        Actor as in `events`, kind of actor, class of the source address (`private`, or a name of the profile's networks),
        namespace, images (all of a pod's), client family, path of the request.
    pack
        False: not for the built-in pack, whose rules leave this routine out by themselves and mean it where they do not.
    """

    exception_id: str
    owner: str
    reason: str
    expires: date | None = None
    rules: tuple[str, ...] = ("*",)
    users: tuple[str, ...] = ()
    actor_kinds: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    pack: bool = True

    @property
    def scope(self) -> str:
        """What it matches, in one line.

        >>> RuleException("x", "me", "why", rules=("exec-*",), namespaces=("dev",)).scope
        "rules exec-*; namespace 'dev'"
        """
        parts = [f"{_SAYS[name]} " + " or ".join(f"'{value}'" for value in getattr(self, name)) for name in _SCOPES if getattr(self, name)]
        return "; ".join([f"rules {', '.join(self.rules)}{'' if self.pack else ' (added ones)'}", *parts])

    def applies(self, rule: Rule) -> bool:
        """Tell whether it may hide events from `rule`."""
        if rule.built_in and not self.pack:
            return False
        if rule.floor is not None:
            return rule.rule_id in self.rules
        return any(fnmatch.fnmatchcase(rule.rule_id, pattern) for pattern in self.rules)

    def matches(self) -> pl.Expr:
        """Return the expression over `events` that tells which events it covers."""
        path = pl.col("uri").str.split("?").list.first()
        columns = {"users": pl.col("actor"), "actor_kinds": pl.col("actor_kind"), "sources": pl.col("source_class"),
                   "namespaces": pl.col("namespace"), "clients": pl.col("client_family"), "paths": path}
        terms = [columns[name].str.contains(_pattern(getattr(self, name))) for name in columns if getattr(self, name)]
        if self.images:
            fits = pl.col("images").list.eval(pl.element().str.contains(_pattern(self.images)))
            terms.append((pl.col("images").list.len() > 0) & fits.list.all())
        return pl.all_horizontal(terms).fill_null(False) if terms else pl.lit(False)


# The built-in ones are looked at again with each release; a version that nobody renews must not hide things for ever.
_RENEWED_UNTIL = date(2028, 12, 31)
ROUTINE: tuple[RuleException, ...] = (
    RuleException(
        "health-endpoints", "audit-lab", "Load balancers and probes ask these paths all day, without a credential.",
        expires=_RENEWED_UNTIL, paths=("/healthz*", "/livez*", "/readyz*", "/version", "/version/", "/ping"), pack=False,
    ),
    RuleException(
        "control-plane-routine", "audit-lab", "Controllers and kubelets create, list and fail all day; that is their work.",
        expires=_RENEWED_UNTIL, actor_kinds=("controller", "node"), pack=False,
    ),
)


def load_exceptions(path: str | Path, *, routine: bool = True) -> list[RuleException]:
    """Return the exceptions of a TOML file, after the built-in ones.

    Raises
    ------
    InputError
        When the file is missing or no TOML, a key is unknown, owner, reason or expiry are missing, or nothing narrows it.

    Examples
    --------
    A file holds one table per exception::

        [[exception]]
        id = "nightly-inventory"
        rules = ["secrets-listed-cluster-wide"]
        users = ["inventory@corp.example"]
        clients = ["kubectl"]
        owner = "security team"
        reason = "inventory job, ticket 4711"
        expires = 2027-01-31
    """
    source = Path(path)
    try:
        content = tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no file of exceptions '{source}'", "write one, or leave it out") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"exceptions '{source}' are not TOML: {error}", "see docs/rules.md") from None
    entries = content.get("exception", [])
    if set(content) - {"exception"} or not isinstance(entries, list):
        raise InputError(f"exceptions '{source}': only [[exception]] tables are known", "see docs/rules.md")
    made = [_parse(entry, source) for entry in entries]
    names = [entry.exception_id for entry in (*ROUTINE, *made)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"exceptions '{source}': '{name}' is there twice", "give each its own id")
    return [*(ROUTINE if routine else ()), *made]


def _parse(entry: dict[str, Any], source: Path) -> RuleException:
    known = {field.name for field in fields(RuleException)} - {"exception_id", "pack"} | {"id"}
    name = str(entry.get("id", ""))
    where = f"exceptions '{source}': '{name or '?'}'"
    unknown = sorted(set(entry) - known)
    if unknown:
        raise InputError(f"{where} has an unknown key '{unknown[0]}'", f"known keys are {', '.join(sorted(known))}")
    for key in ("id", "owner", "reason"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise InputError(f"{where} has no {key}", "every exception names who answers for it and why")
    expires = entry.get("expires")
    if isinstance(expires, datetime) or not isinstance(expires, date):
        raise InputError(f"{where} has no expiry", "give the last day it holds, e.g. expires = 2027-01-31")
    lists = {key: entry.get(key, ["*"] if key == "rules" else []) for key in ("rules", *_SCOPES)}
    for key, values in lists.items():
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            raise InputError(f"{where}: '{key}' is not a list of texts", f'e.g. {key} = ["…"]')
    narrowing = [key for key in _SCOPES if lists[key] and not any(_covers_all(value) for value in lists[key])]
    if not narrowing:
        raise InputError(f"{where} covers everything", f"narrow it by one of {', '.join(_SCOPES)}")
    if not set(narrowing) - set(_CLAIMED):
        raise InputError(f"{where} rests on the client alone, which anybody can claim to be", "add users, actor_kinds or sources")
    for key, allowed in (("actor_kinds", classes.ACTOR_KINDS), ("clients", classes.CLIENT_FAMILIES)):
        wrong = [value for value in lists[key] if not any(fnmatch.fnmatchcase(word, value) for word in allowed)]
        if wrong:
            raise InputError(f"{where}: '{wrong[0]}' is none of the {key}", f"one of {', '.join(allowed)}")
    scopes: dict[str, Any] = {key: tuple(values) for key, values in lists.items()}
    return RuleException(name, entry["owner"], entry["reason"], expires, **scopes)


def expired_note(exceptions: Sequence[RuleException], today: date) -> str | None:
    """Return one line that names the exceptions which no longer hold, None where all do.

    >>> expired_note(ROUTINE, date(2026, 1, 1))
    """
    gone = [f"'{item.exception_id}' ({item.expires}, {item.owner})" for item in exceptions if item.expires and item.expires < today]
    return f"exceptions that have expired and hide nothing: {', '.join(gone)}; renew or delete them" if gone else None


def _covers_all(pattern: str) -> bool:
    """Tell whether a wildcard pattern says nothing: stars and question marks only, or any path.

    >>> _covers_all("?*"), _covers_all("/*"), _covers_all("/healthz*")
    (True, True, False)
    """
    return not pattern.strip("*?/")


def hidden_by(
    rules: Sequence[Rule], hits: pl.DataFrame, events: pl.DataFrame, exceptions: Sequence[RuleException], today: date | None
) -> pl.DataFrame:
    """Return [rule, i, exception_id] of the hits that an exception covers; the first that fits is named."""
    found = [pl.DataFrame(schema=HIDDEN)]
    needed = ["actor", "actor_kind", "source_class", "namespace", "client_family", "uri", "images"]
    for exception in exceptions:
        if exception.expires is not None and today is not None and today > exception.expires:
            continue
        places = [place for place, rule in enumerate(rules) if exception.applies(rule)]
        touched = hits.filter(pl.col("rule").is_in(places))
        if touched.height:
            rows = touched["i"].unique().sort()
            covered = rows.filter(events[rows.to_list()].select(needed).select(exception.matches().alias("covered"))["covered"])
            found.append(touched.filter(pl.col("i").is_in(covered.implode())).select(
                "rule", "i", pl.lit(exception.exception_id).alias("exception_id")))
    return pl.concat(found).unique(["rule", "i"], keep="first", maintain_order=True)


def _pattern(globs: Sequence[str]) -> str:
    """Return one regular expression for wildcard patterns; upper and lower case differ, as in Kubernetes' own names."""
    one = [re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs]
    return f"(?s)^(?:{'|'.join(one)})$"
