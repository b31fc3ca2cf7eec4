"""Which of several answers to one question counts, for a run and for its replay alike.

A question that is asked several times has one verdict: that with the middle score. What cannot be read, and what gives
no score, stands back where another answer gives one.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from audit_lab.judge.schema import Answer, AnswerError, parse_answer


class Chosen(NamedTuple):
    """The answer that counts, None where none can be read and `why` says so; `place` of its record; spread of the scores of all."""

    answer: Answer | None
    place: int
    spread: float | None
    why: str | None


def choose_answer(records: Sequence[Mapping[str, Any]], handles: Mapping[str, str]) -> Chosen:
    """Return the answer that counts among those to one question.

    Parameters
    ----------
    records
        At least one: `text`, and `refused` where the model declined; in the order in which they were asked for.
    handles
        Event ids by handle, as in the prompt.

    >>> said = [{"text": '{"score": %s}' % score} for score in (0.1, 0.9, 0.4)]
    >>> chosen = choose_answer([*said, {"text": "well"}], {})
    >>> chosen.place, chosen.answer.score, chosen.spread
    (2, 0.4, 0.8)
    >>> choose_answer([{"text": "well"}], {}).why
    'answer is not JSON'
    """
    said: list[tuple[int, Answer]] = []
    why: str | None = None
    for place, record in enumerate(records):
        try:
            if record.get("refused"):
                raise AnswerError(str(record["refused"]))
            said.append((place, parse_answer(record["text"], handles)))
        except AnswerError as error:
            why = why or str(error)
    if not said:
        return Chosen(None, 0, None, why)
    scores = {place: answer.score for place, answer in said if answer.score is not None and not answer.abstain}
    if len(said) == 1 or not scores:
        return Chosen(said[0][1], said[0][0], None, None)
    middle = statistics.median_low(scores.values())
    place = next(place for place, score in scores.items() if score == middle)
    return Chosen(dict(said)[place], place, max(scores.values()) - min(scores.values()), None)
