"""Prompts: versioned files with a digest, filled with evidence lines and nothing else (law 5).

This module sees table evidence only. A prompt is a pure function of the prompt file, the evidence texts and the
examples, so the digest of its messages says exactly what a model was shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab.errors import InputError
from audit_lab.hashing import text_digest
from audit_lab.judge.rows import claim_text, count_tokens, number_events
from audit_lab.judge.schema import ALL_COMMON, NO_VERDICT, answer_schema

_MORE = {ALL_COMMON: "; give one that sets this case apart, or, for a low score, say in the summary what speaks for innocence"}
PROMPT = "verdict-4"
LANGUAGES = {"en": "English", "ko": "Korean"}
_SECTIONS = ("system", "user", "example", "repair")
# Most that a repair sends besides the schema: with it, the longest question, four examples and two schemas 200 cases a day
# stay at 0.02 % of sending 5 million raw events.
REPAIR_TOKENS = 850
_WRONG_CHARS = 160
# After the lines with a claim these are the ones that a repair keeps first.
_TELLING = ("innocence:", "rules of severity")


@dataclass(frozen=True)
class Template:
    """A prompt file: its sections, and the digest of the file and the schema that goes with it."""

    name: str
    sections: dict[str, str]
    digest: str


@dataclass(frozen=True)
class Example:
    """A labelled case of earlier time, as a model sees it: the facts, and the answer that would have been right.

    `stays`: it is shown to no model outside the house; so is every one of which nobody said otherwise.
    """

    facts: str
    answer: str
    stays: bool = True


Examples = Sequence[Example] | Mapping[str, Sequence[Example]]


def only_for_cloud(examples: Examples) -> Examples:
    """Return the examples that may leave the house."""
    if isinstance(examples, Mapping):
        return {case_id: [one for one in chosen if not one.stays] for case_id, chosen in examples.items()}
    return [one for one in examples if not one.stays]


@dataclass(frozen=True)
class Prompt:
    """What is sent for one case: `sha256` is the digest of `messages` and the schema, `handles` maps `e4` to event ids.

    `repairs` is the digest of the question that it asks again, `facts` the lines that the case is shown by.
    """

    case_id: str
    messages: list[dict[str, str]]
    sha256: str
    tokens: int
    handles: dict[str, str] = field(default_factory=dict)
    repairs: str | None = None
    facts: tuple[str, ...] = ()


def load_template(name: str = PROMPT, lang: str = "en") -> Template:
    """Return a prompt file; `lang` (en or ko) is the language that it asks a summary in.

    `name` is that of a built-in one ('' = the newest), or the path of one's own, which ends with '.md'.

    Raises
    ------
    InputError
        When there is no such file, or it lacks a section.

    >>> load_template().name
    'verdict-4'
    """
    name = name or PROMPT
    folder = resources.files("audit_lab.judge") / "prompts"
    known = sorted(item.name.removesuffix(".md") for item in folder.iterdir() if item.name.endswith(".md"))
    own = Path(name) if name.endswith(".md") else None
    if name not in known and not (own and own.is_file()):
        raise InputError(f"no prompt '{name}'", f"one of: {', '.join(known)}, or the path of a .md file with the same sections")
    name = own.stem if own else name
    text = (own or folder / f"{name}.md").read_text(encoding="utf-8").replace("{language}", LANGUAGES[lang])
    parts = re.split(r"^# (\w+)\n", text, flags=re.MULTILINE)
    sections = {title: body.strip() for title, body in zip(parts[1::2], parts[2::2], strict=True)}
    missing = [section for section in _SECTIONS if section not in sections]
    if missing:
        raise InputError(f"prompt '{name}' has no section '{missing[0]}'")
    return Template(name, sections, text_digest(text + json.dumps(answer_schema(), sort_keys=True)))


def build_prompts(
    case_ids: Sequence[str], evidence: pl.DataFrame, template: Template, examples: Examples = (),
) -> dict[str, Prompt]:
    """Return the prompt of each case.

    Parameters
    ----------
    case_ids
        Cases to ask about; one without evidence gets a prompt that says so.
    evidence
        Table evidence.
    template
        The prompt file.
    examples
        Labelled cases shown before the question: the same for all, or by case id.
    """
    prompts: dict[str, Prompt] = {}
    for case_id, texts, ids in packs(case_ids, evidence):
        mine = examples.get(case_id, ()) if isinstance(examples, Mapping) else examples
        messages = [{"role": "system", "content": template.sections["system"]}]
        for example in mine:
            messages.append({"role": "user", "content": template.sections["example"].replace("{facts}", example.facts)})
            messages.append({"role": "assistant", "content": example.answer})
        messages.append({"role": "user", "content": template.sections["user"].replace("{facts}", facts_text(texts))})
        handles = {f"e{number}": event_id for event_id, number in number_events(ids).items()}
        tokens = sum(_tokens(message["content"]) for message in messages)
        prompts[case_id] = Prompt(case_id, messages, digest_messages(messages, template), tokens, handles, facts=tuple(texts))
    return prompts


@lru_cache(maxsize=256)
def _tokens(text: str) -> int:
    # Four tokens for what a chat template puts around a message.
    return count_tokens(text) + 4


def packs(case_ids: Sequence[str], evidence: pl.DataFrame) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return (case_id, texts, event ids per row) in the order of `case_ids`."""
    grouped = evidence.sort("case_id", "row").group_by("case_id", maintain_order=True).agg("text", "event_ids")
    held = {case_id: (texts, ids) for case_id, texts, ids in grouped.select("case_id", "text", "event_ids").iter_rows()}
    return [(case_id, *held.get(case_id, ([], []))) for case_id in case_ids]


