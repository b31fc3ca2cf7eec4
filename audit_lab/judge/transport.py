"""The HTTP transport under a client: every response, of whatever status, ends at a size and a time."""

from __future__ import annotations

import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from audit_lab.profile import JudgeSettings

# A verdict is some hundred bytes; an endpoint that sends more than this is not answering the question.
MAX_ANSWER_BYTES = 256 * 1024
_LOCAL = ("127.0.0.1", "localhost", "::1")


class LimitError(Exception):
    """A response is too large or too slow; the message says which."""


def guard(http: Any, endpoint: str, settings: JudgeSettings, connections: int) -> Any:
    """Return a transport that ends every response, of whatever status, at `MAX_ANSWER_BYTES` and at the profile's time limit."""

    class Stream(http.SyncByteStream):
        def __init__(self, inner: Any, deadline: float) -> None:
            self._inner, self._deadline = inner, deadline

        def __iter__(self) -> Iterator[bytes]:
            n_bytes = 0
            for chunk in self._inner:
                n_bytes += len(chunk)
                if n_bytes > MAX_ANSWER_BYTES:
                    raise LimitError(f"the answer is larger than {MAX_ANSWER_BYTES // 1024} KiB")
                if time.monotonic() > self._deadline:
                    raise LimitError(f"the answer took longer than {settings.timeout_s:g} s")
                yield chunk

        def close(self) -> None:
            self._inner.close()

    class Transport(http.HTTPTransport):
        def handle_request(self, request: Any) -> Any:
            # An unpacked answer could be a thousand times what came over the wire.
            request.headers["Accept-Encoding"] = "identity"
            if settings.key_header.lower() != "authorization":
                # The key goes into the header that the profile names, and into no other.
                request.headers.pop("Authorization", None)
            deadline = time.monotonic() + settings.timeout_s
            response = super().handle_request(request)
            if response.headers.get("content-encoding", "identity") != "identity":
                response.close()
                raise LimitError("the answer is packed, though none was asked for, and may be larger than allowed")
            response.stream = Stream(response.stream, deadline)
            return response

    host = endpoint.rsplit(":", 1)[0]
    scheme = urllib.parse.urlsplit(settings.base_url).scheme
    proxy = None if host in _LOCAL or urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
    return Transport(proxy=proxy, limits=http.Limits(max_connections=connections, max_keepalive_connections=connections))
