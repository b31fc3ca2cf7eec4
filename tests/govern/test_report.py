"""The report page: what it says, for whom, and that the same input gives the same bytes."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from audit_lab import tables
from audit_lab.errors import ContractError, InputError
from audit_lab.govern import ReportInput, render_report, write_report
from audit_lab.govern.cases import build_cases, choose_events
from audit_lab.govern.outcomes import REASONS, build_outcomes
from audit_lab.govern.report import ledger, timeline_frames
from tests.govern.report_world import build_world, with_story

VOID = {"meta", "br", "input", "wbr", "path", "rect", "line", "circle", "hr", "img", "link"}


class Outline(HTMLParser):
    """Text, ids, links and headings of a page; unbalanced tags are an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in VOID:
            self._open.append(tag)
        if values.get("id"):
            self.ids.append(values["id"] or "")
        if tag == "a":
            self.links.append(values.get("href") or "")
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset", "data", "poster")]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def world() -> ReportInput:
    return build_world()


@pytest.fixture(scope="module")
def page(world: ReportInput) -> str:
    return render_report(world)


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_headline_states_the_rate_and_its_interval(world: ReportInput, outline: Outline) -> None:
    assert world.evaluation is not None
    found, n = world.evaluation["incidents"]["found"], world.evaluation["incidents"]["n"]
    assert re.search(
        rf"{found} of {n} incidents found; of the harmless sessions [\d.]+ % were flagged \(95 % interval [\d.]+–[\d.]+ %\)", outline.text
    )


def test_every_link_has_its_target_and_every_id_is_unique(outline: Outline) -> None:
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.links and all(link.startswith("#") and link[1:] in outline.ids for link in outline.links)


def test_nothing_is_loaded_from_anywhere(page: str, outline: Outline) -> None:
    assert not [address for address in outline.addresses if not address.startswith("#")]
    assert "@import" not in page and not re.search(r"url\((?!#)", page) and "<script" not in page
    assert "default-src 'none'" in page


def test_headings_are_in_order(outline: Outline) -> None:
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(outline.headings, outline.headings[1:], strict=False))


def test_every_table_has_a_caption_and_every_chart_a_description(page: str) -> None:
    assert page.count("<table") == page.count("<caption") > 10
    assert all(
        re.search(r'role="img"[^>]* aria-label="[^"]{10,}"|aria-label="[^"]{10,}"[^>]*role="img"', chart)
        for chart in re.findall(r'<div class="chart"[^>]*>', page)
    )
    assert page.count('<div class="chart"') == 4


def test_same_input_same_bytes(world: ReportInput, page: str) -> None:
    assert render_report(build_world()) == page == render_report(world)


def test_a_ground_that_fails_is_shown_with_its_reason(outline: Outline) -> None:
    assert "Does not hold : only 1 of the 3 events is a denial" in outline.text.replace("hold:", "hold :")
    assert "✓" in outline.text and "✗" in outline.text


def test_a_verdict_without_grounds_that_hold_is_set_aside(world: ReportInput, outline: Outline) -> None:
    assert "This verdict is set aside" in outline.text
    fused = {row["case_id"]: row["score"] for row in world.candidates.iter_rows(named=True)}
    unusable = world.verdicts.filter(~pl.col("usable"))["case_id"].to_list()
    assert {case.score for case in build_cases(world) if case.case_id in unusable} == {fused[case_id] for case_id in unusable}


def test_the_floor_of_a_rule_is_never_lowered(world: ReportInput) -> None:
    assert all(case.score >= (case.floor or 0) for case in build_cases(world))


def test_flags_agree_with_the_evaluation(world: ReportInput) -> None:
    assert world.evaluation is not None
    assert sum(case.flagged for case in build_cases(world)) == world.evaluation["sessions"]["flagged"]
    outcomes = build_outcomes(world, build_cases(world))
    for outcome in outcomes:
        assert outcome.flagged == any(case.flagged for case in outcome.cases), outcome.incident_id
    assert [item.incident_id for item in outcomes if item.malicious and not item.flagged] == world.evaluation["incidents"]["missed"]


def test_a_miss_has_its_reasons(world: ReportInput, outline: Outline) -> None:
    missed = {
        item.incident_id: [code for code, _ in item.why_missed] for item in build_outcomes(world, build_cases(world)) if item.why_missed
    }
    assert missed == {"A005": ["no_body", "no_rule", "below_threshold"], "A006": ["no_body", "no_rule", "out_of_budget"]}
    assert "judged, but scored 0.41, below the threshold 0.50" in outline.text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"labels": "none", "events": "none"}, "no_events"),
        ({"session_events": "none"}, "no_session"),
        ({"events": "cut"}, "truncated"),
        ({"signals": "none"}, "no_signal"),
        ({"verdicts": "abstain"}, "abstained"),
        ({"verdicts": "unusable"}, "unusable"),
        ({"sessions": "long"}, "mixed"),
        ({"labels": "few"}, "few_events"),
    ],
)
def test_each_reason_for_a_miss_can_be_told(world: ReportInput, change: dict[str, str], code: str) -> None:
    how = {
        "none": lambda frame: frame.clear(),
        "cut": lambda frame: frame.with_columns(truncated=pl.lit(True)),
        "abstain": lambda frame: frame.with_columns(score=pl.lit(None, pl.Float64)),
        "unusable": lambda frame: frame.with_columns(usable=pl.lit(False)),
        "long": lambda frame: frame.with_columns(n_events=pl.lit(10_000, pl.Int64)),
        "few": lambda frame: frame.with_columns(event_ids=pl.col("event_ids").list.head(2)),
    }
    changed = {name: how[name_of](getattr(world, name)) for name, name_of in change.items()}
    if code == "few_events":
        changed["incidents"] = world.incidents.with_columns(audit_ids=pl.col("audit_ids").list.head(2))
    data = dataclasses.replace(world, **changed, details=None)
    codes = {reason for item in build_outcomes(data, build_cases(data)) for reason, _ in item.why_missed}
    assert code in codes and codes <= set(REASONS)


