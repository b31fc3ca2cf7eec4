"""The review desk in a real JupyterLab: judged by keyboard alone, blind where it should be, quick with a thousand cases."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Chromium, Page, find_chromium
from tests.browser.desk_story import ATTACKS, CHECKS, RAN, SECRET_SCORE

pytest.importorskip("anywidget", reason="needs the extra 'notebook'")
pytestmark = pytest.mark.skipif(find_chromium() is None, reason="needs Chromium on the path")

from tests.browser.jupyterlab import JupyterLab, run_all  # noqa: E402 - after the skip: it imports nbformat

ROOT = Path(__file__).parent.parent.parent
DESK = "document.querySelector('.audit-review')"


class Review:
    """The widget in an open notebook, and the ledger that its labels are written to."""

    def __init__(self, page: Page, ledger: Path) -> None:
        self.page = page
        self.file = ledger
        page.wait_for(f"!!{DESK}?.querySelector('.row')")
        page.evaluate(f"{DESK}.focus()")

    def press(self, *keys: str) -> None:
        """Press keys as a person does, waiting each time until the kernel has answered."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {}
            self.page.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self.page.call("Input.dispatchKeyEvent", type="keyUp", key=key)
            self.page.wait_for(f"!{DESK}.querySelector('.note').textContent.startsWith('waiting')")

    def text(self, selector: str = "") -> str:
        return str(self.page.evaluate(f"{DESK}{f'.querySelector({selector!r})' if selector else ''}.innerText"))

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()] if self.file.exists() else []

    def frames(self) -> list[bytes]:
        """Return everything that the kernel sent to the page so far."""
        answers = [params["response"] for params in self.page.happened("Network.webSocketFrameReceived")]
        return [base64.b64decode(one["payloadData"]) if one["opcode"] == 2 else one["payloadData"].encode() for one in answers]

    def cells(self) -> list[str]:
        return list(self.page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets.map((cell) => cell.model.type)"))


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), before]))
    try:
        with JupyterLab(tmp_path_factory.mktemp("notebooks")) as running:
            yield running
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as running:
        yield running


@pytest.fixture
def review(jupyter: JupyterLab, browser: Chromium, request: pytest.FixtureRequest) -> Review:
    n = getattr(request, "param", 20)
    name, ledger = f"{request.node.name}.ipynb".replace("[", "-").replace("]", ""), jupyter.folder / f"{request.node.name}.jsonl"
    jupyter.write(
        name, f"from audit_lab.review.widget import ReviewWidget\nfrom tests.browser.desk_story import desk\nReviewWidget(desk({n}, {str(ledger)!r}))"
    )
    page = jupyter.open(browser, name, width=1400, height=1000)
    run_all(page)
    return Review(page, ledger)


def test_a_case_is_judged_with_the_keyboard_alone(review: Review) -> None:
    review.press("1", "3", "m")
    assert "write why" in review.text(".note") and review.ledger() == []  # a verdict without a reason is not kept
    review.press(*"stolen", "Enter")
    assert review.ledger() == [
        {"target_id": "c-00000", "verdict": "malicious", "reason": "stolen", "checks_done": [CHECKS[0], CHECKS[2]], "blind": False,
         "replaces": None}]
    assert review.text("header").startswith("Case 2 of 20") and "1 of 20 labelled" in review.text("header")
    review.press("u")  # unsure needs no reason
    assert [row["verdict"] for row in review.ledger()] == ["malicious", "unsure"]
    # No key reached JupyterLab, where m makes a cell markdown and b adds one.
    assert review.cells() == ["code"]


def test_undo_takes_the_last_label_back_and_shows_the_case_again(review: Review) -> None:
    review.press("b", *"planned", "Enter", "u", "z")
    assert [row["verdict"] for row in review.ledger()] == ["benign", "unsure", "withdrawn"]
    assert "taken back: c-00001" in review.text(".note") and review.text("header").startswith("Case 2 of 20")
    review.press("z", "z")
    assert [row["verdict"] for row in review.ledger()][-1] == "withdrawn" and "nothing to undo" in review.text(".note")
    assert "0 of 20 labelled" in review.text("header")


def test_a_blind_case_hides_its_score_in_the_page_and_in_what_the_page_was_sent(review: Review) -> None:
    assert f"{SECRET_SCORE:.2f}" in review.text(".detail")
    review.press(*["ArrowDown"] * 4)
    assert review.text("header").startswith("Case 5 of 20") and "blind: score hidden" in review.text(".detail")
    assert f"{SECRET_SCORE:.2f}"[:4] not in review.text(".detail") and "P1" not in review.text(".detail")
    views = [frame for frame in review.frames() if b'"view"' in frame]
    blind = [frame for frame in views if b'"case_id": "c-00004"' in frame.split(b'"view"', 1)[1]]
    clear = [frame for frame in views if b'"case_id": "c-00003"' in frame.split(b'"view"', 1)[1]]
    score = str(SECRET_SCORE).encode()
    assert blind and clear and any(score in frame for frame in clear)
    assert not [frame for frame in blind if score in frame.split(b'"view"', 1)[1]]


def test_originals_are_shown_when_asked_for_and_masked(review: Review) -> None:
    assert "***" not in review.text(".detail")
    review.press("o")
    review.page.wait_for(f"!!{DESK}.querySelector('.originals pre')")
    assert "***" in review.text(".originals") and ATTACKS[0] in review.text(".originals")


def test_text_of_the_log_is_shown_and_never_run(review: Review) -> None:
    for _ in ATTACKS:
        review.press("o", "ArrowDown")
    assert review.page.evaluate(RAN) is None
    assert review.page.evaluate(f"{DESK}.querySelectorAll('script, img, svg, iframe').length") == 0
    assert ATTACKS[0] in review.page.evaluate(f"{DESK}.querySelector('.queue').textContent")


@pytest.mark.parametrize("review", [1000], indirect=True)
def test_a_thousand_cases_scroll_with_a_bounded_page(review: Review) -> None:
    most, seen = 0, set()
    height = review.page.evaluate(f"{DESK}.querySelector('.queue').scrollHeight")
    assert height == 34_000
    for top in range(0, height, 400):
        rows = review.page.evaluate(
            f"(async () => {{ const list = {DESK}.querySelector('.queue'); list.scrollTop = {top};"
            " await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"
            " const box = list.getBoundingClientRect();"
            " return [...list.querySelectorAll('.row')].map((row) => [row.dataset.case, row.getBoundingClientRect().top < box.bottom"
            " && row.getBoundingClientRect().bottom > box.top]) })()"
        )
        most = max(most, len(rows))
        in_sight = [case for case, is_visible in rows if is_visible]
        assert len(in_sight) >= 13  # nothing in sight is left blank
        seen |= {case for case, _ in rows}
    assert most < 40 and len(seen) == 1000
    review.page.evaluate(f"{DESK}.querySelector('.queue').scrollTop = 20000")
    review.page.wait_for(f"!!{DESK}.querySelector('[data-case=\"c-00590\"]')")
    review.page.evaluate(f"{DESK}.querySelector('[data-case=\"c-00590\"]').click()")
    review.page.wait_for(f"{DESK}.querySelector('header').innerText.startsWith('Case 591 of 1000')")


def test_the_widget_asks_nothing_of_the_network(review: Review) -> None:
    review.press("?", "ArrowDown")
    outside = [url for url in review.page.requests() if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))]
    assert outside == [] and review.page.happened("Runtime.exceptionThrown") == []
    assert "masked originals" in review.text("footer")
