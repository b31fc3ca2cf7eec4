"""What a run may spend: tokens and money per run and per day, hard; and the dated price table behind the money."""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from audit_lab.errors import JudgeError
from audit_lab.profile import JudgeSettings

MAX_AGE_DAYS = 183


@dataclass(frozen=True)
class Price:
    """US dollars per million prompt and answer tokens; None where nobody knows; `as_of` is the price table's date."""

    usd_in: float | None = None
    usd_out: float | None = None
    as_of: date | None = None

    def of(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return the price of a call in US dollars.

        >>> Price(2.0, 8.0).of(1_000_000, 500_000), Price().of(1, 1)
        (6.0, None)
        """
        if self.usd_in is None or self.usd_out is None:
            return None
        return (tokens_in * self.usd_in + tokens_out * self.usd_out) / 1e6

    def too_old(self, today: date) -> bool:
        """Tell whether the table behind it is older than half a year."""
        return self.as_of is not None and (today - self.as_of).days > MAX_AGE_DAYS


def find_price(settings: JudgeSettings) -> Price:
    """Return the price of the profile's model: as the profile says, else as the price table says, else unknown.

    A table's entry holds for a model of its name, and for dated versions of it (`name-2026-08-06`). A model file
    served on this machine costs nothing per token.

    Raises
    ------
    JudgeError
        When the profile's own price table cannot be read.
    """
    if settings.usd_per_million_in is not None and settings.usd_per_million_out is not None:
        return Price(settings.usd_per_million_in, settings.usd_per_million_out)
    if settings.gguf:
        return Price(0.0, 0.0)
    table = _table(settings.prices)
    name = settings.model.rsplit("/", 1)[-1].lower()
    fitting = [known for known in table["models"] if re.fullmatch(rf"{re.escape(known)}(-\d.*)?", name)]
    if not fitting:
        return Price()
    found = table["models"][max(fitting, key=len)]
    return Price(float(found[0]), float(found[1]), table["as_of"])


def money_note(settings: JudgeSettings, price: Price) -> str:
    """Return a line where limits in money that nobody asked for cannot hold, because no price is known; '' where they do.

    Raises
    ------
    JudgeError
        When somebody asked for such a limit: what was promised to be hard is not to be passed over.
    """
    if price.of(0, 0) is not None:
        return ""
    said = sorted({"max_usd", "max_usd_per_day"} & settings.model_fields_set)
    if said:
        hint = "set usd_per_million_in and usd_per_million_out of that endpoint (0 where nobody charges), or judge.prices"
        raise JudgeError(f"judge.{said[0]} cannot hold: no price is known for model '{settings.model}'", hint)
    return f"money limits no call: no price is known for model '{settings.model}' (judge.prices); the limits in tokens hold"


def _table(path: str) -> dict[str, Any]:
    try:
        text = Path(path).read_text("utf-8") if path else (resources.files("audit_lab.judge") / "prices.toml").read_text("utf-8")
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise JudgeError(f"price table '{path}' cannot be read: {error}", "see audit_lab/judge/prices.toml") from None
    models, as_of = table.get("models"), table.get("as_of")
    good = isinstance(models, dict) and isinstance(as_of, date) and all(
        isinstance(value, list) and len(value) == 2 and all(isinstance(part, int | float) and part >= 0 for part in value)
        for value in models.values()
    )
    if not good:
        raise JudgeError(f"price table '{path}' is no price table", 'it needs as_of = 2026-01-31 and [models] "name" = [in, out]')
    return table


@dataclass
class Budget:
    """Tokens and money: set aside before a call, settled after it, so that concurrent calls cannot overspend together."""

    max_tokens: int
    max_usd: float
    max_tokens_per_day: int
    max_usd_per_day: float
    tokens: int = 0
    usd: float = 0.0
    tokens_before: int = 0
    usd_before: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(
        cls, settings: JudgeSettings, calls: Iterable[dict[str, Any]] = (), today: date | None = None, judge_id: str | None = None,
    ) -> Budget:
        """Return the budget of a run; of `calls`, the lines of calls.jsonl, those of `today` and of this judge count against the day.

        A call whose bill is not known (it was sent, and no usage came back) counts with the most that it may have used.
        """
        last: dict[Any, dict[str, Any]] = {}
        for number, call in enumerate(calls):
            if today is not None and str(call.get("at", "")).startswith(today.isoformat()) and call.get("judge_id", judge_id) == judge_id:
                last[call.get("egress_id", number)] = call
        return cls(
            settings.max_tokens, settings.max_usd, settings.max_tokens_per_day, settings.max_usd_per_day,
            tokens_before=sum(_tokens_of(call) for call in last.values()), usd_before=sum(_usd_of(call) for call in last.values()),
        )

    def reserve(self, tokens: int, usd: float | None) -> str | None:
        """Set the most that a call can use aside; return why that is not possible, or None."""
        price = usd or 0.0
        with self._lock:
            for used, asked, limit, words in (
                (self.tokens, tokens, self.max_tokens, f"{self.max_tokens} tokens a run"),
                (self.usd, price, self.max_usd, f"{self.max_usd:g} US dollars a run"),
                (self.tokens_before + self.tokens, tokens, self.max_tokens_per_day, f"{self.max_tokens_per_day} tokens a day"),
                (self.usd_before + self.usd, price, self.max_usd_per_day, f"{self.max_usd_per_day:g} US dollars a day"),
            ):
                if asked and used + asked > limit:
                    return f"the budget of {words} is used up"
            self.tokens += tokens
            self.usd += price
            return None

    def settle(self, tokens: int, usd: float | None) -> None:
        """Add what a call used beyond (below: less than) what was set aside for it."""
        with self._lock:
            self.tokens += tokens
            self.usd += usd or 0.0


def _tokens_of(call: dict[str, Any]) -> int:
    billed = (call.get("tokens_in") or 0) + (call.get("tokens_out") or 0)
    return billed or int(call.get("held_tokens") or 0)


def _usd_of(call: dict[str, Any]) -> float:
    billed = call.get("cost_usd")
    return float(call.get("held_usd") or 0.0) if billed is None else float(billed)
