"""The account of a judge's calls: one line before a call leaves, one when its outcome is known.

So a process that is killed between the two has still said what it sent, and where. Failed calls are calls.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit_lab.hashing import short_id
from audit_lab.judge.cache import CALLS, LineFile
from audit_lab.judge.client import ChatClient, Reply
from audit_lab.judge.prompt import Prompt

# After these the provider may have counted what it was sent, although nothing came back that says so.
BILL_UNKNOWN = ("timeout", "cut", "too_large", "not_an_answer", "server_error")


class Account:
    """Calls of one judge, in memory and in `calls.jsonl` of a folder."""

    def __init__(self, folder: Path | None, judge_id: str, role: str) -> None:
        self._file = LineFile(folder / CALLS if folder else None)
        self._judge_id, self._role = judge_id, role

    def calls(self) -> list[dict[str, Any]]:
        """Return the lines kept so far, of all judges."""
        return self._file.read()

    def opened(self, client: ChatClient, prompt: Prompt, number: int, held: tuple[int, float | None]) -> dict[str, Any]:
        """Note that a call is about to leave; `held` is the most that it may use, in tokens and US dollars."""
        at = datetime.now(UTC)
        row = {
            "egress_id": short_id("g", at.isoformat(), client.endpoint, prompt.sha256, self._judge_id, number), "at": at,
            "endpoint": client.endpoint, "judge_id": self._judge_id, "prompt_sha256": prompt.sha256,
            "bytes_sent": client.size(prompt.messages), "tokens_in": None, "outcome": "sent", "case_id": prompt.case_id,
            "role": self._role, "tokens_out": None, "cost_usd": None,
        }
        self._file.append({**row, "at": at.isoformat(), "held_tokens": held[0], "held_usd": held[1]}, sync=False)
        return row

    def closed(
        self, row: dict[str, Any], outcome: str, reply: Reply | None, cost_usd: float | None, held: tuple[int, float | None],
    ) -> dict[str, Any]:
        """Note what became of a call and return its row of table egress."""
        done = {**row, "outcome": outcome, "cost_usd": cost_usd}
        if reply is not None:
            done |= {"tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out}
        most = {"held_tokens": held[0], "held_usd": held[1]} if outcome in BILL_UNKNOWN else {}
        self._file.append({**done, "at": row["at"].isoformat(), **most})
        return done
