"""Several endpoints as one judge: by role, and from small to large.

Each case goes to the endpoint that its route allows. Where the first model is unsure, gives no score or none that can be
used, or is far from what the signals say, a larger one is asked, on-premises unless the case may go to the cloud. A case
whose endpoint is down waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from audit_lab.errors import JudgeError
from audit_lab.judge.client import check_endpoint
from audit_lab.judge.local import LocalJudge
from audit_lab.judge.models import ModelJudge
from audit_lab.judge.prompt import Examples
from audit_lab.judge.routing import NO_HOUSE, WAITS, sensitivity_notes
from audit_lab.judge.verdicts import JudgeTables, with_bill
from audit_lab.profile import EndpointSettings, JudgeSettings

Endpoint = ModelJudge | LocalJudge


def settings_for(settings: JudgeSettings, endpoint: EndpointSettings) -> JudgeSettings:
    """Return the judge's settings with another endpoint in place of the first."""
    return settings.model_copy(update={**endpoint.model_dump(), "gguf": "", "cloud": None, "large": None})


def asked_places(settings: JudgeSettings, may_leave: bool) -> list[tuple[str, bool]]:
    """Return who may be asked about a case, in the order of asking: in words, and whether it is asked by the schema for a model file.

    `may_leave` says that the case may go to the cloud. The last word of a cascade comes from the large model, where it is asked.
    """
    if settings.judge != "openai":
        return [(f"nobody: judge '{settings.judge}' asks no model; this is what one would be shown", False)]
    first = settings.model_copy(update={"cloud": None, "large": None})
    large = settings_for(settings, settings.large) if settings.large else None
    places: list[tuple[str, JudgeSettings | None]] = [("", first), ("in doubt", large)]
    if may_leave and settings.cloud:
        places = [("", settings_for(settings, settings.cloud)), ("when that is down", first), places[1]]
    found = [(_place(chosen, when), bool(chosen.gguf)) for when, chosen in places if chosen and (may_leave or chosen.role == "onprem")]
    return found or [(f"nobody: {NO_HOUSE}", False)]


def _place(settings: JudgeSettings, when: str) -> str:
    try:
        where = f"file {Path(settings.gguf).name} on this machine" if settings.gguf else f"{settings.model} at {check_endpoint(settings)}"
    except JudgeError as error:
        where = f"no endpoint that can be used ({error})"
    return f"{settings.role}: {where}{when and f', {when}'}"


