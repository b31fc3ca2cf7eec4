"""Rules on events as they come: a growing file and a topic give the same hits as one reading, each hit once."""

from __future__ import annotations

import gzip
import json
import threading
import time
from pathlib import Path

import pytest

from audit_lab.archive import find_archives
from audit_lab.errors import InputError
from audit_lab.profile import load_profile
from audit_lab.signals import load_rules
from audit_lab.watching import Watcher, follow

from .archive.conftest import lines, record

PROFILE = load_profile("sample", {})


def secret_list(n: int) -> dict[str, object]:
    stamp = f"2026-01-01T10:00:{n:02d}.000000Z"
    return record(
        f"s-{n}", requestURI="/api/v1/secrets", requestReceivedTimestamp=stamp, stageTimestamp=stamp,
        objectRef={"resource": "secrets", "apiVersion": "v1"},
    )


@pytest.fixture(scope="module")
def recorded(sample: Path) -> list[bytes]:
    """The first 3,000 lines of the sample's last archive."""
    with gzip.open(find_archives(sample)[-1]) as stream:
        return [line for _, line in zip(range(3000), stream, strict=False)]


def found(hits: list[dict[str, object]]) -> set[tuple[str, str]]:
    return {(str(hit["rule"]), str(event)) for hit in hits for event in hit["event_ids"]}  # type: ignore[attr-defined]


def test_batches_find_what_one_reading_finds_and_tell_it_once(recorded: list[bytes]) -> None:
    rules = load_rules([])
    whole = Watcher(rules, PROFILE).feed(recorded)
    pieces = Watcher(rules, PROFILE)
    told = [hit for start in range(0, len(recorded), 700) for hit in pieces.feed(recorded[start : start + 700])]
    assert len(whole) > 5
    assert {rule for rule, _ in found(whole)} == {rule for rule, _ in found(told)}
    assert len({hit["hit_id"] for hit in told}) == len(told)
    assert pieces.feed(recorded[-50:]) == [], "what was told is not told again"


def test_a_growing_file_is_followed_over_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(lines(secret_list(1)))
    watcher = Watcher(load_rules([]), PROFILE)
    hits: list[dict[str, object]] = []
    done = threading.Event()

    def watch() -> None:
        for batch in follow(str(path), poll_s=0.05, stop=done.is_set):
            hits.extend(watcher.feed(batch))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        until(lambda: watcher.n_events == 1)
        half = lines(secret_list(2))
        with path.open("ab") as stream:
            stream.write(half[:40])
            stream.flush()
            time.sleep(0.2)
            stream.write(half[40:])
        until(lambda: watcher.n_events == 2)
        path.rename(tmp_path / "audit-1.log")
        path.write_bytes(lines(secret_list(3)) + b"no event\n")
        until(lambda: watcher.n_events == 3)
    finally:
        done.set()
        thread.join(10)
    assert {event for rule, event in found(hits) if rule == "secrets-listed-cluster-wide"} == {"s-1", "s-2", "s-3"}
    assert watcher.n_rejected == 1


def until(condition: object, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.05)


def test_hits_are_json_and_hold_no_secret() -> None:
    watcher = Watcher(load_rules([]), PROFILE)
    event = secret_list(1) | {"userAgent": "x token=hunter2", "user": {"username": "eve"}}
    text = json.dumps(watcher.feed([json.dumps(event).encode()]))
    assert "secrets-listed-cluster-wide" in text
    assert "hunter2" not in text


def test_a_kafka_topic_is_followed() -> None:
    kafka = pytest.importorskip("confluent_kafka", reason="needs the extra 'kafka'")
    producer = kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    broker = next(iter(producer.list_topics(timeout=10).brokers.values()))
    for n in range(3):
        producer.produce("audit", json.dumps(secret_list(n)).encode())
    assert producer.flush(20) == 0
    watcher = Watcher(load_rules([]), PROFILE)
    hits: list[dict[str, object]] = []
    limit = time.monotonic() + 60
    for batch in follow(f"kafka://{broker.host}:{broker.port}/audit", poll_s=0.2, stop=lambda: watcher.n_events >= 3 or time.monotonic() > limit):
        hits.extend(watcher.feed(batch))
    assert {event for rule, event in found(hits) if rule == "secrets-listed-cluster-wide"} == {"s-0", "s-1", "s-2"}


@pytest.mark.parametrize(("source", "says"), [("nowhere.log", "no file 'nowhere.log' to watch"), ("kafka://host", "is no topic")])
def test_what_cannot_be_watched_is_told(source: str, says: str) -> None:
    if source.startswith("kafka"):
        pytest.importorskip("confluent_kafka", reason="needs the extra 'kafka'")
    with pytest.raises(InputError, match=says):
        next(iter(follow(source)))
