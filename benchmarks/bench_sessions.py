"""Sessions side by side with peers, in one run: `python benchmarks/bench_sessions.py [--events 1000000]`.

Peers: an uncapped one-sort pass in Polars (sort by actor, source and time; a session number, no ids, no cap); skrub's SessionEncoder;
msticpy's create_session_col. The last two are measured where they are installed (`pip install skrub msticpy`, into an environment of
their own); msticpy loops over rows, so it gets a part of the events and its rate is compared. Each figure is the best of three runs.
"""

import argparse
import importlib.util
import json
import time

import numpy as np
import polars as pl

from audit_lab.profile import SessionSettings
from audit_lab.sessions.windows import split_sessions

SETTINGS = SessionSettings(gap_s=300, max_length_s=3600)
ACTORS = (800, 40_000)
MSTICPY_EVENTS = 10_000


def make_events(n_events: int, n_actors: int, seed: int = 7) -> pl.DataFrame:
    """A day of events: few actors make most of them (Zipf), in bursts, rows in random order."""
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, n_actors + 1) ** 0.9
    n_bursts = n_events // 20
    actor_of_burst = random.choice(n_actors, size=n_bursts, p=share / share.sum())
    burst = random.integers(0, n_bursts, size=n_events)
    actor = actor_of_burst[burst]
    time_us = (random.integers(0, 86_400, size=n_bursts)[burst] * 1_000_000 + random.exponential(60e6, size=n_events)).astype(np.int64)
    names = np.array([f"system:serviceaccount:team-{number % 97}:app-{number}" for number in range(n_actors)])
    addresses = np.array([f"10.{number % 200}.{number // 200 % 250}.{number % 250}" for number in range(n_actors)])
    ids = random.integers(0, 2**62, size=n_events)
    return pl.DataFrame({
        "event_id": pl.Series(ids).cast(pl.String) + "-4b8a-9c1d", "cluster": pl.repeat("c1", n_events, eager=True),
        "actor": names[actor], "source_ip": addresses[actor], "time": pl.Series(time_us).cast(pl.Datetime("us", "UTC")),
    })


def one_sort(events: pl.DataFrame) -> pl.Series:
    """The least that anybody does: sort once, number the runs."""
    changed = (pl.col("actor") != pl.col("actor").shift()) | (pl.col("source_ip") != pl.col("source_ip").shift())
    pause = pl.col("time").diff() > pl.duration(seconds=SETTINGS.gap_s)
    ordered = events.select("event_id", "actor", "source_ip", "time").sort("actor", "source_ip", "time")
    return ordered.select("event_id", session=(changed | pause).fill_null(True).cum_sum())["session"]


def skrub_sessions(events: pl.DataFrame) -> pl.Series:
    from skrub import SessionEncoder

    encoder = SessionEncoder("time", split_by=["actor", "source_ip"], session_gap=SETTINGS.gap_s)
    return encoder.fit_transform(events)[:, -1]


def msticpy_sessions(events) -> object:
    from msticpy.analysis.anomalous_sequence.sessionize import create_session_col

    return create_session_col(events, ["actor", "source_ip"], "time", int(SETTINGS.max_length_s // 60), int(SETTINGS.gap_s // 60))


def best_s(function, argument, runs: int = 3) -> float:
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        function(argument)
        taken.append(time.perf_counter() - begin)
    return min(taken)


def measure(n_events: int) -> list[dict[str, object]]:
    """One row per number of actors and peer, with the ratio of speeds: above 1 we are faster."""
    rows: list[dict[str, object]] = []
    for n_actors in ACTORS:
        events = make_events(n_events, n_actors)
        ours = n_events / best_s(lambda frame: split_sessions(frame, SETTINGS), events)
        rows.append({"actors": n_actors, "what": "audit_lab.split_sessions, cap on", "events_per_s": round(ours), "ratio": 1.0})
        peers = [("Polars, one sort, no cap, no ids", one_sort, events, n_events, 3)]
        if importlib.util.find_spec("skrub"):
            peers.append(("skrub SessionEncoder, no cap", skrub_sessions, events, n_events, 3))
        if importlib.util.find_spec("msticpy"):
            part = events.head(MSTICPY_EVENTS).to_pandas()
            peers.append(("msticpy create_session_col, cap on", msticpy_sessions, part, MSTICPY_EVENTS, 1))
        for what, function, argument, size, runs in peers:
            rate = size / best_s(function, argument, runs)
            rows.append({"actors": n_actors, "what": what, "events_per_s": round(rate), "ratio": round(ours / rate, 2)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    rows = measure(arguments.events)
    if arguments.json:
        print(json.dumps({"events": arguments.events, "polars_threads": pl.thread_pool_size(), "rows": rows}))
        return
    print(f"{arguments.events} events, {pl.thread_pool_size()} threads; ratio = our speed / theirs")
    for row in rows:
        print(f"{row['actors']:>7} actors  {row['events_per_s']:>12,} events/s  {row['ratio']:>9}x  {row['what']}")


if __name__ == "__main__":
    main()
