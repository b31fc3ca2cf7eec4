"""One typed tree of settings, with reasons.

Every number with meaning is named here once. How a profile is found and read: `profile_files.py`.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from audit_lab.hashing import text_digest
from audit_lab.hosts import stands_inside


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArchiveSettings(_Section):
    """How archives are read."""

    cluster: str = Field("default", description="name of the cluster when ingest gives none")
    batch_mib: int = Field(32, ge=1, le=1024, description="decompressed MiB parsed at once: bounds memory")
    cidrs: list[tuple[str, str]] = Field(
        default_factory=list,
        description="(name, network) of known ranges, e.g. ['pods', '10.244.0.0/16']; the name becomes the source class",
    )


class SessionSettings(_Section):
    """How events become sessions."""

    mode: Literal["gap", "window"] = Field("gap", description="gap: a pause ends a session; window: tumbling windows")
    gap_s: float = Field(300, gt=0, description="pause that ends a session, seconds; 5 minutes is the field's habit")
    window_s: float = Field(300, gt=0, description="length of a tumbling window, seconds")
    max_length_s: float = Field(3600, gt=0, description="longest session, seconds: controllers never pause")


OutlierName = Literal[
    "new-access", "new-deed", "odd-sequence", "odd-numbers", "far-summary", "new-combination", "isolation", "near-peers", "thin-place"
]
# Those that earned their place: docs/signals.md has the figures.
DEFAULT_OUTLIERS: tuple[OutlierName, ...] = ("new-access", "new-deed", "odd-sequence", "odd-numbers", "far-summary")


class SignalSettings(_Section):
    """Rules, outliers, fusion and budget."""

    rules: list[str] = Field(default_factory=list, description="further folders of Sigma rules, after the built-in pack")
    exceptions: list[str] = Field(default_factory=list, description="TOML files of noise rules, beside the built-in ones: docs/rules.md")
    detectors: list[OutlierName] = Field(
        list(DEFAULT_OUTLIERS), description="outlier detectors that run; docs/signals.md tells which there are, and why not all run"
    )
    model: str = Field("all-MiniLM-L6-v2", description="sentence-transformers model by name or path")
    static_above: int = Field(8000, ge=0, description="distinct summaries above which a static model distilled from it does the bulk")
    full_share: float = Field(0.025, ge=0, le=1, description="share of sessions, furthest among earlier ones, for the full model even so")
    full_precision: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="its arithmetic then: bfloat16 is 2.5 times as fast where the processor knows it, distances move by 0.0004"
    )
    neighbours: int = Field(10, ge=1, description="k of the nearest-neighbour distance")
    min_peers: int = Field(20, ge=2, description="fewer earlier sessions of its kind: a session is compared with their family")
    budget_cases: int = Field(40, ge=1, description="cases that people and models can look at, per calendar day (UTC) of the archive")
    budget_tokens: int | None = Field(
        None, ge=0, description="tokens that questions about a day's cases may take; null = judge.max_tokens_per_day where a model is asked"
    )
    budget_usd: float | None = Field(
        None, ge=0, description="US dollars that a day's cases may cost; null = judge.max_usd_per_day where a model is asked"
    )
    exploration_share: float = Field(0.1, ge=0, le=0.5, description="share of the budget drawn at random from the rest")
    exploration_strata: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=lambda: [0.1, 0.25],
        description="fused scores from which a case counts as middle and high there: equally many of each are drawn, most lie below both",
    )
    usual_access: float = Field(
        0.5, ge=0, le=1, description="share of a session's score that stands when nothing about its access is new: grave deeds end at 0.5"
    )
    repeat: float = Field(
        0.6, ge=0, le=1, description="each further signal of a session counts this much of the one before: several describe one deed"
    )
    seed: int = Field(7, description="seed of everything drawn at random")


# Settings of section signals that only fusion and the choice of cases read: a change of them finds no signal anew.
CHOICE_SETTINGS = frozenset({
    "budget_cases", "budget_tokens", "budget_usd", "exploration_share", "exploration_strata", "usual_access", "repeat",
})


# A change window: days, and a time of day in UTC that may run past midnight.
WINDOW = r"^(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))? ([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"


# Name and hint of the error where an endpoint with a public name has no role.
NO_ROLE = "no_role"
ROLE_HINT = 'add role = "cloud", so that it gets no sensitive case, or role = "onprem" if it is your own'
HEADER = r"^[A-Za-z][A-Za-z0-9-]{0,63}$"


class _Placed(_Section):
    """A section whose endpoint counts as in the house where nothing else is said: it must not stand elsewhere unsaid."""

    @model_validator(mode="after")
    def _says_where_it_stands(self) -> _Placed:
        url = getattr(self, "base_url", "")
        if "role" in self.model_fields_set or not url or getattr(self, "gguf", None) or stands_inside(url):
            return self
        try:
            host = urlsplit(url).hostname
        except ValueError:
            host = None
        if host is None:  # no URL at all: whoever asks it says so
            return self
        raise PydanticCustomError(
            NO_ROLE, "nothing says where '{host}' stands, and by its name it is not in the house", {"host": host[:100]})


class EndpointSettings(_Section):
    """A further endpoint of the judge: what differs from the first one."""

    base_url: str = Field("", description="OpenAI-compatible endpoint")
    model: str = Field("", description="model name at that endpoint")
    api_key_env: str = Field("AUDIT_LAB_API_KEY", description="environment variable that holds its key")
    key_header: str = Field("Authorization", pattern=HEADER, description="header of the key; 'api-key' for Azure's deployments")
    role: Literal["onprem", "cloud"] = Field("cloud", description="onprem: data stay in the house; cloud: they leave it")
    usd_per_million_in: float | None = Field(None, ge=0, description="price of a million prompt tokens; null = from your price table")
    usd_per_million_out: float | None = Field(None, ge=0, description="price of a million answer tokens")


class ChallengerSettings(_Placed, EndpointSettings):
    """A second judge in shadow: it judges the same candidates, and nothing but a comparison ever uses what it says."""

    judge: Literal["baseline", "openai", "replay"] = Field("openai", description="as judge.judge")
    gguf: str = Field("", description="a GGUF file, as judge.gguf")
    replay: str = Field("", description="file of recorded answers for the judge 'replay'")
    role: Literal["onprem", "cloud"] = Field("onprem", description="where it stands, as judge.role; in the cloud it gets no sensitive case")
    max_tokens: int = Field(500_000, ge=0, description="tokens per run, hard limit of its own")
    max_usd: float = Field(5.0, ge=0, description="US dollars per run, hard limit of its own")
    max_tokens_per_day: int = Field(2_000_000, ge=0, description="tokens per calendar day (UTC), hard limit of its own")
    max_usd_per_day: float = Field(20.0, ge=0, description="US dollars per calendar day (UTC), hard limit of its own")


class JudgeSettings(_Placed):
    """Which judge, where, and at what price."""

    judge: Literal["baseline", "openai", "replay"] = Field(
        "baseline", description="baseline needs no model; openai: any compatible endpoint; replay: answers recorded before"
    )
    base_url: str = Field("", description="OpenAI-compatible endpoint, e.g. http://localhost:8000/v1")
    role: Literal["onprem", "cloud"] = Field(
        "onprem", description="where that endpoint stands: onprem or cloud; must be said where its name is not one of the house"
    )
    gguf: str = Field("", description="a GGUF file: a llama.cpp server is started for it (extra 'local'); no base_url needed")
    cloud: EndpointSettings | None = Field(None, description="endpoint for cases that are not sensitive and only lightly suspicious")
    large: EndpointSettings | None = Field(None, description="model asked where the first is unsure, far from the signals, or of no use")
    challenger: ChallengerSettings | None = Field(
        None, description="a second judge in shadow: judges the same candidates, is used for a comparison only"
    )
    lang: Literal["en", "ko"] = Field("en", description="language in which a model writes its summary")
    probe: bool = Field(False, description="ask the fixed probes before a run of a model, and say when it changed behind its name")
    probe_tolerance: float = Field(
        0.1, ge=0, le=1, description="a probe's score that moves further means another model: at temperature 0 answers still wander a bit"
    )
    min_peers: int = Field(
        10, ge=1, description="comparable sessions below which nothing is said of how common a true claim is: one of nine is no share"
    )
    sensitive_namespaces: list[str] = Field(
        default_factory=lambda: ["*"],
        description="patterns of namespaces whose cases never leave the house; ['*'] = all: closed until said otherwise",
    )
    sensitive_users: list[str] = Field(default_factory=list, description="patterns of identities whose cases never leave the house")
    sensitive_categories: list[str] = Field(
        default_factory=lambda: ["secret", "impersonation"],
        description="categories of predicates (docs/judge.md) whose cases never leave the house",
    )
    cloud_below: float = Field(0.5, ge=0, le=1, description="only cases with a lower fused score may go to the cloud")
    unsure: tuple[float, float] = Field((0.35, 0.65), description="scores of the first model between which the large one is asked")
    disagree: float = Field(0.4, ge=0, le=1, description="difference between model and signals from which the large one is asked")
    change_windows: list[Annotated[str, StringConstraints(pattern=WINDOW)]] = Field(
        default_factory=list, description="when changes are expected, UTC, e.g. 'mon-fri 08:00-18:00': said in a case's evidence"
    )
    repeats: int = Field(1, ge=1, le=9, description="times each question is asked; the middle score counts, the spread is kept")
    prompt: str = Field("", description="prompt: a built-in one by name, or the path of your own .md file; empty = the newest built-in")
    repair: bool = Field(True, description="ask once more where grounds do not hold")
    examples: int = Field(4, ge=0, le=12, description="labelled cases of earlier time shown before the question, where there are any")
    example_cases: list[str] = Field(
        default_factory=list,
        description="cases and sessions that people judged and that models may be shown; incident files need no entry. What people say "
        "reaches no prompt by itself: audit-lab release propose names cases worth an entry",
    )
    max_tokens_per_day: int = Field(2_000_000, ge=0, description="tokens per calendar day (UTC), hard limit")
    max_usd_per_day: float = Field(20.0, ge=0, description="US dollars per calendar day (UTC), hard limit; to set it a price must be known")
    calls_per_minute: int = Field(0, ge=0, description="most calls a minute; 0 = as many as concurrency allows")
    prices: str = Field("", description="your own dated TOML price table; none is built in")
    replay: str = Field("", description="file of recorded answers (JSON lines) for the judge 'replay'")
    model: str = Field("", description="model name at that endpoint")
    api_key_env: str = Field("AUDIT_LAB_API_KEY", description="environment variable that holds the key; keys are never stored")
    key_header: str = Field("Authorization", pattern=HEADER, description="header of the key; 'api-key' for Azure's deployments")
    timeout_s: float = Field(60, gt=0, description="longest wait for an answer, seconds")
    retries: int = Field(2, ge=0, description="further tries after a failure that may pass")
    max_output_tokens: int = Field(800, ge=50, description="longest answer, tokens")
    max_tokens: int = Field(500_000, ge=0, description="tokens per run, hard limit")
    max_usd: float = Field(5.0, ge=0, description="US dollars per run, hard limit; to set it a price must be known")
    usd_per_million_in: float | None = Field(None, ge=0, description="price of a million prompt tokens; null = unknown, cost stays null")
    usd_per_million_out: float | None = Field(None, ge=0, description="price of a million answer tokens")
    concurrency: int = Field(4, ge=1, le=64, description="calls to the endpoint at once")
    evidence_tokens: int = Field(900, ge=100, description="longest evidence pack, tokens")


class EvaluateSettings(_Section):
    """How well it works, and how sure we are."""

    threshold: float = Field(0.5, ge=0, le=1, description="score from which a case is flagged")
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict, description="clusters with a threshold of their own, e.g. {prod = 0.6}: audit-lab calibrate --by cluster"
    )
    learnt_until: AwareDatetime | None = Field(
        None, description="end of the sessions that the threshold was learnt from: an evaluation counts later ones only; null = it is prior"
    )
    warm_up_threshold: float = Field(
        0.25, ge=0, le=1, description="threshold of the first day: low, people see more; it tightens as labels come in"
    )
    bootstrap: int = Field(1000, ge=100, description="resamples of actors for intervals")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="confidence of intervals")
    bins: int = Field(10, ge=2, le=100, description="bins of equal mass for calibration error and reliability curve")
    recalls: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=lambda: [0.8, 0.95], description="recalls at which the false-positive rate is told"
    )
    alerts_per_day: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=lambda: [5, 10, 20, 40], description="cases a day at which recall and precision are told"
    )
    prevalences: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=lambda: [1e-2, 1e-3, 1e-4],
        description="shares of malicious sessions at which precision is told: a recording is dense in attacks, a cluster is not",
    )
    impact: list[str] = Field(
        default_factory=lambda: ["secret", "execution", "destruction"],
        description="categories of predicates (docs/judge.md) that do damage once they succeed (NIST SP 800-61 r2, 3.2.6)",
    )
    min_rule_sessions: int = Field(
        5, ge=1, description="sessions with a hit below which a rule has no precision: one more or less moves it by over twenty points"
    )
    minutes_per_alert: float = Field(10, gt=0, description="minutes that a person looks at a case, until reviews have recorded it")


class ExperimentSettings(_Section):
    """Where runs of `audit-lab experiment` are logged besides the lab."""

    mlflow: str = Field("", description="tracking URI of MLflow (extra 'mlflow'), e.g. sqlite:///mlflow.db; nothing is logged when empty")

    @field_validator("mlflow")
    @classmethod
    def _holds_no_password(cls, uri: str) -> str:
        """Refuse a secret: settings are kept in the lab and shown in reports (law 4)."""
        try:
            secret = urlsplit(uri).password
        except ValueError:  # no URL, and so no place for a password; MLflow says what is wrong with it
            secret = None
        if secret is not None:
            where = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the database's password file"
            raise PydanticCustomError("password", "{what}", {"what": f"a tracking URI with a password would be stored; give it by {where}"})
        return uri


class ReviewSettings(_Section):
    """Who looks at what, in which order, and how we learn how good people and scores are."""

    reviewers: list[str] = Field(
        default_factory=list,
        description="who reviews: each case goes to one of them by its id, some to two; empty = everybody may take any case",
    )
    blind_share: float = Field(
        0.2, ge=0, le=1, description="share of cases whose score is hidden: shows how far the number pulls the person who reads it"
    )
    audit_share: float = Field(
        0.1, ge=0, le=1, description="chosen cases below the line drawn for review, as a share of the alerts; beside the exploration share"
    )
    second_share: float = Field(0.1, ge=0, le=1, description="share of cases that a second person is asked about: without it, no agreement")
    p1_score: float = Field(0.85, ge=0, le=1, description="score from which a case is P1; a critical rule is P1 whatever the score")
    p2_score: float = Field(0.7, ge=0, le=1, description="score from which a case is P2; the floor of high rules")
    idle_minutes: float = Field(10, gt=0, description="longest pause between two keys that counts as time spent on a case, minutes")
    claim_minutes: float = Field(
        15, ge=0, description="minutes after the last act for which a case counts as open on somebody's desk, so that others get the next "
        "one; longer than `idle_minutes`, for a pause is no end; 0 = no claims"
    )
    min_decided: int = Field(
        20, ge=1, description="decided cases below which no false-positive ratio is given: at 20 its 95 % interval is still ±20 points wide"
    )
    min_repeats: int = Field(3, ge=2, description="mistakes of one kind from which a judge's mistake counts as repeated: two may be chance")
    noisy_rule: float = Field(
        0.9, gt=0, le=1, description="false-positive ratio whose lower bound must reach this before a rule is proposed for a second look"
    )
    same_threshold: float = Field(0.005, ge=0, description="smaller differences of a threshold are not worth a release")
    seed: int = Field(7, description="seed of what is drawn: blind cases, audits, second looks")


class DriftSettings(_Section):
    """When a change of the data is an alarm: it must be more than chance between days, and large enough to matter."""

    by: Literal["auto", "week", "day"] = Field("auto", description="what is compared unless asked otherwise; auto: weeks if there are two")
    since: date | None = Field(
        None, description="compare from this date on with the time before; null = from the end of the first weeks or days, the reference"
    )
    reference_weeks: int = Field(4, ge=1, description="first weeks, with which later ones are compared: a month has every weekday 4 times")
    reference_days: int = Field(14, ge=1, description="first days, where days are compared; never more than two thirds of what there is")
    alpha: float = Field(0.05, gt=0, lt=1, description="share of false discoveries among the alarms of a period that is accepted")
    days_together: bool = Field(
        True, description="days: that share is for all days compared, not for each: 5 % a day would be 18 false alarms a year"
    )
    change_alpha: float = Field(
        0.01, gt=0, lt=1, description="chance of a false split of an unchanged stream of label errors: it is looked at every week"
    )
    change_segment: int = Field(
        20, ge=1, description="fewest judgements on each side of a change of label errors: at 20 a share is known to ±20 points"
    )
    min_psi: float = Field(0.1, ge=0, description="smallest alarming PSI; habit of the field: below 0.1 no change, above 0.25 a large one")
    min_wasserstein: float = Field(0.25, ge=0, description="smallest alarming shift, in standard deviations; under a quarter few rank anew")
    min_shift: float = Field(
        0.15, ge=0, description="smallest alarming shift of the embeddings' mean, standard deviations: one session in seven is another"
    )
    min_ratio: float = Field(2.0, gt=1, description="smallest alarming factor between two rates: a rule that fires twice as often")
    rounds: int = Field(19_999, ge=99, description="dealings of days; p-values are at least 1 / (rounds + 1), so many features need many")
    values: int = Field(50, ge=2, description="most frequent values compared one by one, the others as one")
    weekend: list[int] = Field(default_factory=lambda: [6, 7], description="days that are compared with each other only (1 is Monday)")
    seed: int = Field(7, description="seed of the dealings")


class Profile(_Section):
    """All settings. `digest` identifies them in every result."""

    name: str = "default"
    archive: ArchiveSettings = ArchiveSettings()
    sessions: SessionSettings = SessionSettings()
    signals: SignalSettings = SignalSettings()
    judge: JudgeSettings = JudgeSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    review: ReviewSettings = ReviewSettings()
    drift: DriftSettings = DriftSettings()
    experiments: ExperimentSettings = ExperimentSettings()

    @property
    def digest(self) -> str:
        """SHA-256 of all settings."""
        return text_digest(self.model_dump_json())

    def section_digest(self, *names: str) -> str:
        """SHA-256 of some sections only: what a stage depends on; 'signals-finding' is signals without `CHOICE_SETTINGS`."""
        without = {"finding": CHOICE_SETTINGS}
        parts = [name.partition("-") for name in names]
        return text_digest("".join(getattr(self, section).model_dump_json(exclude=without.get(part)) for section, _, part in parts))
