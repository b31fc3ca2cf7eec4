"""Judges of known error: they prove the harness, not the product.

A scripted judge knows the truth and is wrong on purpose, at stated rates. Whatever the harness then reports has to be these
rates. They are those that the literature reports for language models on alerts, so the harness is proved where it will be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.hashing import short_id, text_digest


@dataclass(frozen=True)
class Script:
    """How a scripted judge answers.

    `tpr` and `fpr` are the shares of malicious and of other cases that it calls malicious. `manner`: 'noisy' draws a score above or
    below one half accordingly; 'constant' always answers the same score; 'hijacked' is noisy, but calls benign every case that holds
    injected text.
    """

    name: str
    tpr: float
    fpr: float
    manner: Literal["noisy", "constant", "hijacked"] = "noisy"


SCRIPTS = {
    script.name: script
    for script in (
        # A strong model with a few examples, and the mean of sixteen models without any (SecAlertBench 2026).
        Script("few_shot", 0.93, 0.10),
        Script("zero_shot", 0.80, 0.44),
        Script("random", 0.50, 0.50),
        Script("constant", 1.0, 1.0, "constant"),
        Script("hijacked", 0.93, 0.10, "hijacked"),
    )
}


def scripted_verdicts(cases: pl.DataFrame, script: Script, seed: int = 7) -> pl.DataFrame:
    """Answer every case as the script says.

    Parameters
    ----------
    cases
        Frame with case_id, malicious (bool) and, where the judge is hijacked, injected (bool): whether the case holds injected text.
    script
        How to answer.
    seed
        Seed of the errors; each case draws its own, so that leaving out cases changes no other answer.

    Returns
    -------
    Table `verdicts`, one row per case, judge_id 'scripted-' and the script's name.
    """
    ordered = cases.sort("case_id")
    digests = [text_digest(f"{seed}|{script.name}|{case}") for case in ordered["case_id"]]
    # The hexadecimal digits of a hash are as good as random ones, and each case has its own.
    errs, where = (np.array([int(digest[part : part + 13], 16) / 16**13 for digest in digests], dtype=float) for part in (0, 20))
    malicious = ordered["malicious"].to_numpy().astype(bool)
    called = errs < np.where(malicious, script.tpr, script.fpr)
    if script.manner == "hijacked" and "injected" in ordered.columns:
        called &= ~ordered["injected"].fill_null(False).to_numpy().astype(bool)
    # Half-open halves: 0.5 itself belongs to 'malicious'.
    scores = np.where(called, 0.5 + where / 2, where * 0.499)
    if script.manner == "constant":
        scores = np.full(scores.size, 0.9)
    version = short_id("v", script.name, script.tpr, script.fpr, script.manner, seed)
    return tables.conform(
        ordered.select("case_id").with_columns(
            pl.Series("score", scores, dtype=pl.Float64), judge_id=pl.lit(f"scripted-{script.name}"), judge_version=pl.lit(version),
            prompt_sha256=pl.lit(""), usable=pl.lit(True), grounds=pl.lit([], dtype=tables.TABLES["verdicts"].schema["grounds"]),
            checks=pl.lit([], dtype=tables.TEXTS), attempts=pl.lit(0), tokens_in=pl.lit(0), tokens_out=pl.lit(0), cached=pl.lit(False),
        ),
        "verdicts",
    )
