"""Answers recorded before, by prompt digest: experiments and demos rerun free, offline and identically.

The same file format serves batches that are judged elsewhere: `export_prompts` writes one JSON line per question
(`prompt_sha256, messages, schema`), `recorded.import_answers` reads one per answer (`prompt_sha256, model, answer, usage`).
A lab's own `answers.jsonl` is such a file too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab.errors import InputError, JudgeError
from audit_lab.hashing import text_digest
from audit_lab.judge.cascade import doubts, unusable, with_second
from audit_lab.judge.choosing import choose_answer
from audit_lab.judge.local import model_name
from audit_lab.judge.prompt import Examples, Prompt, build_prompts, failures, load_template, repair_prompt
from audit_lab.judge.recorded import read_answers
from audit_lab.judge.schema import answer_schema
from audit_lab.judge.verdicts import CHALLENGER, JudgeTables, egress_frame, verdict_frame, verdict_row
from audit_lab.private import private_file
from audit_lab.profile import JudgeSettings

JUDGE_ID = "replay"
NOT_RECORDED = "no answer to this prompt was recorded"
# Answers of one model to one prompt, in the order in which they were asked for.
Group = list[dict[str, Any]]


class ReplayJudge:
    """A judge that asks nobody: it says what was answered to the same prompt before, and abstains where nothing was.

    It picks as the run did that recorded the answers: the middle of repeated ones; of several models the one whose word counted, that
    is the larger one's where it gave a score; and a repair, where one was asked for.

    Parameters
    ----------
    path
        File of answers, JSON lines.
    examples
        Labelled cases that were shown when the answers were given; other examples make another prompt.
    lang
        Language that a summary was asked in.
    template
        Prompt file, as for `load_template`.
    settings
        Section judge of the profile that the answers were recorded with: its models are looked for first, as often as it asks each
        question, and a cascade's routes count. Without models in it the file alone decides: the last model that gave a score.

    Raises
    ------
    InputError
        When the file is missing or holds no answer.
    """

    judge_id = JUDGE_ID

    def __init__(
        self, path: Path, *, examples: Examples = (), lang: str = "en", template: str = "", settings: JudgeSettings | None = None,
    ) -> None:
        self.template = load_template(template, lang)
        self.examples = examples
        self._settings = settings or JudgeSettings()
        self._models = _models_of(self._settings)
        self._routes: dict[str, str] = {}
        self._judged_by: dict[str, Group] = {}
        self._looked: set[str] = set()
        self._groups: dict[str, list[Group]] = {}
        listed = []
        for key, records in read_answers(path).answers.items():
            by_model: dict[tuple[bool, str | None], Group] = {}
            for record in records:
                listed.append([key, record["asked"], record["repeat"], record["model"], record["text"]])
                by_model.setdefault((record["judge_id"] != CHALLENGER, record["asked"]), []).append(record)
            # A challenger in shadow never counted: it comes before all others, of which the last counts.
            ordered = sorted(by_model.items(), key=lambda item: item[0][0])
            self._groups[key] = [sorted(group, key=lambda record: record["repeat"]) for _, group in ordered]
        chosen = [*map(str, self._models.values()), str(self._settings.repeats)] if self._models else []
        self.judge_version = f"{self.template.name}-{text_digest(json.dumps([sorted(map(str, listed)), chosen]))[:12]}"

    def show(self, examples: Examples) -> None:
        """Choose the labelled cases that stand before the question."""
        self.examples = examples

    def route(self, routes: pl.DataFrame) -> None:
        """Take over where each case may be judged: so the endpoint was chosen that was asked first."""
        self._routes = dict(routes.select("case_id", "role").iter_rows())

    def __call__(self, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
        """Return a verdict per candidate, grounds unchecked; no call leaves the machine."""
        self._judged_by, self._looked = {}, set()
        prompts = build_prompts(candidates["case_id"].to_list(), evidence, self.template, self.examples)
        rows = []
        for case_id, floor in candidates.select("case_id", "floor").iter_rows():
            group = self._first(prompts[case_id])
            if group:
                self._judged_by[case_id] = group
            rows.append(self._row(prompts[case_id], group, floor))
        first = verdict_frame(rows)
        second = self._look(list(doubts(first, candidates, self._settings)), candidates, evidence)
        if second is None:
            return JudgeTables(first, egress_frame([]))
        order = candidates.select("case_id").with_row_index("place")
        return second._replace(verdicts=with_second(first, second.verdicts).join(order, on="case_id").sort("place").drop("place"))

    def repair(self, verdicts: pl.DataFrame, candidates: pl.DataFrame, evidence: pl.DataFrame) -> JudgeTables | None:
        """Say what was answered when a verdict was sent back with what is wrong with it; None where that never happened."""
        if not self._settings.repair:
            return None
        prompts = build_prompts(candidates["case_id"].to_list(), evidence, self.template, self.examples)
        floors = dict(candidates.select("case_id", "floor").iter_rows())
        rows = []
        for item in verdicts.iter_rows(named=True):
            prompt, group = prompts[item["case_id"]], self._judged_by.get(item["case_id"], [])
            wrong = failures(item) if group else []
            if not wrong:
                continue
            counted = choose_answer(group, prompt.handles).place
            # Earlier versions sent back the first of repeated answers.
            for record in [group[counted], *group]:
                again = repair_prompt(prompt, record["text"], wrong, self.template)
                held = [part for part in self._groups.get(again.sha256, []) if part[0]["asked"] == record["asked"]]
                if held and not record["refused"]:
                    rows.append(self._row(again, held[-1], floors[item["case_id"]]))
                    break
        return JudgeTables(verdict_frame(rows), egress_frame([])) if rows else None

    def second_look(
        self, verdicts: pl.DataFrame, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame,
    ) -> JudgeTables | None:
        """Say what the large model answered about checked verdicts that cannot be used; None where it was not asked."""
        return self._look(unusable(verdicts), candidates, evidence)

    def _first(self, prompt: Prompt) -> Group:
        """Return the answers of the model that was asked first; of a file alone those of the last that gave a score; [] for none."""
        held = self._held(prompt)
        first = "cloud" if self._routes.get(prompt.case_id) == "cloud" and "cloud" in self._models else "first"
        # What may leave the house is judged in it when the cloud is down.
        begun = held.get(first) or held.get("first")
        if begun:
            return begun
        groups = self._groups.get(prompt.sha256, [])
        return next((group for group in reversed(groups) if _gives_score(group, prompt)), groups[0] if groups else [])

    def _held(self, prompt: Prompt) -> dict[str, Group]:
        """Return the answers of the profile's models by their role, no more of each than the profile asks for."""
        by_model = {
            group[0]["asked"]: [record for record in group if record["repeat"] < self._settings.repeats]
            for group in self._groups.get(prompt.sha256, [])}
        return {role: by_model[name] for role, name in self._models.items() if by_model.get(name)}

    def _look(self, wanted: Sequence[str], candidates: pl.DataFrame, evidence: pl.DataFrame) -> JudgeTables | None:
        """Return the large model's verdicts on cases that it was not looked up for yet, as far as it was asked."""
        fresh = [case_id for case_id in wanted if case_id not in self._looked] if "large" in self._models else []
        self._looked |= set(fresh)
        prompts = build_prompts(fresh, evidence, self.template, self.examples)
        floors = dict(candidates.select("case_id", "floor").iter_rows())
        rows = []
        for case_id, prompt in prompts.items():
            held = self._held(prompt)
            if "large" in held and len(held) > 1:
                rows.append(self._row(prompt, held["large"], floors[case_id]))
                if _gives_score(held["large"], prompt):
                    self._judged_by[case_id] = held["large"]
        return JudgeTables(verdict_frame(rows), egress_frame([])) if rows else None

    def _row(self, prompt: Prompt, records: Group, floor: float | None) -> dict[str, Any]:
        more: dict[str, Any] = {"prompt_sha256": prompt.sha256, "floor": floor}
        if not records:
            return verdict_row(prompt.case_id, self.judge_id, self.judge_version, **more, abstain=NOT_RECORDED)
        more.update(
            model=records[0]["model"], tokens_in=sum(record["tokens_in"] for record in records),
            tokens_out=sum(record["tokens_out"] for record in records), cost_usd=0.0, cached=True,
        )
        said = choose_answer(records, prompt.handles)
        if said.answer is None:
            return verdict_row(prompt.case_id, self.judge_id, self.judge_version, **more, abstain=said.why)
        return verdict_row(prompt.case_id, self.judge_id, self.judge_version, answer=said.answer, spread=said.spread, **more)


