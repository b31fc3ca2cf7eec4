"""Headless Chromium for tests, over its debugging pipe: no driver, no port, no package.

    with Chromium() as browser:
        page = browser.open(path, width=360, dark=True)
        page.evaluate("document.title")

Every request of the page is recorded; the browser itself is told to stay off the network.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)


def find_chromium() -> str | None:
    """Return the browser's path, or None where there is none."""
    return next((found for found in map(shutil.which, NAMES) if found), None)


class Chromium:
    """A browser process; a context manager that ends it."""

    def __init__(self, timeout_s: float = 60) -> None:
        self.timeout_s = timeout_s
        self._next = 0
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Chromium:
        binary = find_chromium()
        assert binary, "no Chromium on the path"
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The browser wants its ends on descriptors 3 and 4; ours are lifted out of the way first.
        high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in (to_browser, from_browser)]
        null = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(high, start=3)]
        command = [binary, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._pid = os.posix_spawn(binary, command, os.environ, file_actions=actions, setpgroup=0)
        for descriptor in (to_browser, from_browser, null, *high):
            os.close(descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(AssertionError, OSError):
            self.call("Browser.close")
        deadline = time.monotonic() + 10
        while os.waitpid(self._pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.killpg(self._pid, signal.SIGKILL)
            time.sleep(0.02)
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send one command of the DevTools protocol and return its result."""
        self._next += 1
        message: dict[str, Any] = {"id": self._next, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        wanted = self._next
        while True:
            answer = self._receive()
            if answer.get("id") == wanted:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + self.timeout_s
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"Chromium did not answer within {self.timeout_s} s"
            data = os.read(self._read, 1 << 20)
            assert data, "Chromium closed the pipe"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, where: Path | str, width: int = 1280, height: int = 900, dark: bool = False, prepare: str = "") -> Page:
        """Open a file, or an address on loopback, at a width in CSS pixels; `prepare` runs in the page before its own content."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        page.call(
            "Emulation.setEmulatedMedia", media="screen", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        )
        if prepare:
            page.call("Page.addScriptToEvaluateOnNewDocument", source=prepare)
        page.call("Page.navigate", url=where.resolve().as_uri() if isinstance(where, Path) else where)
        page.wait_for(f"document.readyState === 'complete' && location.protocol === '{'file:' if isinstance(where, Path) else 'http:'}'")
        return page


class Page:
    """One open page."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self.browser = browser
        self.session = session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to this page."""
        return self.browser.call(method, self.session, **params)

    def evaluate(self, expression: str) -> Any:
        """Return the JSON value of an expression in the page; the page's content policy does not bind it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + self.browser.timeout_s
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"still false: {expression}"
            time.sleep(0.02)

    def happened(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of every event `method` of this page so far."""
        self.evaluate("1")
        return [
            event["params"] for event in self.browser.events if event.get("method") == method and event.get("sessionId") == self.session
        ]

    def requests(self) -> list[str]:
        """Return the address of everything that the page asked for."""
        return [params["request"]["url"] for params in self.happened("Network.requestWillBeSent")]

    def screenshot(self, path: Path, full: bool = True) -> Path:
        """Write a PNG of the page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16_000), "scale": 1}
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=full, **({"clip": clip} if full else {}))
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def pdf(self, path: Path) -> Path:
        """Write the page as it would be printed."""
        self.call("Emulation.setEmulatedMedia", media="")
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"]))
        return path