def facts_text(texts: Sequence[str]) -> str:
    """Return evidence texts as numbered lines."""
    return "\n".join(f"{number} {text}" for number, text in enumerate(texts, start=1)) or "(no facts)"


def failures(verdict: Mapping[str, Any]) -> list[str]:
    """Return what makes a checked verdict unusable, one line each, in our words; empty where it can be used or the judge abstained."""
    grounds = [
        f"ground {number} {claim_text(ground['claim'])}: {ground['wrong']}"
        for number, ground in enumerate(verdict["grounds"], start=1) if ground["wrong"]
    ]
    if verdict["score"] is None:
        # A model that abstains in its own words is not argued with, and its words are not sent back as ours.
        unread = verdict["summary_by"] is None and str(verdict["abstain"]).startswith(NO_VERDICT)
        return [verdict["abstain"]] if unread else []
    why = verdict["set_aside"]
    return grounds or ([] if verdict["usable"] else [f"{why}{_MORE.get(why, '')}"])


def repair_prompt(prompt: Prompt, answer: str, wrong: Sequence[str], template: Template) -> Prompt:
    """Return the one repair attempt: the question without its examples, the answer so far, and what is wrong with it, in our words.

    A prompt file with a section `again` asks with that in place of its system message, and then sends at most `REPAIR_TOKENS`: of the
    facts those that a ground can rest on first, of a long answer its beginning.

    Parameters
    ----------
    prompt, answer
        What was asked, and the model's text.
    wrong
        What `failures` found.
    """
    again = template.sections.get("again")
    lines = [f"- {line if again is None else line[:_WRONG_CHARS]}" for line in wrong]
    said = template.sections["repair"].replace("{wrong}", "\n".join(lines))
    # Examples have done their work: what is sent again is the question, its answer, and what is wrong with it.
    asked = [prompt.messages[0], prompt.messages[-1]]
    if again is not None:
        room = REPAIR_TOKENS - sum(map(_tokens, (again, template.sections["user"], "", said)))
        answer = _cut(_compact(answer), room * 2 // 3)
        facts = _telling(prompt.facts, room - count_tokens(answer))
        asked = [{"role": "system", "content": again}, {"role": "user", "content": template.sections["user"].replace("{facts}", facts)}]
    messages = [*asked, {"role": "assistant", "content": answer}, {"role": "user", "content": said}]
    tokens = sum(_tokens(message["content"]) for message in messages)
    return Prompt(prompt.case_id, messages, digest_messages(messages, template), tokens, prompt.handles, prompt.sha256)


def _compact(answer: str) -> str:
    """Return an answer without its empty parts; as it is where it is no JSON object."""
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(part) for key, part in value.items() if part is not None}
        return [filled(part) for part in value] if isinstance(value, list) else value

    try:
        held = json.loads(answer)
    except (ValueError, RecursionError):
        return answer
    return json.dumps(filled(held), ensure_ascii=False, separators=(",", ":")) if isinstance(held, dict) else answer


def _cut(text: str, most: int) -> str:
    """Return a text, shortened where it has more tokens than `most`."""
    while text and count_tokens(text) > most:
        text = text[: min(len(text) - 1, len(text) * max(most, 0) // count_tokens(text))]
    return text


def _telling(texts: Sequence[str], most: int) -> str:
    """Return the lines that a repair needs most, as many as `most` tokens hold, in their places and under their numbers."""
    def weight(item: tuple[int, str]) -> int:
        return 0 if item[1].endswith("}") else 1 + next((at for at, word in enumerate(_TELLING) if item[1].startswith(word)), len(_TELLING))

    kept = []
    for number, text in sorted(enumerate(texts, start=1), key=weight):
        line = f"{number} {text}\n"
        if count_tokens(line) <= most:
            most -= count_tokens(line)
            kept.append((number, text))
    return "\n".join(f"{number} {text}" for number, text in sorted(kept))


def digest_messages(messages: list[dict[str, str]], template: Template) -> str:
    """Return the digest of exactly what is shown: the messages and the template's schema."""
    return text_digest(json.dumps({"messages": messages, "template": template.digest}, sort_keys=True, ensure_ascii=False))


def render_prompt(
    evidence: pl.DataFrame, examples: Examples = (), *, lang: str = "en", template: str = "",
    places: Sequence[tuple[str, bool]] = (("", False),),
) -> str:
    """Return exactly what a model would be shown of one case: every message under its role, and the schema of its answer.

    Parameters
    ----------
    evidence
        Rows of table evidence of one case.
    examples
        What `examples_for` chose, where there are labels.
    lang, template
        Language of the summary; prompt file, as for `load_template`.
    places
        What `asked_places` returned: who is shown this, in words, and whether the schema is the one for a model file on this machine. All
        are sent the same messages.
    """
    case_ids = evidence["case_id"].unique(maintain_order=True).to_list()[:1]
    prompts = build_prompts(case_ids, evidence, load_template(template, lang), examples)
    named = [where for where, _ in places if where]
    shown = ["\n".join(["[sent to]", *named])] if named else []
    shown += [f"[{message['role']}]\n{message['content']}" for prompt in prompts.values() for message in prompt.messages]
    kinds = list(dict.fromkeys(bounded for _, bounded in places))
    for bounded in kinds:
        of = "" if len(kinds) == 1 else f" for {'; '.join(where for where, theirs in places if theirs == bounded)}"
        shown.append(f"[schema{of}]\n{json.dumps(answer_schema(bounded))}")
    return "\n\n".join(shown)
