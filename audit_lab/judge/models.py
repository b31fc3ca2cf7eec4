"""The judge that asks a language model: prompts out, answers in, within a budget, nothing lost and nothing paid twice.

Every candidate gets a verdict row: with a score where the model gave one that fits the schema, otherwise with the
reason in `abstain`. Every call leaves an egress row, the ones that failed included.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from audit_lab.errors import JudgeError
from audit_lab.hashing import text_digest
from audit_lab.judge.account import BILL_UNKNOWN, Account
from audit_lab.judge.budget import Budget, find_price, money_note
from audit_lab.judge.cache import AnswerCache, answer_key
from audit_lab.judge.choosing import choose_answer
from audit_lab.judge.client import CallError, ChatClient, split_url
from audit_lab.judge.evidence import EVIDENCE_VERSION
from audit_lab.judge.prompt import Example, Examples, Prompt, build_prompts, failures, load_template, only_for_cloud, repair_prompt
from audit_lab.judge.routing import STAYS
from audit_lab.judge.turns import Turns, nothing_judged
from audit_lab.judge.verdicts import JudgeTables, egress_frame, verdict_frame, verdict_row
from audit_lab.profile import JudgeSettings

JUDGE_ID = "openai"
# A server that asks for a longer pause than this is as good as absent for an interactive run.
MAX_WAIT_S = 120.0
_BACKOFF_S = 0.5


class Answered(NamedTuple):
    """What became of a question: the record of its answer (`text`, usage) or `failure`; calls it took; held before or not."""

    record: dict[str, Any]
    attempts: int
    cached: bool


class ModelJudge:
    """A judge at an OpenAI-compatible endpoint.

    Parameters
    ----------
    settings
        Section judge of the profile.
    folder
        Where answers and calls are kept; None keeps them for this process only.
    examples
        Labelled cases of earlier time, shown before the question: the same for all cases, or by case id.
    progress
        Called with (questions done, questions).
    judge_id
        Name in table verdicts.
    ready
        Called before the first question that no kept answer serves: starts what must run.
    fresh
        Ask although an answer is kept, and keep none; calls are accounted for all the same.
    """

    def __init__(
        self, settings: JudgeSettings, folder: Path | None = None, *, examples: Examples = (),
        progress: Callable[[int, int], None] | None = None, judge_id: str = JUDGE_ID, ready: Callable[[], None] | None = None,
        fresh: bool = False,
    ) -> None:
        self.settings, self.judge_id = settings, judge_id
        self.template = load_template(settings.prompt, settings.lang)
        self.price = find_price(settings)
        self._client = ChatClient(settings, settings.concurrency)
        self._cache = AnswerCache(None if fresh else folder)
        self.account = Account(folder, judge_id, settings.role)
        self.budget: Budget | None = None
        self.shared_budget: Budget | None = None
        # Cases of which a question, a repeat or a repair got no answer for a reason that may pass, and that reason.
        self.pending: dict[str, str] = {}
        self._progress, self._ready = progress, ready
        self._may_leave: frozenset[str] = frozenset()
        self.notes: list[str] = [note for note in (money_note(settings, self.price),) if note]
        if self.price.too_old(datetime.now(UTC).date()):
            self.notes.append(f"prices are those of {self.price.as_of}: give a newer table with judge.prices")
        self.show(examples)

    @property
    def template_name(self) -> str:
        """Name of the prompt file."""
        return self.template.name

    def show(self, examples: Examples) -> None:
        """Choose the labelled cases that are shown before the question; they are part of the judge's version."""
        # Whatever was chosen: a labelled case that is sensitive leaves the house no more than one that is judged.
        self.examples = examples = only_for_cloud(examples) if self.settings.role == "cloud" else examples
        lists = list(examples.values()) if isinstance(examples, Mapping) else [examples]
        pool: set[Example] = {example for chosen in lists for example in chosen}
        shown = text_digest("\n".join(sorted(example.facts + example.answer for example in pool)))
        # Two endpoints with one model name are two judges: who judged a case also says where it may be sent again.
        where = [self.settings.role, split_url(self.settings.base_url)[0]]
        parts = [self.template.digest, shown, EVIDENCE_VERSION, self.settings.model, str(self._client.parameters()), self.settings.repeats]
        self.judge_version = f"{self.template.name}-{text_digest(' '.join(map(str, parts + where)))[:12]}"

    def __call__(self, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
        """Return a verdict per candidate, grounds unchecked.

        Raises
        ------
        JudgeError
            When not one case could be judged because of the endpoint; its `tables` hold the verdict and egress rows all the same.
        """
        prompts = build_prompts(candidates["case_id"].to_list(), evidence, self.template, self.examples)
        self.budget = None
        if self.shared_budget is None:
            self.pending = {}
        return self._judge(prompts, dict(candidates.select("case_id", "floor").iter_rows()), self.settings.repeats)

    def new_budget(self) -> Budget:
        """Return the budget of a run from now on, less what was spent today already."""
        return Budget.of(self.settings, self.account.calls(), datetime.now(UTC).date(), self.judge_id)

    def share_budget(self, budget: Budget) -> None:
        """Begin a run in which other endpoints of the same judge spend from the same budget."""
        self.shared_budget, self.pending = budget, {}

    def repair(self, verdicts: pl.DataFrame, candidates: pl.DataFrame, evidence: pl.DataFrame) -> JudgeTables | None:
        """Ask once more where an answer is no verdict or grounds do not hold, telling why; None where there is nothing to repair.

        Of a question that was asked several times it is the answer that counted which is sent back, and it is sent back once.

        Parameters
        ----------
        verdicts
            Verdicts of this judge, checked.
        candidates, evidence
            What they were made from.
        """
        if not self.settings.repair:
            return None
        prompts = build_prompts(candidates["case_id"].to_list(), evidence, self.template, self.examples)
        again: dict[str, Prompt] = {}
        for item in verdicts.iter_rows(named=True):
            prompt = prompts[item["case_id"]]
            kept = [self._cache.get(self._key(prompt, repeat)) for repeat in range(self.settings.repeats)]
            whole = [record for record in kept if record is not None]
            held: dict[str, Any] = whole[choose_answer(whole, prompt.handles).place] if whole else {"refused": True}
            wrong = [] if held.get("refused") else failures(item)
            if wrong:
                again[item["case_id"]] = repair_prompt(prompt, held["text"], wrong, self.template)
        if not again:
            return None
        floors = dict(candidates.select("case_id", "floor").iter_rows())
        try:
            return self._judge(again, floors, repeats=1)
        except JudgeError as error:
            # What was judged before stands: a repair that cannot be asked for is no reason to fail.
            made: JudgeTables = error.tables  # type: ignore[attr-defined]
            return made

    def permit(self, case_ids: Collection[str]) -> None:
        """Name the cases that an endpoint in the cloud may be sent; before that it is sent none."""
        self._may_leave = frozenset(case_ids)

    def refuse(self, case_ids: Sequence[str], why: str) -> JudgeTables:
        """Return verdicts that say why nothing was asked."""
        rows = [verdict_row(case_id, self.judge_id, self.judge_version, abstain=why) for case_id in case_ids]
        return JudgeTables(verdict_frame(rows), egress_frame([]))

    def connect(self, url: str, key: str) -> None:
        """Use another address of the same model: that of a server that was started for it."""
        self._client.close()
        self._client = ChatClient(self.settings.model_copy(update={"base_url": url}), self.settings.concurrency, key)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # ---- questions and answers -----------------------------------------------------------------------------

    def _judge(self, prompts: dict[str, Prompt], floors: dict[str, float | None], repeats: int) -> JudgeTables:
        # Cases whose facts read the same are one question, asked once.
        distinct = {prompt.sha256: prompt for prompt in prompts.values()}
        questions = [(prompt, repeat) for prompt in distinct.values() for repeat in range(repeats)]
        # Question and repair are one run: they share one budget, and so do the endpoints of a cascade.
        self.budget = self.shared_budget or self.budget or self.new_budget()
        if self._ready and any(self._cache.get(self._key(*question)) is None for question in questions):
            self._ready()
        turns = Turns(self.budget, len(questions), self.settings.calls_per_minute, self._progress)
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            try:
                found = list(pool.map(lambda question: self._answer(question[0], question[1], turns), questions))
            except BaseException:
                # Interrupted: what waits is not asked any more, what is under way is kept when it comes.
                turns.stopped = "not tried: the run was interrupted"
                raise
        answers: dict[str, list[Answered]] = {}
        for (prompt, _), answered in zip(questions, found, strict=True):
            answers.setdefault(prompt.sha256, []).append(answered)
        for case_id, prompt in prompts.items():
            left = [answer.record for answer in answers[prompt.sha256] if not answer.record.get("lasting", "text" in answer.record)]
            self.pending |= {case_id: left[0]["failure"]} if left else {}
        asked: set[str] = set()
        rows = []
        for case_id, prompt in prompts.items():
            rows.append(self._verdict(prompt, floors[case_id], answers[prompt.sha256], again=prompt.sha256 in asked))
            asked.add(prompt.sha256)
        made = JudgeTables(verdict_frame(rows), egress_frame(turns.egress))
        if rows and turns.n_answers == 0 and turns.last_failure is not None:
            raise nothing_judged(self._client.endpoint, turns.last_failure, made)
        return made

    def _key(self, prompt: Prompt, repeat: int = 0) -> str:
        return answer_key(prompt.sha256, self.settings.model, self._client.parameters(), repeat)

    def _answer(self, prompt: Prompt, repeat: int, turns: Turns) -> Answered:
        record = self._cache.get(self._key(prompt, repeat))
        found = Answered(record, 0, True) if record is not None else self._buy(prompt, repeat, turns)
        turns.answered("text" in found.record)
        return found

    def _buy(self, prompt: Prompt, repeat: int, turns: Turns) -> Answered:
        attempts = tries = 0
        while True:
            # Whoever asks, and however often: this is the last place before the wire.
            if self.settings.role == "cloud" and prompt.case_id not in self._may_leave:
                return Answered({"failure": STAYS, "lasting": True}, attempts, False)
            most = prompt.tokens + self._client.overhead() + self.settings.max_output_tokens
            held = (most, self.price.of(most - self.settings.max_output_tokens, self.settings.max_output_tokens))
            refusal = turns.stopped or turns.budget.reserve(*held)
            if refusal:
                return Answered({"failure": refusal}, attempts, False)
            turns.wait()
            attempts += 1
            call = self.account.opened(self._client, prompt, turns.number(), held)
            try:
                reply = self._client.ask(prompt.messages)
            except CallError as error:
                if error.name not in BILL_UNKNOWN:
                    turns.budget.settle(-most, -(held[1] or 0.0))
                turns.record(self.account.closed(call, error.name, None, None, held))
                if error.name == "bad_request" and self._client.adapt():
                    continue
                tries += error.name != "adapted"
                wait_s = error.wait_s if error.wait_s is not None else _BACKOFF_S * 2**tries
                if error.again and tries <= self.settings.retries and wait_s <= MAX_WAIT_S:
                    turns.pause(wait_s)
                    continue
                turns.failed(error)
                failure = f"{error} after {attempts} calls" if attempts > 1 else str(error)
                return Answered({"failure": failure, "lasting": error.lasting}, attempts, False)
            cost = self.price.of(reply.tokens_in, reply.tokens_out)
            turns.budget.settle(reply.tokens_in + reply.tokens_out - most, (cost or 0.0) - (held[1] or 0.0))
            turns.succeeded()
            record = {
                "text": reply.text, "model": reply.model, "tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out,
                "latency_ms": reply.latency_ms, "refused": reply.refused, "prompt_sha256": prompt.sha256,
                # Whose answer it is: a replay picks among those to one prompt as the run does.
                "asked": self.settings.model, "repeat": repeat, "judge_id": self.judge_id, "repairs": prompt.repairs,
            }
            # First the answer, then the account of it: a crash between the two leaves the line that says it was sent.
            self._cache.put(self._key(prompt, repeat), record)
            turns.record(self.account.closed(call, "ok", reply, cost, held))
            return Answered(record, attempts, False)

    # ---- verdicts ------------------------------------------------------------------------------------------

    def _verdict(self, prompt: Prompt, floor: float | None, answers: list[Answered], *, again: bool) -> dict[str, Any]:
        whole = [answer for answer in answers if "text" in answer.record]
        cached = bool(whole) and (again or all(answer.cached for answer in whole))
        more: dict[str, Any] = {
            "attempts": 0 if again else sum(answer.attempts for answer in answers), "cached": cached, "prompt_sha256": prompt.sha256,
            "floor": floor,
        }
        if not whole:
            return verdict_row(prompt.case_id, self.judge_id, self.judge_version, **more, abstain=answers[0].record["failure"])
        fresh = [answer.record for answer in whole if not (answer.cached or again)]
        costs = [self.price.of(record["tokens_in"], record["tokens_out"]) for record in fresh]
        more.update(
            model=whole[0].record["model"], tokens_in=sum(answer.record["tokens_in"] for answer in whole),
            tokens_out=sum(answer.record["tokens_out"] for answer in whole),
            latency_ms=sum(record["latency_ms"] for record in fresh) if fresh else None,
            cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        )
        answer, _, spread, why = choose_answer([answer.record for answer in whole], prompt.handles)
        if answer is None:
            return verdict_row(prompt.case_id, self.judge_id, self.judge_version, **more, abstain=why)
        return verdict_row(prompt.case_id, self.judge_id, self.judge_version, answer=answer, spread=spread, **more)