class CascadeJudge:
    """A judge of up to three endpoints: the first of the profile, one in the cloud, and a larger one.

    Parameters
    ----------
    settings, folder, examples, progress, judge_id, fresh
        As for `ModelJudge`.
    """

    def __init__(
        self, settings: JudgeSettings, folder: Path | None = None, *, examples: Examples = (),
        progress: Callable[[int, int], None] | None = None, judge_id: str = "openai", fresh: bool = False,
    ) -> None:
        self.settings, self.judge_id, self._fresh = settings, judge_id, fresh
        first = settings.model_copy(update={"cloud": None, "large": None})
        kind = LocalJudge if settings.gguf else ModelJudge
        self._first: Endpoint = kind(first, folder, examples=examples, progress=progress, judge_id=judge_id, fresh=fresh)
        self._cloud = self._other(settings.cloud, folder, examples)
        self._large = self._other(settings.large, folder, examples)
        self._routes: dict[str, str] = {}
        # Who gave the verdict that stands: nobody else may be asked to repair it.
        self._judged_by: dict[str, Endpoint] = {}
        # Cases that the large model was asked about, or would have been: once is enough.
        self._looked: set[str] = set()
        self._n_looks: Counter[str] = Counter()
        self._n_stayed = self._n_counted = 0

    def _other(self, endpoint: EndpointSettings | None, folder: Path | None, examples: Examples) -> ModelJudge | None:
        if endpoint is None:
            return None
        chosen = settings_for(self.settings, endpoint)
        return ModelJudge(chosen, folder, examples=examples, judge_id=self.judge_id, fresh=self._fresh)

    @property
    def judge_version(self) -> str:
        """Versions of all its judges."""
        return "+".join(judge.judge_version for judge in self.endpoints())

    def show(self, examples: Examples) -> None:
        """Choose the labelled cases that every endpoint is shown."""
        for judge in self.endpoints():
            judge.show(examples)

    def route(self, routes: pl.DataFrame) -> None:
        """Take over where each case may be judged; a case without a route stays on-premises."""
        self._routes = dict(routes.select("case_id", "role").iter_rows())
        for judge in self.endpoints():
            if isinstance(judge, ModelJudge):
                judge.permit([case_id for case_id, role in self._routes.items() if role == "cloud"])

    def close(self) -> None:
        """Close all connections."""
        for judge in self.endpoints():
            judge.close()

    def __call__(self, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
        """Return a verdict per candidate, grounds unchecked.

        Raises
        ------
        JudgeError
            When not one case could be judged.
        """
        # One run has one budget, however many endpoints it asks and however often.
        self._judged_by, self._looked, self._n_looks, self._n_stayed, self._n_counted = {}, set(), Counter(), 0, 0
        budget = self._first.new_budget()
        for judge in self.endpoints():
            judge.share_budget(budget)
        roles = [self._routes.get(case_id, "onprem") for case_id in candidates["case_id"]]
        routed = candidates.with_columns(pl.Series("to", roles))
        parts: list[JudgeTables] = []
        errors: list[JudgeError] = []
        for role, part in sorted(((str(key[0]), frame) for key, frame in routed.group_by("to", maintain_order=True)), reverse=True):
            judge = self._cloud if role == "cloud" and self._cloud is not None else self._first
            # A first endpoint in the cloud gets nothing but what may go there.
            if judge.settings.role == "cloud" and role == "onprem":
                errors.append(JudgeError("sensitive cases have no on-premises endpoint", "set judge.gguf, or judge.base_url and role"))
                parts.append(judge.refuse(part["case_id"].to_list(), NO_HOUSE))
                continue
            made, error = _attempt(judge, part.drop("to"), evidence, signals)
            if error and role == "cloud" and judge is not self._first and self._first.settings.role == "onprem":
                # The other way round is no matter: what may leave the house may also stay.
                judge.pending.clear()
                inside, error = _attempt(self._first, part.drop("to"), evidence, signals)
                made, judge = JudgeTables(inside.verdicts, pl.concat([made.egress, inside.egress])), self._first
            self._judged_by |= dict.fromkeys(part["case_id"], judge)
            parts.append(_waiting(made) if role == "onprem" and error else made)
            errors += [error] if error else []
        if errors and all(part.verdicts["score"].null_count() == part.verdicts.height for part in parts):
            raise errors[0]
        made = JudgeTables(pl.concat([part.verdicts for part in parts]), pl.concat([part.egress for part in parts]))
        made = self._ask_large(made, candidates, evidence, signals) if self._large is not None else made
        order = candidates.select("case_id").with_row_index("place")
        return JudgeTables(made.verdicts.join(order, on="case_id").sort("place").drop("place"), made.egress)

    def repair(self, verdicts: pl.DataFrame, candidates: pl.DataFrame, evidence: pl.DataFrame) -> JudgeTables | None:
        """Let each endpoint repair the verdicts that it gave itself."""
        parts = []
        for judge in self.endpoints():
            own = verdicts.filter(pl.col("case_id").is_in([case_id for case_id, by in self._judged_by.items() if by is judge]))
            made = judge.repair(own, candidates, evidence) if own.height else None
            parts += [made] if made is not None else []
        if not parts:
            return None
        return JudgeTables(pl.concat([part.verdicts for part in parts]), pl.concat([part.egress for part in parts]))

    @property
    def notes(self) -> list[str]:
        """What its endpoints have to say about themselves, and how often and why the large one was asked."""
        said = [note for judge in self.endpoints() for note in judge.notes]
        if any(judge.settings.role == "cloud" for judge in self.endpoints()):
            said += sensitivity_notes(self.settings)
        if self._looked:
            n = self._n_looks.total()
            why = "; ".join(f"the first {reason}: {count}" for reason, count in sorted(self._n_looks.items()))
            stayed = [f"{self._n_stayed} more may not leave the house"] if self._n_stayed else []
            told = "; ".join([why] * bool(why) + stayed)
            cases = "1 case" if n == 1 else f"{n} cases"
            said.append(f"the large model was asked about {cases} and gave a score on {self._n_counted} ({told})")
        return said

    @property
    def pending(self) -> dict[str, str]:
        """Cases of which some question got no answer, at whichever endpoint, for a reason that may pass."""
        return {case_id: why for judge in self.endpoints() for case_id, why in judge.pending.items()}

    def endpoints(self) -> list[Endpoint]:
        """Return its endpoints: the first, the one in the cloud, the large one, as far as there are."""
        return [judge for judge in (self._first, self._cloud, self._large) if judge is not None]

    def second_look(
        self, verdicts: pl.DataFrame, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame,
    ) -> JudgeTables | None:
        """Ask the large model about verdicts that cannot be used although they were checked and repaired; None where there are none.

        It is asked once about a case, within the budget of the run, and where it stands outside only about what may leave the house.

        Parameters
        ----------
        verdicts
            Verdicts of this judge, checked.
        candidates, evidence, signals
            What they were made from.
        """
        return self._look(dict.fromkeys(unusable(verdicts), "has grounds that fail"), candidates, evidence, signals)

    def _ask_large(self, made: JudgeTables, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
        second = self._look(doubts(made.verdicts, candidates, self.settings), candidates, evidence, signals)
        if second is None:
            return made
        return JudgeTables(with_second(made.verdicts, second.verdicts), pl.concat([made.egress, second.egress]))

    def _look(
        self, why: Mapping[str, str], candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame,
    ) -> JudgeTables | None:
        """Ask the large model about cases (case_id -> why) that it was not asked about and may be sent."""
        large = self._large
        wanted = {case_id: reason for case_id, reason in why.items() if case_id not in self._looked}
        if large is None or not wanted:
            return None
        allowed = [case_id for case_id in wanted if large.settings.role == "onprem" or self._routes.get(case_id, "onprem") == "cloud"]
        self._looked |= set(wanted)
        self._n_stayed += len(wanted) - len(allowed)
        if not allowed:
            return None
        self._n_looks.update(wanted[case_id] for case_id in allowed)
        second, _ = _attempt(large, candidates.filter(pl.col("case_id").is_in(allowed)), evidence, signals)
        counted = second.verdicts.filter(pl.col("score").is_not_null())["case_id"]
        self._n_counted += len(counted)
        self._judged_by |= dict.fromkeys(counted, large)
        return second


def doubts(verdicts: pl.DataFrame, candidates: pl.DataFrame, settings: JudgeSettings) -> dict[str, str]:
    """Return the cases about which a larger model is asked before verdicts are checked, and why."""
    low, high = settings.unsure
    fused = candidates.select("case_id", pl.col("score").alias("fused"))
    # A question that nobody answered has no model: who is down or out of budget is not unsure.
    why = verdicts.filter(pl.col("model").is_not_null()).join(fused, on="case_id").select("case_id", (
        pl.when(pl.col("raw_score").is_null()).then(pl.lit("gave no score"))
        .when(pl.col("raw_score").is_between(low, high)).then(pl.lit("is unsure"))
        .when((pl.col("raw_score") - pl.col("fused")).abs() > settings.disagree).then(pl.lit("disagrees with the signals"))
    ).alias("why")).drop_nulls("why")
    return dict(why.iter_rows())


def unusable(verdicts: pl.DataFrame) -> list[str]:
    """Return the cases about which a larger model is asked because a checked verdict has a score and cannot be used."""
    return verdicts.filter(~pl.col("usable") & pl.col("score").is_not_null() & pl.col("model").is_not_null())["case_id"].to_list()


def with_second(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Return unchecked verdicts in which the second model's word counts where it gave a score; what either cost is on the bill."""
    better = second.filter(pl.col("score").is_not_null())
    kept = first.join(better.select("case_id"), on="case_id", how="anti")
    return pl.concat([with_bill(kept, second), with_bill(better, first)])


def _attempt(
    judge: Endpoint, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame,
) -> tuple[JudgeTables, JudgeError | None]:
    try:
        return judge(candidates, evidence, signals), None
    except JudgeError as error:
        made = getattr(error, "tables", None)
        if made is None:
            raise
        return made, error


def _waiting(made: JudgeTables) -> JudgeTables:
    """Say of cases whose on-premises endpoint is down that they wait."""
    return made._replace(verdicts=made.verdicts.with_columns(pl.format("{} ({})", pl.lit(WAITS), pl.col("abstain")).alias("abstain")))
