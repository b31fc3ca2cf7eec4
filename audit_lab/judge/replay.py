"""Answers recorded before, by prompt digest: experiments and demos rerun free, offline and identically.

The same file format serves batches that are judged elsewhere: `export_prompts` writes one JSON line per question
(`prompt_sha256, messages, schema`), `import_answers` reads one per answer (`prompt_sha256, model, answer, usage`).
A lab's own `answers.jsonl` is such a file too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab.errors import InputError, JudgeError
from audit_lab.hashing import text_digest
from audit_lab.judge.cache import LineFile
from audit_lab.judge.prompt import Examples, build_prompts, load_template
from audit_lab.judge.rows import count_tokens
from audit_lab.judge.schema import AnswerError, answer_schema, parse_answer
from audit_lab.judge.verdicts import JudgeTables, egress_frame, verdict_frame, verdict_row
from audit_lab.private import private_file

JUDGE_ID = "replay"
MAX_LINE_BYTES = 1 << 20


class ReplayJudge:
    """A judge that asks nobody: it says what was answered to the same prompt before, and abstains where nothing was.

    Parameters
    ----------
    path
        File of answers, JSON lines.
    examples
        Labelled cases that were shown when the answers were given; other examples make another prompt.
    lang
        Language that a summary was asked in.

    Raises
    ------
    InputError
        When the file is missing or holds no answer.
    """

    judge_id = JUDGE_ID

    def __init__(self, path: Path, *, examples: Examples = (), lang: str = "en", template: str = "") -> None:
        self.template = load_template(template, lang)
        self.examples = examples
        self._answers = read_answers(path)
        listed = json.dumps(sorted((key, item["model"], item["text"]) for key, item in self._answers.items()))
        self.judge_version = f"{self.template.name}-{text_digest(listed)[:12]}"

    def show(self, examples: Examples) -> None:
        """Choose the labelled cases that stand before the question."""
        self.examples = examples

    def __call__(self, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
        """Return a verdict per candidate, grounds unchecked; no call leaves the machine."""
        prompts = build_prompts(candidates["case_id"].to_list(), evidence, self.template, self.examples)
        rows = []
        for case_id, floor in candidates.select("case_id", "floor").iter_rows():
            prompt = prompts[case_id]
            record = self._answers.get(prompt.sha256)
            more: dict[str, Any] = {"prompt_sha256": prompt.sha256, "floor": floor}
            if record is None:
                why = "no answer to this prompt was recorded"
                rows.append(verdict_row(case_id, self.judge_id, self.judge_version, **more, abstain=why))
                continue
            more.update(model=record["model"], tokens_in=record["tokens_in"], tokens_out=record["tokens_out"], cost_usd=0.0, cached=True)
            try:
                answer = parse_answer(record["text"], prompt.handles)
            except AnswerError as error:
                rows.append(verdict_row(case_id, self.judge_id, self.judge_version, **more, abstain=str(error)))
            else:
                rows.append(verdict_row(case_id, self.judge_id, self.judge_version, answer=answer, **more))
        return JudgeTables(verdict_frame(rows), egress_frame([]))


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


def import_answers(path: Path, folder: Path) -> int:
    """Add answers of a file to those kept in `folder` for the judge 'replay', and return how many were new.

    Raises
    ------
    InputError
        When the file is missing or holds no answer.
    """
    known = read_answers(folder / "imported.jsonl") if (folder / "imported.jsonl").exists() else {}
    file = LineFile(folder / "imported.jsonl")
    fresh = {key: item for key, item in read_answers(path).items() if known.get(key) != item}
    for key, item in fresh.items():
        file.append({"prompt_sha256": key, **item})
    return len(fresh)


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Return prompt digest -> `text, model, tokens_in, tokens_out`; the last of several answers to a prompt counts.

    Three forms are read: `prompt_sha256, model, answer, usage`, lines of a lab's `answers.jsonl`, and results of batch
    services (`custom_id, response.body`).

    Raises
    ------
    InputError
        When the file is missing or holds no answer.
    """
    if not path.is_file():
        raise InputError(f"no file of answers '{path}'", "write one with: audit-lab judge --export-prompts FILE, and have it answered")
    found: dict[str, dict[str, Any]] = {}
    try:
        with path.open("rb") as file:
            for line in file:
                item = _answer_of(line) if len(line) <= MAX_LINE_BYTES else None
                if item is not None:
                    found[item[0]] = item[1]
    except OSError as error:
        raise InputError(f"answers cannot be read from '{path}': {error.strerror}") from None
    if not found:
        raise InputError(f"'{path}' holds no answer", 'one JSON line each: {"prompt_sha256": …, "model": …, "answer": …, "usage": …}')
    return found


def _answer_of(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """Return (prompt digest, record) of one line in any of the three forms; None where it is none of them."""
    try:
        raw = json.loads(line)
        if "custom_id" in raw:
            body = raw["response"]["body"]
            key, text, model, usage = raw["custom_id"], body["choices"][0]["message"]["content"], body.get("model"), body.get("usage")
        else:
            key, model = raw["prompt_sha256"], raw.get("model")
            text = raw["answer"] if "answer" in raw else raw["text"]
            usage = raw.get("usage") or {"prompt_tokens": raw.get("tokens_in"), "completion_tokens": raw.get("tokens_out")}
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(text, str):
        text = json.dumps(text)
    if not isinstance(key, str) or raw.get("refused"):
        return None
    usage = usage if isinstance(usage, dict) else {}
    return key, {
        "text": text, "model": str(model or "unknown")[:100], "tokens_in": _whole(usage.get("prompt_tokens"), 0),
        "tokens_out": _whole(usage.get("completion_tokens"), count_tokens(text)),
    }


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


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
