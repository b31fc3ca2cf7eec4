"""Files of answers: what a lab bought, what was answered elsewhere, and what batch services return.

A prompt may have several answers: of several models, and of one that was asked several times. Lines that say of whom an
answer was asked for (`asked`, `repeat`: a lab's own) are all kept; of those that do not, the last to a prompt counts.
"""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path
from typing import Any, NamedTuple

from audit_lab.counting import counted
from audit_lab.errors import InputError
from audit_lab.judge.cache import LineFile
from audit_lab.judge.rows import count_tokens

IMPORTED = "imported.jsonl"
MAX_LINE_BYTES = 1 << 20
_OWN = ("asked", "repeat", "judge_id", "repairs", "refused")


class Recorded(NamedTuple):
    """Answers by digest of the prompt, in the order of the file, and how many lines could not be read.

    Each has `text, model, tokens_in, tokens_out`; and of a lab's own: `asked` (the model's name in the profile), `repeat`, `judge_id`,
    `repairs` (digest of the question that a repair belongs to), `refused` (why there is no text), each None where nobody said.
    """

    answers: dict[str, list[dict[str, Any]]]
    n_unreadable: int


def read_answers(path: Path) -> Recorded:
    """Read a file of answers.

    Three forms of lines are read: `prompt_sha256, model, answer, usage`, those of a lab's `answers.jsonl`, and results of batch
    services (`custom_id, response.body`).

    Raises
    ------
    InputError
        When the file is missing or holds no answer.
    """
    if not path.is_file():
        raise InputError(f"no file of answers '{path}'", "write one with: audit-lab judge --export-prompts FILE, and have it answered")
    found: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    n_unreadable = 0
    try:
        with path.open("rb") as file:
            for line in file:
                item = _answer_of(line) if len(line) <= MAX_LINE_BYTES else None
                if item is None:
                    n_unreadable += bool(line.strip())
                    continue
                # The later of two answers to the same question stands at its own place: it is the one that was given last.
                held = found.setdefault(item[0], {})
                held.pop(_slot(item[1]), None)
                held[_slot(item[1])] = item[1]
    except OSError as error:
        raise InputError(f"answers cannot be read from '{path}': {error.strerror}") from None
    if not found:
        raise InputError(f"'{path}' holds no answer", 'one JSON line each: {"prompt_sha256": …, "model": …, "answer": …, "usage": …}')
    return Recorded({key: list(held.values()) for key, held in found.items()}, n_unreadable)


def import_answers(path: Path, folder: Path) -> int:
    """Add answers of a file to those kept in `folder` for the judge 'replay', and return how many were new.

    Raises
    ------
    InputError
        When the file is missing or holds no answer.
    """
    kept = read_answers(folder / IMPORTED).answers if (folder / IMPORTED).exists() else {}
    known = {(key, _slot(item)): item for key, held in kept.items() for item in held}
    file = LineFile(folder / IMPORTED)
    n_new = 0
    for key, held in read_answers(path).answers.items():
        for item in held:
            if known.get((key, _slot(item))) != item:
                file.append({"prompt_sha256": key, **item})
                n_new += 1
    return n_new


def _slot(item: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells two answers to one prompt apart: the model that was asked, and the how-manieth time."""
    return item["asked"], item["repeat"]


def _answer_of(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """Return (prompt digest, record) of one line in any of the three forms; None where it is none of them."""
    try:
        raw = json.loads(line)
        if "custom_id" in raw:
            body = raw["response"]["body"]
            key, text, model, usage = raw["custom_id"], body["choices"][0]["message"]["content"], body.get("model"), body.get("usage")
            raw = {}
        else:
            key, model = raw["prompt_sha256"], raw.get("model")
            text = raw["answer"] if "answer" in raw else raw["text"]
            usage = raw.get("usage") or {"prompt_tokens": raw.get("tokens_in"), "completion_tokens": raw.get("tokens_out")}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(text, str):
        text = json.dumps(text)
    if not isinstance(key, str):
        return None
    usage = usage if isinstance(usage, dict) else {}
    said = {name: raw.get(name) for name in _OWN}
    return key, {
        "text": text, "model": str(model or "unknown")[:100], "tokens_in": _whole(usage.get("prompt_tokens"), 0),
        "tokens_out": _whole(usage.get("completion_tokens"), count_tokens(text)),
        **{name: value if isinstance(value, str) and value else None for name, value in said.items()},
        "repeat": _whole(said["repeat"], 0),
    }


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


class AnswersFit(NamedTuple):
    """How a file of answers fits the questions of a lab: how many have an answer by now, and what of the file is of no use."""

    n_questions: int
    n_answered: int
    n_unreadable: int
    n_strange: int

    def says(self) -> str:
        """Return it in one line.

        >>> AnswersFit(40, 38, 1, 2).says()
        '38 of 40 questions answered; 1 line unreadable, 2 answers fit no question'
        """
        lines = f"{counted(self.n_unreadable, 'line')} unreadable" if self.n_unreadable else ""
        strange = f"{counted(self.n_strange, 'answer')} {'fits' if self.n_strange == 1 else 'fit'} no question" if self.n_strange else ""
        said = f"{self.n_answered} of {counted(self.n_questions, 'question')} answered"
        return "; ".join(part for part in (said, ", ".join(part for part in (lines, strange) if part)) if part)


def fit_answers(path: Path, folder: Path, questions: Set[str]) -> AnswersFit:
    """Return how a file of answers fits questions.

    Parameters
    ----------
    path, folder
        The file; where answers of it and of files before it were added (`import_answers`).
    questions
        Digests of the prompts, as `--export-prompts` writes them.

    Raises
    ------
    InputError
        When a file is missing or holds no answer.
    """
    read = read_answers(path)
    # An answer to a repair belongs to the question that was repaired.
    strange = [key for key, held in read.answers.items() if key not in questions and not {item["repairs"] for item in held} & questions]
    return AnswersFit(len(questions), len(questions & read_answers(folder / IMPORTED).answers.keys()), read.n_unreadable, len(strange))
