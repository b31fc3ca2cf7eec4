"""Drift week by week: golden distances, chance kept in bounds, planted changes found in time, and what cannot be said is not said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import comb

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import fisher_exact, kstest, wasserstein_distance
from statsmodels.stats.multitest import multipletests

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.evaluate import DriftCounts, count_drift, drift_periods, error_changes, merge_counts
from audit_lab.evaluate.distances import (
    by_chance,
    cosine_distance,
    deal_blocks,
    exchange_test,
    jensen_shannon,
    log_ratio,
    mean_shift,
    population_stability,
    stability_rows,
)
from audit_lab.evaluate.drift_counts import COUNTS
from audit_lab.profile import DriftSettings

MONDAY = datetime(2026, 10, 5, tzinfo=UTC)
QUICK = DriftSettings(rounds=999)


def rows(family: str, feature: str, kind: str, values: dict[int, dict[str, float]]) -> pl.DataFrame:
    """Counts of one feature: day (from 0) -> value -> n."""
    return pl.DataFrame(
        [(MONDAY + timedelta(days=day), family, feature, kind, value, float(n)) for day, found in values.items() for value, n in found.items()],
        schema=COUNTS, orient="row",
    )


def counted(*parts: pl.DataFrame) -> DriftCounts:
    return DriftCounts(pl.concat(parts), None, {})


def clients(seed: int, days: int = 56, change_at: int | None = None, shares: tuple[float, ...] = (0.6, 0.3, 0.1)) -> pl.DataFrame:
    """Sixty sessions a day whose days differ a little; fewer, and others, at the weekend; the clients of people change at `change_at`."""
    generator = np.random.default_rng(seed)
    found = {}
    for day in range(days):
        weekend = day % 7 >= 5
        base = np.array((0.1, 0.8, 0.1) if weekend else shares if change_at is not None and day >= change_at else (0.6, 0.3, 0.1))
        n = generator.multinomial(20 if weekend else 60, generator.dirichlet(base * 80))
        found[day] = dict(zip(("kubectl", "controller", "curl"), n, strict=True))
    return rows("clients", "client family", "category", found)


def fifth_week(*parts: pl.DataFrame) -> pl.DataFrame:
    """The fifth week against the four before it."""
    return drift_periods(counted(*parts), QUICK, since=MONDAY + timedelta(weeks=4))


def one(table: pl.DataFrame, feature: str, week: int) -> dict[str, object]:
    wanted = table.filter((pl.col("feature") == feature) & (pl.col("period") == MONDAY + timedelta(weeks=week)))
    return wanted.row(0, named=True)


# ---- golden --------------------------------------------------------------------------------------------------


def test_distances_of_a_week_equal_scipy() -> None:
    generator = np.random.default_rng(1)
    scores = {day: {str(place): n for place, n in enumerate(generator.poisson(4, 50))} for day in range(35)}
    table = fifth_week(clients(1), rows("scores", "fused score", "number", scores))
    frame = clients(1).with_columns(week=(pl.col("block") - MONDAY).dt.total_days() // 7)
    old, new = (
        [part.filter(pl.col("value") == name)["n"].sum() for name in ("controller", "curl", "kubectl")]
        for part in (frame.filter(pl.col("week") < 4), frame.filter(pl.col("week") == 4))
    )
    row = one(table, "client family", 4)
    assert row["jensen_shannon"] == pytest.approx(jensenshannon(old, new, base=2))
    first, second = (np.array(side) + 0.5 for side in (old, new))
    first, second = first / first.sum(), second / second.sum()
    assert row["psi"] == pytest.approx(float(((second - first) * np.log(second / first)).sum()))
    middles = (np.arange(50) + 0.5) / 50
    before = [sum(scores[day][str(place)] for day in range(28)) for place in range(50)]
    after = [sum(scores[day][str(place)] for day in range(28, 35)) for place in range(50)]
    spread = np.sqrt(np.average((middles - np.average(middles, weights=before)) ** 2, weights=before))
    row = one(table, "fused score", 4)
    assert row["wasserstein"] == pytest.approx(wasserstein_distance(middles, middles, before, after) / spread)
    assert (row["before"], row["after"]) == (pytest.approx(np.average(middles, weights=before)), pytest.approx(np.average(middles, weights=after)))


def test_false_discoveries_are_controlled_as_statsmodels_does() -> None:
    parts = [rows("rules", f"rate of r-{number}", "rate", {
        day: {"hit": np.random.default_rng(number * 100 + day).binomial(60, 0.1 + (0.02 * number if day >= 28 else 0)), "of": 60} for day in range(35)
    }) for number in range(12)]
    table = fifth_week(*parts)
    assert table["q_value"].to_numpy() == pytest.approx(multipletests(table["p_value"].to_numpy(), method="fdr_bh")[1])
    assert table["alarm"].sum() > 0


@pytest.mark.parametrize("together", [True, False])
def test_the_days_that_are_compared_are_one_stretch_of_tests(together: bool) -> None:
    """As statsmodels adjusts all of their tests at once; apart, each day is adjusted by itself."""
    generator = np.random.default_rng(11)
    frames = [pl.DataFrame(
        [(MONDAY + timedelta(days=day, hours=8 + hour), "rules", f"rate of r-{number}", "rate", value, float(n)) for day in range(20) for hour in range(4)
         for value, n in (("hit", generator.binomial(30, 0.1 + 0.02 * number * (day > 12))), ("of", 30))], schema=COUNTS, orient="row")
        for number in range(6)]
    settings = DriftSettings(rounds=999, days_together=together, weekend=[])
    table = drift_periods(counted(*frames), settings, "day")
    assert table["period"].n_unique() == 7
    for part in [table] if together else table.partition_by("period"):
        assert part["q_value"].to_numpy() == pytest.approx(multipletests(part["p_value"].to_numpy(), method="fdr_bh")[1])


def test_a_family_of_many_features_does_not_drown_one_of_few() -> None:
    """Weighted as by hand: forty rules and one centroid-like family of one; each family has half of the level."""
    generator = np.random.default_rng(2)
    rules = [rows("rules", f"rate of r-{number}", "rate", {day: {"hit": generator.binomial(60, 0.1), "of": 60} for day in range(35)}) for number in range(40)]
    label = rows("labels", "malicious sessions", "rate", {day: {"hit": generator.binomial(60, 0.02 if day < 28 else 0.08), "of": 60} for day in range(35)})
    table = fifth_week(*rules, label)
    sizes = np.where(table["family"] == "rules", 40, 1)
    weighted = np.minimum(1.0, table["p_value"].to_numpy() * sizes * 2 / 41)
    assert table["q_value"].to_numpy() == pytest.approx(multipletests(weighted, method="fdr_bh")[1])
    assert one(table, "malicious sessions", 4)["q_value"] < multipletests(table["p_value"].to_numpy(), method="fdr_bh")[1].min() + 1e-9


def test_rare_hits_that_stay_away_a_week_are_no_surprise() -> None:
    """A weekly rate of zero is an endless ratio, and ordinary where hits are few: the test looks at likelihood, not at the ratio."""
    hits = {day: {"hit": 1.0 if day % 9 == 0 and day < 28 else 0.0, "of": 50.0} for day in range(35)}
    row = one(fifth_week(rows("rules", "rate of r", "rate", hits)), "rate of r", 4)
    assert row["p_value"] > 0.2 and not row["alarm"]
    more = {day: {"hit": float(day % 9 == 0) if day < 28 else float(day % 2 == 0) * 3, "of": 50.0} for day in range(35)}
    assert one(fifth_week(rows("rules", "rate of r", "rate", more)), "rate of r", 4)["p_value"] < 0.01


def test_ten_cases_of_one_incident_are_one_judgement() -> None:
    cases = stream(240, 240, 0.0, 0.0).with_columns(opinion="case_id")
    missed = cases.head(12).with_columns(
        case_id=pl.lit("m-") + pl.col("case_id"), start=pl.lit(MONDAY + timedelta(days=30)), flagged=pl.lit(False), malicious=pl.lit(True), opinion=pl.lit("i-1"),
    )
    both = pl.concat([cases, missed])
    assert error_changes(both)["n_current"][0] == 241 and not error_changes(both)["alarm"][0]


def test_a_new_value_is_tested_as_fisher_does() -> None:
    """Three days of the fifth week see a verb that no day before saw."""
    verbs = {day: {"get": 9.0, **({"bind": 2.0} if day in (29, 30, 33) else {}), **({"once": 1.0} if day == 31 else {})} for day in range(35)}
    table = fifth_week(rows("schema", "new verb", "presence", verbs))
    found = {row["value"]: row for row in table.to_dicts()}
    assert found["bind"]["p_value"] == pytest.approx(2 * comb(7, 3) / comb(35, 3))  # two questions are asked
    assert found["bind"]["p_value"] == pytest.approx(2 * fisher_exact([[3, 4], [0, 28]], alternative="greater").pvalue)
    assert (found["bind"]["alarm"], found["bind"]["since"], found["bind"]["after"]) == (True, MONDAY + timedelta(days=29), pytest.approx(3 / 7))
    assert (found["once"]["alarm"], found["once"]["q_value"]) == (False, None)  # one day in 35 can never be more than chance: told, not tested
    assert "get" not in found


def test_what_is_rare_but_stays_is_told_later() -> None:
    """Four days a week from the second watched week on: too little for one week among many, plain after two."""
    seen = [day for day in range(35, 49) if day % 7 < 4]
    verbs = {day: {"get": 9.0, **({"bind": 1.0} if day in seen else {}), **{f"once-{day}": 1.0}} for day in range(49)}
    rare = [rows("schema", f"f{place}", "category", {day: {"a": 5.0, "b": 5.0} for day in range(49)}) for place in range(40)]
    table = drift_periods(counted(rows("schema", "new verb", "presence", verbs), *rare), QUICK).filter(pl.col("value") == "bind")
    assert table["alarm"].to_list() == [False, True]
    assert table["p_value"][1] == pytest.approx(2 * comb(21, 8) / comb(49, 8))


def test_the_shift_of_a_mean_is_that_of_its_vectors_and_bounds_wasserstein_below() -> None:
    generator = np.random.default_rng(3)
    clouds = [generator.normal(centre, 1, (400, 6)) for centre in (0.5, 0.9)]
    old, new = (cloud / np.linalg.norm(cloud, axis=1, keepdims=True) for cloud in clouds)
    sums = [np.append(side.sum(axis=0), side.shape[0])[None, :] for side in (old, new)]
    shift = float(mean_shift(sums[0], sums[1])[0])
    spread = np.sqrt(((old - old.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert shift == pytest.approx(np.linalg.norm(new.mean(axis=0) - old.mean(axis=0)) / spread)
    direction = new.mean(axis=0) - old.mean(axis=0)
    along = direction / np.linalg.norm(direction)
    assert shift <= wasserstein_distance(old @ along, new @ along) / spread + 1e-9
    assert 0 < cosine_distance(sums[0][0], sums[1][0]) < 1


def test_empty_sides_have_no_distance() -> None:
    nothing, some = np.zeros((1, 3)), np.ones((1, 3))
    assert np.isnan(jensen_shannon(nothing, some)[0]) and np.isnan(mean_shift(nothing, some)[0])
    assert population_stability(np.zeros(3), np.ones(3)) == pytest.approx(0.0)


# ---- chance --------------------------------------------------------------------------------------------------


def test_weekend_days_change_places_with_weekend_days_only() -> None:
    kinds = ["work", "work", "weekend", "work", "work", "weekend"]
    dealt = deal_blocks(np.array([False, False, False, True, True, True]), kinds, 200, 7).dealt
    assert set(dealt[:, [2, 5]].sum(axis=1)) == {1.0} and set(dealt[:, [0, 1, 3, 4]].sum(axis=1)) == {2.0}


def test_p_values_without_change_are_even() -> None:
    found = []
    for seed in range(120):
        counts = np.random.default_rng(seed).multinomial(50, [0.5, 0.3, 0.2], 35).astype(float)
        exchange = deal_blocks(np.arange(35) >= 28, ["day"] * 35, 999, seed)
        found.append(exchange_test(counts, exchange, jensen_shannon))
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) <= 0.11


def test_what_chance_gives_is_taken_off() -> None:
    """Fifty rare values differ by more than a PSI of 0.1 in any two weeks."""
    counts = np.random.default_rng(4).multinomial(40, np.full(50, 0.02), 35).astype(float)
    exchange = deal_blocks(np.arange(35) >= 28, ["day"] * 35, 999, 7)
    assert by_chance(counts, exchange, stability_rows) > 0.1
    found = rows("actors", "identity", "category", {day: {f"u{place}": n for place, n in enumerate(counts[day])} for day in range(35)})
    row = one(fifth_week(found), "identity", 4)
    assert row["psi"] > 0.1 and row["alarm"] is False


def test_months_without_change_rarely_alarm() -> None:
    """Four watched weeks each: of 160 weeks at most a handful alarm, weekends that differ from weekdays included."""
    weeks = [bool(part["alarm"].any()) for seed in range(40) for _, part in drift_periods(counted(clients(seed)), QUICK).group_by("period")]
    assert len(weeks) == 160
    assert sum(weeks) <= 12


def test_a_change_is_told_at_the_end_of_its_week_with_its_day() -> None:
    told, off = [], []
    for seed in range(15):
        table = drift_periods(counted(clients(seed, change_at=37, shares=(0.3, 0.3, 0.4))), QUICK).filter("alarm")
        week = table.filter(pl.col("period") == MONDAY + timedelta(weeks=5))
        told.append(week.height > 0)
        off += [abs((since - MONDAY).days - 37) for since in week["since"]]
    assert sum(told) >= 14
    assert np.median(off) <= 1


def test_a_rate_and_a_volume_alarm_by_their_factor() -> None:
    generator = np.random.default_rng(5)
    rate = rows("rules", "rate of r", "rate", {day: {"hit": generator.binomial(100, 0.02 if day < 28 else 0.1), "of": 100} for day in range(35)})
    small = rows("rules", "rate of s", "rate", {day: {"hit": generator.binomial(9000, 0.2 if day < 28 else 0.25), "of": 9000} for day in range(35)})
    volume = rows("actors", "events of a", "volume", {day: {"hit": generator.poisson(200 if day < 28 else 50)} for day in range(35)})
    table = fifth_week(rate, small, volume)
    row = one(table, "rate of r", 4)
    assert row["alarm"] and row["ratio"] == pytest.approx(row["after"] / row["before"], rel=0.1)
    assert one(table, "events of a", 4)["alarm"] and 0.2 < one(table, "events of a", 4)["ratio"] < 0.3
    row = one(table, "rate of s", 4)
    assert row["q_value"] <= 0.05 and row["alarm"] is False  # surely another rate, but not one that matters
    assert log_ratio(np.array([[9.5, 10.0]]), np.array([[39.5, 10.0]]))[0] == pytest.approx(np.log(4))


# ---- what is compared ----------------------------------------------------------------------------------------


def test_one_week_is_told_with_reason() -> None:
    table = drift_periods(counted(clients(1, days=5)), QUICK)
    assert set(table["reason"]) == {"all data lie within one week: two are needed to compare"}
    assert table["alarm"].null_count() == table.height == 8


def test_a_short_last_week_has_distances_and_no_p_value() -> None:
    row = one(fifth_week(clients(1, days=30)), "client family", 4)
    assert row["psi"] is not None
    assert (row["p_value"], row["alarm"]) == (None, None)
    assert row["reason"] == "2 blocks of time in the period, 20 like them in the reference: at least 3 are needed to know chance"


def test_the_reference_is_at_most_two_thirds_of_what_there_is() -> None:
    assert drift_periods(counted(clients(1, days=28)), QUICK)["period"].unique().sort().to_list() == [
        MONDAY + timedelta(weeks=2), MONDAY + timedelta(weeks=3)
    ]


def test_since_a_date_the_weeks_before_it_are_the_reference() -> None:
    counts = counted(clients(6, change_at=14, shares=(0.1, 0.3, 0.6)))
    since = MONDAY + timedelta(weeks=6)
    table = drift_periods(counts, QUICK, since=since)
    assert table["period"].min() == since and not table["alarm"].any()  # weeks 2 to 5, after the change, are the reference
    assert drift_periods(counts, QUICK)["alarm"].any()
    with pytest.raises(InputError, match="no data before 2026-10-01.*the data go from 2026-10-05 to 2026-11-29"):
        drift_periods(counts, QUICK, since=MONDAY - timedelta(days=4))
    with pytest.raises(InputError, match="no drift by 'month'.*week or day"):
        drift_periods(counts, QUICK, "month")


def test_days_are_compared_hour_by_hour() -> None:
    generator = np.random.default_rng(7)
    hours = pl.DataFrame([
        (MONDAY + timedelta(hours=hour), "clients", "client family", "category", name, float(n))
        for hour in range(24 * 12) for name, n in zip(
            ("kubectl", "curl"), generator.multinomial(30 if 8 <= hour % 24 < 18 else 6, (0.5, 0.5) if hour >= 24 * 9 else (0.9, 0.1)), strict=True)
    ], schema=COUNTS, orient="row")
    table = drift_periods(counted(hours), QUICK, "day")
    first = table.filter("alarm")["period"].min()
    assert (table["period"].n_unique(), first) == (4, MONDAY + timedelta(days=9))


def test_a_new_actor_is_told_once_and_not_as_volume_too() -> None:
    found = {day: {"hit": 50.0} for day in range(35)}
    late = {day: {"hit": 50.0} for day in range(28, 35)}
    table = fifth_week(
        rows("actors", "events of old", "volume", found), rows("actors", "events of new", "volume", late),
        rows("actors", "new identity", "presence", {day: {"old": 1.0, **({"new": 1.0} if day >= 28 else {})} for day in range(35)}),
    )
    assert table.filter("alarm").select("feature", "value").rows() == [("new identity", "new")]


# ---- counting ------------------------------------------------------------------------------------------------


def lab_tables(seed: int, n: int = 300) -> dict[str, pl.DataFrame]:
    """Sessions, events, signals, scores and labels of three weeks."""
    generator = np.random.default_rng(seed)
    starts = [MONDAY + timedelta(minutes=int(minute)) for minute in np.sort(generator.integers(0, 21 * 1440, n))]
    sessions = pl.DataFrame({
        "session_id": [f"s-{seed}-{number}" for number in range(n)], "start": starts,
        "actor": [f"u{place}" for place in generator.integers(0, 9, n)], "actor_kind": generator.choice(["human", "node"], n).tolist(),
        "client_families": [[name] for name in generator.choice(["kubectl", "curl"], n)],
    }, schema_overrides={"start": tables.TIME})
    events = sessions.select(
        time="start", actor="actor", user_agent=pl.lit("kubectl/v1.33.1 (linux/amd64) x"), verb=pl.lit("get"), api_group=pl.lit("apps"),
        resource=pl.lit("deployments"),
    )
    hit = sessions.filter(pl.Series(generator.random(n) < 0.3))
    return {
        "events": events, "sessions": sessions, "signals": hit.select("session_id", detector_id=pl.lit("r"), kind=pl.lit("rule")),
        "scores": sessions.select("session_id", detector_id=pl.lit("fused"), score=pl.Series(generator.random(n))),
        "archives": pl.DataFrame({"first_time": [MONDAY], "unknown_keys": [[{"key": "extra", "n": seed + 1}]]}, schema_overrides={"first_time": tables.TIME}),
        "judged": hit.select(case_id="session_id", start="start", score=pl.lit(0.6), flagged=pl.lit(True), malicious=pl.Series(generator.random(hit.height) < 0.5)),
        "labelled": hit.select("session_id", verdict=pl.lit("benign")),
    }


def count(parts: dict[str, pl.DataFrame], vectors: np.ndarray | None, every: str = "1d") -> DriftCounts:
    return count_drift(parts["events"].lazy(), *(parts[name] for name in ("sessions", "signals", "scores", "archives", "judged", "labelled")),
                       vectors, every)


def test_counts_of_partitions_add_up() -> None:
    """Law 10: two partitions counted apart and merged are the same as counted at once."""
    first, second = lab_tables(1), lab_tables(2)
    second = {name: frame.with_columns(actor=pl.lit("other") + pl.col("actor")) if "actor" in frame.columns else frame for name, frame in second.items()}
    both = {name: pl.concat([first[name], second[name]]) for name in first}
    vectors = [np.random.default_rng(seed).normal(size=(300, 4)) for seed in (1, 2)]
    vectors = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in vectors]
    merged = merge_counts([count(first, vectors[0]), count(second, vectors[1])])
    whole = merge_counts([count(both, np.concatenate(vectors))])
    # What a rate divides by is counted for rules that fired in the partition: both have the one rule.
    assert merged.counts.equals(whole.counts)
    assert merged.sums is not None and whole.sums is not None
    assert np.allclose(merged.sums["vector"].to_list(), whole.sums["vector"].to_list())
    assert drift_periods(merged, QUICK).drop("wasserstein", "by_chance", "detail").equals(drift_periods(whole, QUICK).drop("wasserstein", "by_chance", "detail"))


def test_every_family_of_a_lab_is_counted_or_says_why_not() -> None:
    parts = lab_tables(3)
    counts = count(parts, None)
    assert set(counts.counts["family"]) == {"schema", "actors", "clients", "rules", "scores", "labels", "overrides"}
    assert counts.why == {"embeddings": "no vectors were given"}
    table = drift_periods(counts, QUICK)
    assert table.filter(pl.col("family") == "embeddings")["reason"].unique().to_list() == ["no vectors were given"]
    assert {"new key", "new verb", "new API group", "new resource", "client version"} <= set(counts.counts["feature"])
    assert counts.counts.filter(pl.col("feature") == "client version")["value"].unique().to_list() == ["kubectl/v1.33.1"]
    bare = {name: frame if name in ("events", "sessions", "archives") else frame.clear() for name, frame in parts.items()}
    assert set(count(bare, None).why) == {"embeddings", "rules", "scores", "labels", "overrides"}


# ---- errors of labels ----------------------------------------------------------------------------------------


def stream(n: int, at: int, before: float, after: float, seed: int = 1) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    flagged = generator.random(n) < 0.5
    wrong = generator.random(n) < np.where(np.arange(n) < at, before, after)
    return pl.DataFrame({
        "case_id": [f"c-{number:04d}" for number in range(n)], "start": [MONDAY + timedelta(hours=4 * number) for number in range(n)],
        "score": flagged * 0.8, "flagged": flagged, "malicious": flagged ^ wrong,
    }, schema_overrides={"start": tables.TIME})


def test_a_change_of_label_errors_is_told_with_its_moment() -> None:
    row = error_changes(stream(240, 150, 0.05, 0.4)).row(0, named=True)
    assert (row["family"], row["feature"], row["alarm"]) == ("overrides", "label errors", True)
    assert abs((row["since"] - MONDAY).total_seconds() / 14400 - 150) <= 10
    assert row["before"] < 0.15 < row["after"]
    assert row["n_reference"] + row["n_current"] == 240
    assert row["period"] <= row["since"]


def test_label_errors_that_do_not_change_and_too_few_of_them() -> None:
    quiet = [error_changes(stream(240, 240, 0.1, 0.1, seed)).row(0, named=True) for seed in range(30)]
    assert sum(row["alarm"] for row in quiet) <= 3  # one in a hundred each
    row = next(row for row in quiet if not row["alarm"])
    assert (row["value"], row["reason"], row["before"]) == ("", None, row["after"])
    few = error_changes(stream(25, 25, 0.1, 0.1)).row(0, named=True)
    assert (few["alarm"], few["reason"]) == (None, "25 cases with a verdict and a label, 40 needed")
    unlabelled = error_changes(stream(60, 60, 0.1, 0.1).with_columns(malicious=pl.lit(None, pl.Boolean))).row(0, named=True)
    assert unlabelled["reason"] == "0 cases with a verdict and a label, 40 needed"
