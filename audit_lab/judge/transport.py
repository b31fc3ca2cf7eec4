"""The HTTP transport under a client: every request, answered or not, ends at a size and a time."""

from __future__ import annotations

import importlib
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from audit_lab.profile import JudgeSettings

# A verdict is some hundred bytes; an endpoint that sends more than this is not answering the question.
MAX_ANSWER_BYTES = 256 * 1024
_PART_BYTES = 16 * 1024
_LOCAL = ("127.0.0.1", "localhost", "::1")


class LimitError(Exception):
    """A response is too large or too slow; the message says which."""


class Deadline(threading.local):
    """When the request of this thread must have ended; a request and its answer are handled in one thread."""

    at = float("inf")

    def left(self, timeout: float | None) -> float:
        """Return how long one operation may take: what it would be given, or what is left for the whole request."""
        left = self.at - time.monotonic()
        return left if timeout is None else min(timeout, left)


class _Stream:
    """A connection whose operations share one deadline, where the package gives each of them the whole time again."""

    def __init__(self, inner: Any, deadline: Deadline, late: Any) -> None:
        self._inner, self._deadline, self._late = inner, deadline, late

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return bytes(self._inner.read(max_bytes, self._time(timeout, self._late.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In parts: whoever takes a few bytes at a time gets no more time for it.
        for start in range(0, len(buffer), _PART_BYTES):
            self._inner.write(buffer[start:start + _PART_BYTES], self._time(timeout, self._late.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        secured = self._inner.start_tls(ssl_context, server_hostname, self._time(timeout, self._late.ConnectTimeout))
        return _Stream(secured, self._deadline, self._late)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def _time(self, timeout: float | None, late: type[Exception]) -> float:
        left = self._deadline.left(timeout)
        if left <= 0:
            raise late("the time for the request is over")
        return left


class _Backend:
    """What opens the connections, with the deadline laid around each of them."""

    def __init__(self, inner: Any, deadline: Deadline, late: Any) -> None:
        self._inner, self._deadline, self._late = inner, deadline, late

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **more: Any) -> _Stream:
        return _Stream(self._inner.connect_tcp(host, port, max(self._deadline.left(timeout), 0.001), **more), self._deadline, self._late)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


def guard(http: Any, endpoint: str, settings: JudgeSettings, connections: int) -> Any:
    """Return a transport that ends a request, from the connection to the last byte, at the profile's time limit or `MAX_ANSWER_BYTES`."""
    deadline = Deadline()

    class Stream(http.SyncByteStream):
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __iter__(self) -> Iterator[bytes]:
            n_bytes = 0
            try:
                for chunk in self._inner:
                    n_bytes += len(chunk)
                    if n_bytes > MAX_ANSWER_BYTES:
                        raise LimitError(f"the answer is larger than {MAX_ANSWER_BYTES // 1024} KiB")
                    yield chunk
            except http.TimeoutException:
                raise LimitError(f"the answer took longer than {settings.timeout_s:g} s") from None

        def close(self) -> None:
            self._inner.close()

    class Transport(http.HTTPTransport):
        def __init__(self, **chosen: Any) -> None:
            super().__init__(**chosen)
            # Headers that drip and answers that only announce an answer have no limit in the package: it counts each wait by itself.
            late = importlib.import_module(type(self._pool).__module__.partition(".")[0])
            self._pool._network_backend = _Backend(self._pool._network_backend, deadline, late)

        def handle_request(self, request: Any) -> Any:
            # An unpacked answer could be a thousand times what came over the wire.
            request.headers["Accept-Encoding"] = "identity"
            if settings.key_header.lower() != "authorization":
                # The key goes into the header that the profile names, and into no other.
                request.headers.pop("Authorization", None)
            deadline.at = time.monotonic() + settings.timeout_s
            response = super().handle_request(request)
            if response.headers.get("content-encoding", "identity") != "identity":
                response.close()
                raise LimitError("the answer is packed, though none was asked for, and may be larger than allowed")
            response.stream = Stream(response.stream)
            return response

    host = endpoint.rsplit(":", 1)[0]
    scheme = urllib.parse.urlsplit(settings.base_url).scheme
    proxy = None if host in _LOCAL or urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
    return Transport(proxy=proxy, limits=http.Limits(max_connections=connections, max_keepalive_connections=connections))
