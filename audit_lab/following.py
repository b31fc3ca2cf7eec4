"""Lines as they come: a file that grows, standard input or a Kafka topic, in batches."""

from __future__ import annotations

import importlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from audit_lab.errors import InputError, MissingExtraError

BLOCK = 8 << 20
# An event is at most a few megabytes; what is longer without a line break is no line, and must not fill the memory.
MAX_LINE = 32 << 20
# So much of a file's beginning tells it from another of the same name.
HEAD = 256


def follow(
    source: str, *, poll_s: float = 0.5, from_start: bool = True, wait: bool = False, stop: Callable[[], bool] = lambda: False
) -> Iterator[list[bytes]]:
    """Yield batches of complete lines of a growing file, of standard input ('-') or of a Kafka topic (kafka://host:port/topic).

    An empty batch says that nothing came. A file that was moved away is read to its end, its last line too, before the new one
    is opened; one that was cut or written anew is read from its start. With `wait`, a file that is not there yet is waited for.

    Raises
    ------
    InputError
        When the file (without `wait`), its folder or the topic does not exist, or the file is compressed.
    MissingExtraError
        When a topic is asked for without the extra 'kafka'.
    """
    if source.startswith("kafka://"):
        yield from _follow_topic(source, poll_s, from_start, stop)
    elif source == "-":
        yield from _follow_stream(sys.stdin.buffer, poll_s, stop)
    else:
        yield from _follow_file(Path(source), poll_s, from_start, wait, stop)


class _Splitter:
    """Cuts blocks into lines; the beginning of a line waits for its end."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def feed(self, block: bytes) -> list[bytes]:
        *whole, rest = block.split(b"\n")
        if whole:
            whole[0] = b"".join([*self.parts, whole[0]])
            self.parts, self.size = [], 0
        self.parts.append(rest)
        self.size += len(rest)
        if self.size > MAX_LINE:
            # Its beginning counts as one record that is not understood; the rest of it will too.
            return [*whole, *self.end()]
        return whole

    def end(self) -> list[bytes]:
        """Return what stands without a line break, as a line."""
        rest, self.parts, self.size = b"".join(self.parts), [], 0
        return [rest] if rest else []


def _follow_stream(stream: BinaryIO, poll_s: float, stop: Callable[[], bool]) -> Iterator[list[bytes]]:
    """Yield what has come so far, not line by line: each batch costs a run of the rules."""
    lines, number = _Splitter(), stream.fileno()
    while not stop():
        if not select.select([number], [], [], poll_s)[0]:
            yield []
            continue
        block = os.read(number, BLOCK)
        # A pipe gives 64 KiB at a time: take what is there already.
        while block and len(block) < BLOCK and select.select([number], [], [], 0.05)[0] and (more := os.read(number, BLOCK)):
            block += more
        if not block:
            yield lines.end()
            return
        yield lines.feed(block)


def _follow_file(path: Path, poll_s: float, from_start: bool, wait: bool, stop: Callable[[], bool]) -> Iterator[list[bytes]]:
    if not path.is_file() and (path.exists() or not wait or not path.absolute().parent.is_dir()):
        raise InputError(f"no file '{path}' to watch", "give the audit log that the API server writes")
    while (opened := _opened(path)) is None:
        if stop():
            return
        yield []
        time.sleep(poll_s)
        from_start = True
    handle, lines = opened, _Splitter()
    head = _head(handle, path)
    if not from_start:
        handle.seek(0, os.SEEK_END)
    try:
        while not stop():
            block = handle.read(BLOCK)
            if block:
                # A piece of a long line is not the end of what comes.
                if whole := lines.feed(block):
                    yield whole
                continue
            yield []
            time.sleep(poll_s)
            fresh = _replaced(path, handle, head)
            if fresh is not None:
                if not os.path.samestat(os.fstat(fresh.fileno()), os.fstat(handle.fileno())):
                    yield from _drained(handle, lines)
                handle.close()
                handle, lines, head = fresh, _Splitter(), b""
            if len(head) < HEAD:
                head = _head(handle, path)
    finally:
        handle.close()


def _replaced(path: Path, handle: BinaryIO, head: bytes) -> BinaryIO | None:
    """Open what stands under a name now, where that is another file or one that was cut or written anew; else None.

    Between any two looks the file may be moved away: then the old handle still has it, and the next round looks again.
    """
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    is_same = os.path.samestat(there, os.fstat(handle.fileno()))
    return None if is_same and there.st_size >= handle.tell() and _beginning(handle, len(head)) == head else _opened(path)


def _opened(path: Path) -> BinaryIO | None:
    """Open a file that may be on its way out; None while there is none of that name."""
    try:
        return path.open("rb") if path.is_file() else None
    except FileNotFoundError:
        return None
    except PermissionError:
        raise InputError(f"'{path}' may not be read", "run as somebody who may read it") from None


def _drained(handle: BinaryIO, lines: _Splitter) -> Iterator[list[bytes]]:
    """Yield what was written between the last look at a file and its being moved away."""
    while block := handle.read(BLOCK):
        yield lines.feed(block)
    yield lines.end()


def _head(handle: BinaryIO, path: Path) -> bytes:
    head = _beginning(handle, HEAD)
    if head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")):
        raise InputError(f"'{path}' is compressed, so it does not grow line by line", f"audit-lab ingest {path}")
    return head


def _beginning(handle: BinaryIO, size: int) -> bytes:
    return os.pread(handle.fileno(), size, 0)


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
            for message in messages:
                _check(message.error(), kafka, where.netloc)
            yield [line for message in messages if message.error() is None for line in (message.value() or b"").split(b"\n")]
    except kafka.KafkaException as error:
        raise InputError(f"Kafka at {where.netloc}: {error.args[0].str()}", "is it running there?") from None
    finally:
        consumer.close()


def _check(error: Any, kafka: Any, address: str) -> None:
    """Say what will not pass by itself: a topic that was deleted, a right that was taken away."""
    errors = kafka.KafkaError
    lasting = (errors.UNKNOWN_TOPIC_OR_PART, errors.TOPIC_AUTHORIZATION_FAILED, errors.GROUP_AUTHORIZATION_FAILED)
    if error is not None and (error.fatal() or error.code() in lasting):
        raise InputError(f"Kafka at {address}: {error.str()}", "does the topic still exist, and may you read it?")
