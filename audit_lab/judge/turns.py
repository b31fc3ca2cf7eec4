"""What the threads of one run share: the budget, whose turn it is, and whether it is worth going on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from audit_lab.errors import JudgeError
from audit_lab.judge.budget import Budget
from audit_lab.judge.client import CallError
from audit_lab.judge.verdicts import JudgeTables

# This many questions in a row without any answer: the rest is not tried, so that a dead endpoint costs no hours.
GIVE_UP_AFTER = 3


class Turns:
    """The state of a run; every method may be called from any thread."""

    def __init__(self, budget: Budget, total: int, calls_per_minute: int = 0, progress: Callable[[int, int], None] | None = None) -> None:
        self.budget, self.total = budget, total
        self.done = self.n_answers = 0
        self.egress: list[dict[str, Any]] = []
        self.stopped: str | None = None
        self.last_failure: CallError | None = None
        self._interval_s = 60.0 / calls_per_minute if calls_per_minute else 0.0
        self._progress = progress
        self._in_a_row = self._calls = 0
        self._not_before = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait until a call may be made: after the last pause, and no more often than the rate allows."""
        while True:
            with self._lock:
                left = self._not_before - time.monotonic()
                if left <= 0:
                    self._not_before = max(self._not_before, time.monotonic()) + self._interval_s if self._interval_s else self._not_before
                    return
            time.sleep(min(left, 1.0))

    def pause(self, wait_s: float) -> None:
        """Let no thread call before `wait_s` seconds have passed."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + wait_s)

    def answered(self, whole: bool) -> None:
        """Note that a question is done, and whether there is an answer."""
        with self._lock:
            self.done += 1
            self.n_answers += whole
            if self._progress:
                self._progress(self.done, self.total)

    def succeeded(self) -> None:
        """Note that the endpoint answers."""
        with self._lock:
            self._in_a_row = 0

    def failed(self, error: CallError) -> None:
        """Note a question that got no answer; stop the run when there is no sense in going on."""
        with self._lock:
            self.last_failure = error
            self._in_a_row += 1
            if error.fatal or (error.again and self._in_a_row >= GIVE_UP_AFTER):
                self.stopped = f"not tried: {error}"

    def number(self) -> int:
        """Return a number that no other call of this run has."""
        with self._lock:
            self._calls += 1
            return self._calls

    def record(self, row: dict[str, Any]) -> None:
        """Keep the egress row of a call."""
        with self._lock:
            self.egress.append(row)


def nothing_judged(endpoint: str, failure: CallError, made: JudgeTables) -> JudgeError:
    """Return the error of a run in which no case could be judged; its `tables` hold verdicts and calls all the same."""
    hints = {
        "unreachable": "start it, or set judge.base_url; run again to go on",
        "unauthorized": "set that environment variable to a valid key",
        "not_found": "check judge.base_url and judge.model",
        "rate_limited": "wait, or lower judge.concurrency; run again to go on",
        "timeout": "raise judge.timeout_s, or lower judge.concurrency; run again to go on",
    }
    hint = hints.get(failure.name, "see the egress table; run again to go on")
    error = JudgeError(f"no case could be judged at {endpoint}: {failure}", hint)
    error.tables = made  # type: ignore[attr-defined]
    return error
