"""candidates + evidence -> verdicts: which judge, and the one call that runs it.

A judge is anything that turns (candidates, evidence, signals) into `JudgeTables` and says its name and version. A plain
function will do: `judge_cases(..., judge=mine)` takes one that returns a frame with `case_id` and `score`.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from audit_lab import tables
from audit_lab.errors import JudgeError
from audit_lab.judge import baseline
from audit_lab.judge.cascade import CascadeJudge
from audit_lab.judge.local import LocalJudge
from audit_lab.judge.models import ModelJudge
from audit_lab.judge.replay import ReplayJudge, check_replay
from audit_lab.judge.schema import Answer, Ground
from audit_lab.judge.verdicts import JudgeTables, egress_frame, verdict_frame, verdict_row, with_bill
from audit_lab.profile import JudgeSettings


class Judge(Protocol):
    """What every judge offers."""

    @property
    def judge_id(self) -> str:
        """Name, e.g. 'baseline'."""
        ...

    @property
    def judge_version(self) -> str:
        """What identifies its answers: digest of prompt, model and parameters."""
        ...

    def __call__(self, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
        """Return one verdict per candidate, grounds unchecked, and the calls that left the machine."""
        ...


@dataclass(frozen=True)
class FunctionJudge:
    """A judge made of a plain function of frames."""

    judge_id: str
    judge_version: str
    function: Callable[[pl.DataFrame, pl.DataFrame, pl.DataFrame], Any]

    def __call__(self, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
        """Run the function; a frame it returns is completed to table verdicts."""
        made = self.function(candidates, evidence, signals)
        return made if isinstance(made, JudgeTables) else JudgeTables(self._complete(made, candidates), egress_frame([]))

    def _complete(self, made: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
        if not isinstance(made, pl.DataFrame) or not {"case_id", "score"} <= set(made.columns):
            raise JudgeError(f"judge '{self.judge_id}' returned no frame with case_id and score", "see docs/judge.md")
        said = {item["case_id"]: item for item in made.iter_rows(named=True)}
        rows = []
        for case_id, floor in candidates.select("case_id", "floor").iter_rows():
            item = said.get(case_id, {})
            if item.get("score") is None:
                why = item.get("abstain") or "the judge gave no score"
                rows.append(verdict_row(case_id, self.judge_id, self.judge_version, abstain=why))
                continue
            answer = Answer(
                score=item["score"], summary=item.get("summary") or "", grounds=[Ground(**ground) for ground in item.get("grounds") or []],
                action=item.get("action"), checks=item.get("checks") or [],
            )
            rows.append(verdict_row(case_id, self.judge_id, self.judge_version, answer=answer, floor=floor))
        return verdict_frame(rows)


BASELINE = FunctionJudge(baseline.JUDGE_ID, baseline.VERSION, baseline.judge_baseline)


def make_judge(
    settings: JudgeSettings, folder: Path | None = None, progress: Callable[[int, int], None] | None = None, *, judge_id: str = "openai",
    fresh: bool = False,
) -> Judge:
    """Return the judge that a profile names.

    Parameters
    ----------
    settings
        Section judge of the profile.
    folder
        Where answers that were paid for are kept.
    progress
        Called with (cases done, cases).
    judge_id, fresh
        Of a judge that asks a model: its name in the tables; whether it asks although answers are kept.

    Raises
    ------
    JudgeError, MissingExtraError
        When the profile names no usable endpoint, or the package for it is not installed.
    """
    if settings.judge == "baseline":
        return BASELINE
    if settings.judge == "replay":
        return ReplayJudge(check_replay(settings.replay), lang=settings.lang, template=settings.prompt, settings=settings)
    if settings.cloud or settings.large or settings.role == "cloud":
        return CascadeJudge(settings, folder, progress=progress, judge_id=judge_id, fresh=fresh)
    if settings.gguf:
        return LocalJudge(settings, folder, progress=progress, judge_id=judge_id, fresh=fresh)
    return ModelJudge(settings, folder, progress=progress, judge_id=judge_id, fresh=fresh)


def judge_cases(
    candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame, judge: Judge | Callable[..., Any] = BASELINE,
    *, check: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
) -> JudgeTables:
    """Return the verdicts of a judge on all candidates, one each, in their order; grounds are unchecked.

    Parameters
    ----------
    candidates, evidence, signals
        Tables of those names.
    judge
        A judge, or a function `(candidates, evidence, signals) -> frame[case_id, score, (summary), (grounds), (action), (checks)]`.

    check
        Function that checks verdicts (`verify_verdicts` with its tables). When given, a judge that can is let repair, once,
        verdicts whose grounds do not hold, and the result is checked.

    Raises
    ------
    JudgeError
        When not one case could be judged because of the judge's endpoint.
    """
    tables.check(candidates, "candidates")
    tables.check(evidence, "evidence")
    tables.check(signals, "signals")
    if candidates.is_empty():
        return JudgeTables(tables.empty("verdicts"), tables.empty("egress"))
    chosen: Any = judge if hasattr(judge, "judge_version") else _named(judge)
    made: JudgeTables = chosen(candidates, evidence, signals)
    _one_each(made.verdicts, candidates, chosen.judge_id)
    made = JudgeTables(tables.check(made.verdicts, "verdicts"), tables.check(made.egress, "egress"))
    if check is None:
        return made
    made = _checked(made, candidates, evidence, signals, chosen, check)
    _one_each(made.verdicts, candidates, chosen.judge_id)
    return made


def _one_each(verdicts: pl.DataFrame, candidates: pl.DataFrame, judge_id: str) -> None:
    """Raise JudgeError unless every candidate has one verdict."""
    missing = set(candidates["case_id"]) - set(verdicts["case_id"])
    if missing or verdicts["case_id"].is_duplicated().any():
        raise JudgeError(f"judge '{judge_id}' gave no verdict, or two, on {max(len(missing), 1)} cases")


def _checked(
    made: JudgeTables, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame, judge: Any,
    check: Callable[[pl.DataFrame], pl.DataFrame],
) -> JudgeTables:
    """Check the verdicts; let the judge repair those whose grounds fail, look again at what still cannot be used, and keep the better."""
    made = made._replace(verdicts=check(made.verdicts))
    more = judge.repair(made.verdicts, candidates, evidence) if hasattr(judge, "repair") else None
    if more is not None:
        made = _both(made, more._replace(verdicts=check(more.verdicts)), candidates)
    more = judge.second_look(made.verdicts, candidates, evidence, signals) if hasattr(judge, "second_look") else None
    if more is not None:
        # A larger model's word counts wherever it gives one, as it does before the check.
        made = _both(made, more._replace(verdicts=check(more.verdicts)), candidates, always=True)
    return made


def _both(made: JudgeTables, more: JudgeTables, candidates: pl.DataFrame, *, always: bool = False) -> JudgeTables:
    """Return the better of two checked verdicts where there are two (`always`: the second, if it has a score); both are on its bill."""
    first, second = made.verdicts, more.verdicts
    before = first.select(
        "case_id", pl.col("grounded_share").alias("share_before"), pl.col("usable").alias("usable_before"),
        pl.col("score").is_null().alias("unread_before"))
    firmer = (pl.col("grounded_share").fill_null(1.0) > pl.col("share_before")).fill_null(False)
    better = second.filter(pl.col("score").is_not_null()).join(before, on="case_id", maintain_order="left").filter(
        pl.lit(always) | pl.col("unread_before") | (pl.col("usable") & ~pl.col("usable_before")) | firmer
    ).select(first.columns)
    kept = first.join(better.select("case_id"), on="case_id", how="anti")
    both = pl.concat([with_bill(kept, second), with_bill(better, first)])
    order = candidates.select("case_id").with_row_index("place")
    return JudgeTables(
        tables.check(both.join(order, on="case_id").sort("place").drop("place"), "verdicts"), pl.concat([made.egress, more.egress]))


def _named(function: Callable[..., Any]) -> FunctionJudge:
    name = getattr(function, "__name__", "judge")
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        source = name
    return FunctionJudge(name, f"function-{hashlib.sha256(source.encode()).hexdigest()[:12]}", function)
