"""The judge that asks a language model: prompts out, answers in, within a budget, nothing lost and nothing paid twice.

Every candidate gets a verdict row: with a score where the model gave one that fits the schema, otherwise with the
reason in `abstain`. Every call leaves an egress row, the ones that failed included.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab.errors import JudgeError
from audit_lab.hashing import short_id, text_digest
from audit_lab.judge.cache import CALLS, AnswerCache, LineFile, answer_key
from audit_lab.judge.client import CallError, ChatClient, Reply
from audit_lab.judge.evidence import EVIDENCE_VERSION
from audit_lab.judge.prompt import Example, Prompt, build_prompts, load_template
from audit_lab.judge.schema import AnswerError, answer_schema, parse_answer
from audit_lab.judge.verdicts import JudgeTables, egress_frame, verdict_frame, verdict_row
from audit_lab.profile import JudgeSettings

JUDGE_ID = "openai"
# A server that asks for a longer pause than this is as good as absent for an interactive run.
MAX_WAIT_S = 120.0
# This many cases in a row without any answer: the rest is not tried, so that a dead endpoint costs no hours.
GIVE_UP_AFTER = 3
_BACKOFF_S = 0.5


@dataclass
class Budget:
    """Tokens and money of one run: reserved before a call, settled after it; hard."""

    max_tokens: int
    max_usd: float
    usd_per_million_in: float | None
    usd_per_million_out: float | None
    tokens: int = 0
    usd: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def price(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return the price of a call in US dollars; None where a price is not known."""
        if self.usd_per_million_in is None or self.usd_per_million_out is None:
            return None
        return (tokens_in * self.usd_per_million_in + tokens_out * self.usd_per_million_out) / 1e6

    def reserve(self, tokens_in: int, tokens_out: int) -> str | None:
        """Set the most that a call can use aside; return why that is not possible, or None."""
        with self._lock:
            price = self.price(tokens_in, tokens_out) or 0.0
            if self.tokens + tokens_in + tokens_out > self.max_tokens:
                return f"the budget of {self.max_tokens} tokens is used up"
            if self.usd + price > self.max_usd:
                return f"the budget of {self.max_usd:g} US dollars is used up"
            self.tokens += tokens_in + tokens_out
            self.usd += price
            return None

    def settle(self, reserved: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace what was set aside for a call by what it used."""
        with self._lock:
            self.tokens += sum(used) - sum(reserved)
            self.usd += (self.price(*used) or 0.0) - (self.price(*reserved) or 0.0)


class ModelJudge:
    """A judge at an OpenAI-compatible endpoint.

    Parameters
    ----------
    settings
        Section judge of the profile.
    folder
        Where answers and calls are kept; None keeps them for this process only.
    examples
        Labelled cases of earlier time, shown before the question.
    progress
        Called with (done, all) after each case.
    """

    def __init__(
        self, settings: JudgeSettings, folder: Path | None = None, *, examples: Sequence[Example] = (),
        progress: Callable[[int, int], None] | None = None, judge_id: str = JUDGE_ID, role: str = "onprem",
    ) -> None:
        self.settings, self.judge_id, self.role = settings, judge_id, role
        self.template = load_template()
        self.examples = tuple(examples)
        self._client = ChatClient(settings, settings.concurrency)
        shown = text_digest("\n".join(example.facts + example.answer for example in self.examples))
        parts = [self.template.digest, shown, EVIDENCE_VERSION, settings.model, str(self._client.parameters())]
        self.judge_version = f"{self.template.name}-{text_digest(' '.join(parts))[:12]}"
        self._cache = AnswerCache(folder)
        self._calls = LineFile(folder / CALLS if folder else None)
        self._progress = progress
        self._lock = threading.Lock()

    def __call__(self, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
        """Return a verdict per candidate, grounds unchecked.

        Raises
        ------
        JudgeError
            When not one case could be judged because of the endpoint; its `tables` hold the verdict and egress rows all the same.
        """
        prompts = build_prompts(candidates["case_id"].to_list(), evidence, self.template, self.examples)
        floors = dict(candidates.select("case_id", "floor").iter_rows())
        # Cases whose facts read the same are one question, asked once.
        distinct = {prompt.sha256: prompt for prompt in prompts.values()}
        run = _Run(self._budget(), len(distinct))
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            answers = dict(zip(distinct, pool.map(lambda prompt: self._answer(prompt, run), distinct.values()), strict=True))
        asked: set[str] = set()
        rows = []
        for prompt in prompts.values():
            answer = answers[prompt.sha256]
            rows.append(self._verdict(prompt, floors[prompt.case_id], answer, run.budget, again=prompt.sha256 in asked))
            asked.add(prompt.sha256)
        made = JudgeTables(verdict_frame(rows), egress_frame(run.egress))
        if rows and run.n_answers == 0 and run.last_failure is not None:
            raise _nothing_judged(self._client.endpoint, run.last_failure, made)
        return made

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _budget(self) -> Budget:
        chosen = self.settings
        return Budget(chosen.max_tokens, chosen.max_usd, chosen.usd_per_million_in, chosen.usd_per_million_out)

    def _answer(self, prompt: Prompt, run: _Run) -> tuple[dict[str, Any], int, bool]:
        """Return the record of an answer, the calls it took, and whether it was held already."""
        key = answer_key(prompt.sha256, self.settings.model, self._client.parameters())
        record, attempts, cached = self._cache.get(key), 0, True
        if record is None:
            (record, attempts), cached = self._buy(prompt, key, run), False
        with self._lock:
            run.done += 1
            run.n_answers += "text" in record
            if self._progress:
                self._progress(run.done, run.total)
        return record, attempts, cached

    def _verdict(
        self, prompt: Prompt, floor: float | None, answer: tuple[dict[str, Any], int, bool], budget: Budget, *, again: bool,
    ) -> dict[str, Any]:
        record, attempts, cached = answer
        cached = cached or again
        more: dict[str, Any] = {
            "attempts": 0 if again else attempts, "cached": cached and "text" in record, "prompt_sha256": prompt.sha256, "floor": floor,
        }
        if "text" not in record:
            return verdict_row(prompt.case_id, self.judge_id, self.judge_version, **more, abstain=record["failure"])
        used = (record["tokens_in"], record["tokens_out"])
        more.update(
            model=record["model"], tokens_in=used[0], tokens_out=used[1], latency_ms=None if cached else record["latency_ms"],
            cost_usd=0.0 if cached else budget.price(*used),
        )
        try:
            if record.get("refused"):
                raise AnswerError(record["refused"])
            said = parse_answer(record["text"], prompt.handles)
        except AnswerError as error:
            return verdict_row(prompt.case_id, self.judge_id, self.judge_version, **more, abstain=str(error))
        return verdict_row(prompt.case_id, self.judge_id, self.judge_version, answer=said, **more)

    def _buy(self, prompt: Prompt, key: str, run: _Run) -> tuple[dict[str, Any], int]:
        """Return the record of a new answer, or `{"failure": why}`, and how many calls it took."""
        attempts = tries = 0
        while True:
            stopped = run.stopped
            reserved = (prompt.tokens, self.settings.max_output_tokens)
            refusal = stopped or run.budget.reserve(*reserved)
            if refusal:
                return {"failure": refusal}, attempts
            run.wait_for_turn()
            attempts += 1
            try:
                reply = self._client.ask(prompt.messages)
            except CallError as error:
                run.budget.settle(reserved, (0, 0))
                self._record_call(prompt, run, error.name, None)
                if error.name == "bad_request" and self._client.adapt():
                    continue
                tries += error.name != "adapted"
                wait_s = error.wait_s if error.wait_s is not None else _BACKOFF_S * 2**tries
                if error.again and tries <= self.settings.retries and wait_s <= MAX_WAIT_S:
                    run.pause(wait_s)
                    continue
                run.failed(error)
                return {"failure": f"{error} after {attempts} calls" if attempts > 1 else str(error)}, attempts
            run.budget.settle(reserved, (reply.tokens_in, reply.tokens_out))
            self._record_call(prompt, run, "ok", reply)
            run.succeeded()
            record = {
                "text": reply.text, "model": reply.model, "tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out,
                "latency_ms": reply.latency_ms, "refused": reply.refused, "prompt_sha256": prompt.sha256,
            }
            self._cache.put(key, record)
            return record, attempts

    def _record_call(self, prompt: Prompt, run: _Run, outcome: str, reply: Reply | None) -> None:
        at = datetime.now(UTC)
        sent = len(str(prompt.messages).encode()) + len(str(answer_schema()).encode())
        row = {
            "egress_id": short_id("g", at.isoformat(), self._client.endpoint, prompt.sha256, outcome), "at": at,
            "endpoint": self._client.endpoint, "judge_id": self.judge_id, "prompt_sha256": prompt.sha256, "bytes_sent": sent,
            "tokens_in": reply.tokens_in if reply else None, "outcome": outcome, "case_id": prompt.case_id, "role": self.role,
            "tokens_out": reply.tokens_out if reply else None,
            "cost_usd": run.budget.price(reply.tokens_in, reply.tokens_out) if reply else None,
        }
        self._calls.append({**row, "at": at.isoformat()})
        with self._lock:
            run.egress.append(row)


class _Run:
    """What the threads of one run share: budget, pauses, and whether it is worth going on."""

    def __init__(self, budget: Budget, total: int) -> None:
        self.budget, self.total = budget, total
        self.done = self.n_answers = 0
        self.egress: list[dict[str, Any]] = []
        self.stopped: str | None = None
        self.last_failure: CallError | None = None
        self._in_a_row = 0
        self._not_before = 0.0
        self._lock = threading.Lock()

    def pause(self, wait_s: float) -> None:
        """Let no thread call before `wait_s` seconds have passed."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + wait_s)

    def wait_for_turn(self) -> None:
        """Wait until the last pause is over."""
        while (left := self._not_before - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))

    def succeeded(self) -> None:
        """Note that the endpoint answers."""
        with self._lock:
            self._in_a_row = 0

    def failed(self, error: CallError) -> None:
        """Note a case that got no answer; stop the run when there is no sense in going on."""
        with self._lock:
            self.last_failure = error
            self._in_a_row += 1
            if error.fatal or (error.again and self._in_a_row >= GIVE_UP_AFTER):
                self.stopped = f"not tried: {error}"


def _nothing_judged(endpoint: str, failure: CallError, made: JudgeTables) -> JudgeError:
    hints = {
        "unreachable": "start it, or set judge.base_url; run again to go on",
        "unauthorized": "set that environment variable to a valid key",
        "not_found": "check judge.base_url and judge.model",
        "rate_limited": "wait, or lower judge.concurrency; run again to go on",
        "timeout": "raise judge.timeout_s, or lower judge.concurrency; run again to go on",
    }
    hint = hints.get(failure.name, "see the egress table; run again to go on")
    error = JudgeError(f"no case could be judged at {endpoint}: {failure}", hint)
    error.tables = made  # type: ignore[attr-defined]
    return error
