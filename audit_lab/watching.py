"""Rules in near real time: events arrive in micro-batches, hits go out; no model is asked.

A file that grows, standard input or a Kafka topic gives lines; each batch is read, masked and classed as in an ingest,
joins what was seen lately, and the rules run over both, so that correlations see across batches.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.archive.files import Lines
from audit_lab.archive.reader import Reading, read_batch
from audit_lab.archive.stages import RECORD, classify_records
from audit_lab.duck import connect
from audit_lab.errors import InputError, MissingExtraError
from audit_lab.hashing import short_id
from audit_lab.profile import Profile
from audit_lab.sessions import split_sessions
from audit_lab.signals import Rule, run_rules

# What a correlation may look back on: as much as keeps a batch within a second or two.
BUFFER_EVENTS = 30_000
BUFFER_S = 3600.0


class Watcher:
    """Holds what was seen lately and which hits were told.

    Parameters
    ----------
    rules
        From `load_rules`.
    profile
        Settings: session gap, cluster name, CIDRs.
    """

    def __init__(self, rules: Sequence[Rule], profile: Profile) -> None:
        self.rules, self.profile = rules, profile
        self.seen = tables.empty("events")
        self.told: set[tuple[str, str]] = set()
        self.n_events = self.n_rejected = 0
        self._position = 0
        self._connection = connect()

    def feed(self, lines: Sequence[bytes]) -> list[dict[str, Any]]:
        """Read a batch of lines and return the hits that are new, in order of time; what is no event is counted as rejected."""
        kept = [line.strip() for line in lines if line.strip()]
        if not kept:
            return []
        places = np.arange(self._position, self._position + len(kept), dtype=np.int64)
        self._position += len(kept)
        reading = Reading()
        cluster = self.profile.archive.cluster
        fresh = read_batch(self._connection, Lines(kept, places, places + 1, terminated=True), self.profile.archive, cluster, reading)
        self.n_rejected += len(reading.quarantine)
        self.n_events += fresh.height
        if fresh.is_empty():
            return []
        known = classify_records(pl.concat([self.seen, fresh]).select(list(RECORD))).filter(pl.col("fate") == "event")
        both = pl.concat([self.seen, fresh]).join(known.select("position"), on="position", how="semi").sort("time", "event_id")
        newest = both["time"].max()
        self.seen = both.filter(pl.col("time") >= newest - pl.duration(seconds=BUFFER_S)).tail(BUFFER_EVENTS)
        return self._hits(set(fresh["event_id"]))

    def _hits(self, fresh: set[str]) -> list[dict[str, Any]]:
        members = split_sessions(self.seen, self.profile.sessions)
        signals = run_rules(self.rules, self.seen, members)
        shown = self.seen.select("event_id", "time", "actor", "source_ip", "namespace")
        facts = {row["event_id"]: row for row in shown.iter_rows(named=True)}
        hits = []
        for signal in signals.iter_rows(named=True):
            new = [event for event in signal["event_ids"] if event in fresh and (signal["detector_id"], event) not in self.told]
            if not new:
                continue
            self.told |= {(signal["detector_id"], event) for event in signal["event_ids"]}
            last = max((facts[event] for event in new if event in facts), key=lambda row: row["time"])
            hits.append({
                "hit_id": short_id("h", signal["detector_id"], *new), "time": last["time"].isoformat(), "rule": signal["detector_id"],
                "kind": signal["kind"], "severity": signal["severity"], "reason": signal["reason"], "actor": last["actor"],
                "source_ip": last["source_ip"], "namespace": last["namespace"], "event_ids": signal["event_ids"],
            })
        return sorted(hits, key=lambda hit: (hit["time"], hit["rule"]))


def follow(source: str, *, poll_s: float = 0.5, from_start: bool = True, stop: Callable[[], bool] = lambda: False) -> Iterator[list[bytes]]:
    """Yield batches of complete lines of a growing file, of standard input ('-') or of a Kafka topic (kafka://host:port/topic).

    An empty batch says that nothing came; a file that is rotated or cut is opened again from its start.

    Raises
    ------
    InputError
        When the file or topic does not exist.
    MissingExtraError
        When a topic is asked for without the extra 'kafka'.
    """
    if source.startswith("kafka://"):
        yield from _follow_topic(source, poll_s, from_start, stop)
    elif source == "-":
        for line in sys.stdin.buffer:
            yield [line]
    else:
        yield from _follow_file(Path(source), poll_s, from_start, stop)


def _follow_file(path: Path, poll_s: float, from_start: bool, stop: Callable[[], bool]) -> Iterator[list[bytes]]:
    if not path.is_file():
        raise InputError(f"no file '{path}' to watch", "give the audit log that the API server writes")
    handle = path.open("rb")
    if not from_start:
        handle.seek(0, os.SEEK_END)
    rest = b""
    try:
        while not stop():
            block = handle.read(8 << 20)
            if block:
                *whole, rest = (rest + block).split(b"\n")
                yield whole
                continue
            yield []
            time.sleep(poll_s)
            if not path.exists():
                continue
            now = path.stat()
            if now.st_ino != os.fstat(handle.fileno()).st_ino or now.st_size < handle.tell():
                handle.close()
                handle, rest = path.open("rb"), b""
    finally:
        handle.close()


def _follow_topic(source: str, poll_s: float, from_start: bool, stop: Callable[[], bool]) -> Iterator[list[bytes]]:
    try:
        kafka = importlib.import_module("confluent_kafka")
    except ImportError:
        raise MissingExtraError.for_extra("Kafka topics", "kafka") from None
    where = urlsplit(source)
    topic = where.path.strip("/")
    if not where.netloc or not topic:
        raise InputError(f"'{source}' is no topic", "kafka://host:port/topic")
    consumer = kafka.Consumer({
        "bootstrap.servers": where.netloc, "group.id": f"audit-lab-watch-{os.getpid()}", "enable.auto.commit": False,
        "auto.offset.reset": "earliest" if from_start else "latest", "log_level": 0,
    })
    try:
        known = consumer.list_topics(topic, timeout=10)
        if known.topics[topic].error is not None:
            raise InputError(f"no topic '{topic}' at {where.netloc}", "check the name and the address")
        consumer.subscribe([topic])
        while not stop():
            messages = consumer.consume(num_messages=5000, timeout=poll_s)
            yield [line for message in messages if message.error() is None for line in (message.value() or b"").split(b"\n")]
    except kafka.KafkaException as error:
        raise InputError(f"Kafka at {where.netloc}: {error.args[0].str()}", "is it running there?") from None
    finally:
        consumer.close()
