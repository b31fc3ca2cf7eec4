"""What our side costs: a thousand candidates against an endpoint that answers at once, in a process of its own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit_lab.judge import build_evidence, judge_cases, make_judge
from audit_lab.profile import JudgeSettings
from tests.judge.story import event, story

N_CASES = 1000
KINDS = (
    ("get", "pods", {}), ("list", "pods", {}), ("get", "secrets", {"name": "s"}), ("get", "configmaps", {"name": "c"}),
    ("patch", "deployments", {"api_group": "apps", "name": "d"}), ("list", "nodes", {}), ("delete", "pods", {"name": "p"}),
    ("create", "pods", {"subresource": "exec", "command_classes": ["shell"], "status": 101}), ("get", "pods", {"subresource": "log"}),
)


def thousand():
    """A thousand people with a past of forty requests and a session of thirty each."""
    chance = random.Random(1)
    rows = []
    for person in range(N_CASES):
        for base, count in ((0, 40), (7200, 30)):
            for step in range(count):
                verb, resource, more = chance.choice(KINDS)
                more = {**more, "name": f"{more['name']}{chance.randrange(6)}"} if "name" in more else more
                more = {**more, "status": 403} if chance.random() < 0.05 else more
                rows.append(event(base + person * 0.001 + step * 3, f"u{person}", verb, resource, namespace=f"ns{chance.randrange(20)}",
                                  event_id=f"{person}-{base}-{step}", **more))
    return story(rows, None)


@pytest.mark.slow
def test_a_thousand_candidates(tmp_path: Path):
    pytest.importorskip("openai", reason="needs the extra 'llm'")
    if os.getloadavg()[0] > 1.5:
        pytest.skip("measures time: needs an idle machine")
    tale = thousand()
    server = subprocess.Popen([sys.executable, str(Path(__file__).with_name("instant_server.py"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        port = int(server.stdout.readline())
        chosen = JudgeSettings(judge="openai", base_url=f"http://127.0.0.1:{port}/v1", model="m", max_tokens=10**9, max_tokens_per_day=10**9)
        started = time.perf_counter()
        pack = build_evidence(*tale)
        made = judge_cases(tale.candidates, pack, tale.signals, make_judge(chosen, tmp_path))
        took = time.perf_counter() - started
        started = time.perf_counter()
        again = judge_cases(tale.candidates, pack, tale.signals, make_judge(chosen, tmp_path))
        rerun = time.perf_counter() - started
    finally:
        server.stdin.close()
        server.wait(timeout=10)
    print(f"{N_CASES / took:.0f} verdicts/s with evidence, rerun {rerun:.2f} s")
    assert made.verdicts["score"].null_count() == 0
    assert made.egress.height == N_CASES
    assert again.egress.is_empty()
    assert again.verdicts["cached"].all()
    assert took <= N_CASES / 150
    assert rerun < 2