def test_an_incident_outside_the_data_is_neither_found_nor_missed(world: ReportInput) -> None:
    before = world.incidents.head(1).with_columns(incident_id=pl.lit("long ago"), end=pl.lit(None, tables.TIME), audit_ids=pl.lit(["none"]))
    evaluation = {**(world.evaluation or {}), "incidents_outside_data": ["long ago"]}
    data = dataclasses.replace(world, incidents=pl.concat([world.incidents, before]), evaluation=evaluation)
    assert "long ago" not in [item.incident_id for item in build_outcomes(data, build_cases(data))]
    assert "1 incidents lie outside the time of the data" in Outline(render_report(data)).text


def test_a_read_is_not_missed_for_want_of_a_body(world: ReportInput) -> None:
    reads = dataclasses.replace(world, events=world.events.with_columns(verb=pl.lit("get"), has_body=pl.lit(False)))
    assert "no_body" not in {code for item in build_outcomes(reads, build_cases(reads)) for code, _ in item.why_missed}


def test_without_labels_no_rate_is_claimed() -> None:
    text = Outline(render_report(build_world(labels=False))).text
    assert "no labels were given, so how many of them are attacks is not known" in text
    assert "false-positive rate" not in text and "in no incident" not in text


def test_an_empty_lab_gives_a_page_that_says_so() -> None:
    text = Outline(render_report(ReportInput(period="nothing", generated_at="never"))).text
    for sentence in ("No case was chosen", "No session to draw", "No archive was read", "no labels given"):
        assert sentence in text
    assert "every record accounted for" not in text


def test_an_archive_that_does_not_balance_is_first_and_loud(world: ReportInput) -> None:
    archives = world.archives.with_columns(n_events=pl.when(pl.col("archive_id") == "a-00000000000000a2").then(1).otherwise("n_events"))
    account = ledger(archives)
    assert not account["balances"] and account["rows"][0]["archive_id"] == "a-00000000000000a2"
    assert "the ledger does not balance" in Outline(render_report(dataclasses.replace(world, archives=archives))).text


def test_many_archives_are_cut_but_never_the_unbalanced(world: ReportInput) -> None:
    many = pl.concat([world.archives.with_columns(archive_id=pl.format("a-{}-{}", pl.lit(i), "archive_id")) for i in range(40)])
    account = ledger(many)
    assert len(account["rows"]) == 60 and account["left_out"] == 60 and account["balances"]
    assert len(ledger(many.with_columns(bytes=pl.lit(1, pl.Int64)))["rows"]) == 120


def test_a_language_model_is_named_with_tokens_and_unknown_price(world: ReportInput) -> None:
    verdicts = world.verdicts.with_columns(
        judge_id=pl.lit("openai"),
        model=pl.lit("small-7b"),
        tokens_in=pl.lit(812, pl.Int64),
        cost_usd=pl.lit(None, pl.Float64),
        summary_by=pl.lit("model"),
        summary_wrong=pl.lit("it says 9 events, there are 4"),
    )
    egress = tables.conform(
        pl.DataFrame(
            {
                "egress_id": ["g1"],
                "endpoint": ["localhost:8000"],
                "judge_id": ["openai"],
                "prompt_sha256": ["0"],
                "bytes_sent": [4096],
                "tokens_in": [812],
                "outcome": ["ok"],
                "attempt": [1],
                "cached": [False],
            }
        ),
        "egress",
    )
    text = Outline(render_report(dataclasses.replace(world, verdicts=verdicts, egress=egress))).text
    assert "judged with a language model" in text and "unknown: no price is set" in text and "small-7b" in text
    assert "The model's own words, unverified." in text and "it says 9 events, there are 4" in text and "localhost:8000" in text
    assert "no language model was used" not in text


def test_events_that_grounds_cite_are_always_shown() -> None:
    events = [{"event_id": str(number)} for number in range(500)]
    shown = [event["event_id"] for event in choose_events(events, {"499", "250"}, {"300"}, limit=5)]
    assert shown == ["0", "1", "250", "300", "499"]


def test_timeline_draws_the_most_suspicious_actors_first(world: ReportInput) -> None:
    bars, bands, left_out = timeline_frames(world, build_cases(world))
    assert bars["actor"][0] == build_cases(world)[0].lead["actor"] and left_out == 0
    assert set(bars["state"]) == {"flagged", "candidate", "other"} and bands["malicious"].sum() == 8


def test_a_frame_that_is_no_table_is_refused() -> None:
    with pytest.raises(ContractError, match="table 'sessions'"):
        ReportInput(period="x", generated_at="x", sessions=pl.DataFrame({"a": [1]}))


def test_writing_replaces_the_file_in_one_step(world: ReportInput, tmp_path: Path) -> None:
    path = write_report(world, tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == render_report(world)
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_a_bad_language_or_place_is_one_line(world: ReportInput, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no report language 'fr' \(hint: one of: en, ko\)"):
        write_report(dataclasses.replace(world, lang="fr"), tmp_path / "report.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(world, tmp_path / "file" / "report.html")


def test_a_story_is_one_case_with_its_picture() -> None:
    data = with_story(build_world())
    page = render_report(data)
    outline = Outline(page)
    assert page.count('class="story"') == 1 and "How its sessions belong together" in outline.text
    assert "2 sessions and their original events" in outline.text and re.search(r" and 1 more [a-z]", outline.text)
    assert "story of 2 sessions: two high rules" in outline.text
    assert len(outline.ids) == len(set(outline.ids))