def _models_of(settings: JudgeSettings) -> dict[str, str]:
    """Return the names under which a profile's models were asked: first, cloud, large, as far as it names them."""
    name = settings.model
    if settings.gguf:
        try:
            name = model_name(Path(settings.gguf))
        except OSError:  # the file is not on this machine: the recorded answers have to do
            name = ""
    endpoints = {"cloud": settings.cloud, "large": settings.large}
    return {"first": name, **{role: chosen.model for role, chosen in endpoints.items() if chosen is not None}} if name else {}


def _gives_score(group: Group, prompt: Prompt) -> bool:
    answer = choose_answer(group, prompt.handles).answer
    return answer is not None and answer.score is not None and not answer.abstain


def export_prompts(
    candidates: pl.DataFrame, evidence: pl.DataFrame, path: Path, *, examples: Examples = (), batch_model: str = "",
    max_output_tokens: int = 800, lang: str = "en", template: str = "",
) -> int:
    """Write the question of every candidate to a file, one JSON line each, and return how many.

    Parameters
    ----------
    candidates, evidence
        Tables of those names.
    path
        File to write; it is replaced.
    examples
        Labelled cases shown before the question.
    batch_model
        When given, lines have the form that batch services of OpenAI-compatible endpoints take (`custom_id, method, url, body`).
    max_output_tokens
        Longest answer, for batch lines.
    lang, template
        Language of the summaries; prompt file, as for `load_template`.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    prompts = build_prompts(candidates["case_id"].to_list(), evidence, load_template(template, lang), examples)
    schema = answer_schema()
    lines: list[dict[str, Any]] = []
    for prompt in {prompt.sha256: prompt for prompt in prompts.values()}.values():
        if batch_model:
            body = {
                "model": batch_model, "messages": prompt.messages, "max_tokens": max_output_tokens, "temperature": 0,
                "response_format": {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}},
            }
            lines.append({"custom_id": prompt.sha256, "method": "POST", "url": "/v1/chat/completions", "body": body})
        else:
            lines.append({"prompt_sha256": prompt.sha256, "messages": prompt.messages, "schema": schema})
    try:
        private_file(path).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise InputError(f"prompts cannot be written to '{path}': {error.strerror}", "choose another file") from None
    return len(lines)


def prompt_digests(
    candidates: pl.DataFrame, evidence: pl.DataFrame, *, examples: Examples = (), lang: str = "en", template: str = "",
) -> set[str]:
    """Return the digests of the questions about all candidates, as `export_prompts` writes them; parameters as there."""
    prompts = build_prompts(candidates["case_id"].to_list(), evidence, load_template(template, lang), examples)
    return {prompt.sha256 for prompt in prompts.values()}


def check_replay(path: str) -> Path:
    """Return the file of answers that a profile names.

    Raises
    ------
    JudgeError
        When it names none.
    """
    if not path:
        raise JudgeError("judge.replay names no file of answers", "set it to a file of JSON lines, e.g. lab/answers/answers.jsonl")
    return Path(path)
