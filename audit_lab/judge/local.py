"""A small model on this machine in one line of the profile: `judge.gguf` names a file, and a server is started for it.

The server stands on loopback with a key that only this process knows, is started for the first question and stopped
with the judge. Answers are decoded by the schema, so even a small model gives a verdict that can be read.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl

from audit_lab.errors import JudgeError, MissingExtraError
from audit_lab.judge.budget import Budget
from audit_lab.judge.models import ModelJudge
from audit_lab.judge.prompt import Examples
from audit_lab.judge.verdicts import JudgeTables
from audit_lab.profile import JudgeSettings

# Prompt, examples and answer of one question, in tokens of a tokenizer that spends one on each byte.
CONTEXT = 16_384
START_S = 300.0
_PART = 4 << 20


class LocalServer:
    """llama.cpp's server for one GGUF file, in a process of its own.

    Parameters
    ----------
    path
        The model file.
    slots
        Questions answered at once.

    Raises
    ------
    JudgeError
        When the file is missing, is no GGUF file, or cannot be loaded.
    MissingExtraError
        When the package xllamacpp is not installed.
    """

    def __init__(self, path: Path, slots: int = 1, start_s: float = START_S) -> None:
        check_model_file(path)
        self.key = secrets.token_urlsafe(24)
        chosen = {"path": str(path), "context": CONTEXT, "slots": slots, "threads": max(1, (os.cpu_count() or 2) // 2), "key": self.key}
        # By its path, without the package around it: the server needs nothing of ours, and starts at once.
        script = Path(__file__).with_name("local_server.py")
        self._process = subprocess.Popen(  # noqa: S603 - our own file, no shell
            [sys.executable, "-P", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={**os.environ, "AUDIT_LAB_LOCAL_SERVER": json.dumps(chosen)},
        )
        said = self._first_line(start_s)
        if said.get("error") == "missing":
            self.stop()
            raise MissingExtraError.for_extra("local models", "local")
        if "address" not in said:
            self.stop()
            raise JudgeError(f"model file '{path}' cannot be served", "is it a whole GGUF file of a text model, with memory for it?")
        self.url = f"{said['address']}/v1"

    def stop(self) -> None:
        """End the server; a second time does nothing."""
        process = self._process
        if process.stdin and not process.stdin.closed:
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout and not process.stdout.closed:
            process.stdout.close()

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def _first_line(self, start_s: float) -> dict[str, str]:
        out = self._process.stdout
        if out is None or not select.select([out], [], [], start_s)[0]:
            return {"error": "slow"}
        try:
            said = json.loads(out.readline() or b"{}")
        except ValueError:
            return {"error": "unclear"}
        return said if isinstance(said, dict) else {}


def check_model_file(path: Path) -> None:
    """Raise JudgeError unless `path` is a file that begins like GGUF."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise JudgeError(f"model file '{path}' cannot be read: {error.strerror}", "set judge.gguf to a GGUF file") from None
    if magic != b"GGUF":
        raise JudgeError(f"'{path}' is no GGUF file", "convert the model to GGUF, or use an endpoint with judge.base_url")


def model_name(path: Path) -> str:
    """Return a name that changes with the file's content: its stem, size and the digest of its beginning and end."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_PART))
        file.seek(max(0, size - _PART))
        digest.update(file.read(_PART))
    return f"{path.stem}@{digest.hexdigest()[:12]}"


class LocalJudge:
    """A judge with a model of its own; parameters as for `ModelJudge`, `settings.gguf` names the file."""

    def __init__(
        self, settings: JudgeSettings, folder: Path | None = None, *, examples: Examples = (),
        progress: Callable[[int, int], None] | None = None, judge_id: str = "openai", fresh: bool = False,
    ) -> None:
        path = Path(settings.gguf)
        check_model_file(path)
        # The address is not known before the server runs: the endpoint is filled in then, and no part of the version.
        self._settings = settings.model_copy(update={
            "base_url": "http://127.0.0.1:1/v1", "model": model_name(path), "role": "onprem", "cloud": None, "large": None})
        self._path = path
        self._server: LocalServer | None = None
        self._judge = ModelJudge(
            self._settings, folder, examples=examples, progress=progress, ready=self._serve, judge_id=judge_id, fresh=fresh)
        self.judge_id = self._judge.judge_id
        self.settings = self._settings

    @property
    def judge_version(self) -> str:
        """Digest of prompt, model file and parameters."""
        return self._judge.judge_version

    @property
    def template_name(self) -> str:
        """Name of the prompt file."""
        return self._judge.template_name

    @property
    def notes(self) -> list[str]:
        """What it has to say about itself."""
        return self._judge.notes

    @property
    def pending(self) -> dict[str, str]:
        """Cases of which some question got no answer for a reason that may pass."""
        return self._judge.pending

    def show(self, examples: Examples) -> None:
        """Choose the labelled cases that stand before the question."""
        self._judge.show(examples)

    def new_budget(self) -> Budget:
        """Return the budget of a run from now on."""
        return self._judge.new_budget()

    def share_budget(self, budget: Budget) -> None:
        """Spend from a budget that others spend from as well."""
        self._judge.share_budget(budget)

    def __call__(self, candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
        """Return a verdict per candidate, grounds unchecked; the server is started when the first question must be asked."""
        return self._judge(candidates, evidence, signals)

    def repair(self, verdicts: pl.DataFrame, candidates: pl.DataFrame, evidence: pl.DataFrame) -> JudgeTables | None:
        """Ask once more where grounds do not hold."""
        return self._judge.repair(verdicts, candidates, evidence)

    def refuse(self, case_ids: list[str], why: str) -> JudgeTables:
        """Return verdicts that say why nothing was asked."""
        return self._judge.refuse(case_ids, why)

    def close(self) -> None:
        """Stop the server."""
        self._judge.close()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _serve(self) -> None:
        if self._server is not None and self._server.running:
            return
        self._server = LocalServer(self._path, self._settings.concurrency)
        self._judge.connect(self._server.url, self._server.key)
