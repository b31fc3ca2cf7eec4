"""A small real HTTP server that plays an OpenAI-compatible endpoint, well or badly, on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = {
    "score": 0.8, "summary": "Secrets were listed.", "checks": ["ask_actor", "secrets_read", "change_ticket"], "action": "review", "abstain": None,
    "grounds": [{"claim": {"kind": "count", "predicate": "secret_list", "then": None, "n": 1, "scope": None}, "event_ids": ["e1"]}],
}


def completion(content: Any = None, **more: Any) -> dict[str, Any]:
    text = content if isinstance(content, str) else json.dumps(GOOD if content is None else content)
    return {
        "id": "c1", "object": "chat.completion", "created": 1, "model": "tiny-7b",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 700, "completion_tokens": 60, "total_tokens": 760}, **more,
    }


class Endpoint:
    """What the server saw, and how it should behave: `behave(handler, n)` gets the number of the request, from 1."""

    def __init__(self, behave: Callable[[Handler, int], None]) -> None:
        self.behave, self.requests, self.bodies, self.headers = behave, 0, [], []
        self.lock = threading.Lock()
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    endpoint: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.endpoint.lock:
            self.endpoint.requests += 1
            number = self.endpoint.requests
            self.endpoint.bodies.append(json.loads(body))
            self.endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
        with suppress(BrokenPipeError, ConnectionResetError):
            self.endpoint.behave(self, number)

    def send(self, status: int = 200, body: Any = None, headers: dict[str, str] | None = None) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(completion() if body is None else body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def cut(self) -> None:
        payload = json.dumps(completion()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload[: len(payload) // 2])
        self.wfile.flush()
        self.close_connection = True

    def drip(self, pause_s: float = 0.2) -> None:
        payload = json.dumps(completion()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        for byte in payload:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(pause_s)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(behave: Callable[[Handler, int], None]) -> Iterator[Endpoint]:
    endpoint = Endpoint(behave)
    handler = type("Bound", (Handler,), {"endpoint": endpoint})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()


def answering(content: Any = None) -> Callable[[Handler, int], None]:
    return lambda handler, _: handler.send(body=completion(content))
