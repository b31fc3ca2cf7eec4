"""The report in a real browser: nothing runs, nothing is loaded, nothing is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_lab.govern import write_report
from tests.browser.chromium import Chromium, find_chromium
from tests.govern.report_world import build_world, with_story

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="needs Chromium on the path")

RAN = "document.documentElement.dataset.ran"
ATTACKS = (
    "<script>document.documentElement.dataset.ran=1</script>",
    '"><img src=x onerror="document.documentElement.dataset.ran=2">',
    "'><svg onload=document.documentElement.dataset.ran=3>",
    "</style><script>document.documentElement.dataset.ran=4</script>",
    "</title></textarea></svg><script>document.documentElement.dataset.ran=5</script>",
    "javascript:document.documentElement.dataset.ran=6",
    "<iframe srcdoc='<script>parent.document.documentElement.dataset.ran=7</script>'>",
    '" autofocus onfocus=document.documentElement.dataset.ran=8 x="',
    "{{ ''.__class__.__mro__ }}{% raw %}",
    "<!--<math><mtext></table><mglyph><style><img src=x onerror=document.documentElement.dataset.ran=9>",
    "&lt;script&gt;document.documentElement.dataset.ran=10&lt;/script&gt;",
    "\x1b[2J\x1b]0;title\x07\x00\u202ecod.exe\u2066\u200b\ufeff",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(with_story(build_world()), tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with an attack in every field that a client can write, and without the policy that would stop it anyway."""
    dealt = iter(range(10**9))

    def poison(text: str) -> str:
        return f"{text[:9]}{ATTACKS[next(dealt) % len(ATTACKS)]}" if text else text

    data = build_world(
        poison, sessions=60, blind=[{"what": ATTACKS[0], "why": ATTACKS[1], "n": 1}], period=ATTACKS[4], versions={ATTACKS[0]: ATTACKS[1]}
    )
    path = write_report(with_story(data), tmp_path_factory.mktemp("poisoned") / "report.html")
    page = path.read_text(encoding="utf-8")
    assert "Content-Security-Policy" in page
    path.write_text(page.replace("Content-Security-Policy", "X-Nothing"), encoding="utf-8")
    return path


def test_the_attacks_would_run_if_they_were_not_escaped(browser: Chromium, tmp_path: Path) -> None:
    bare = tmp_path / "bare.html"
    bare.write_text(f"<!DOCTYPE html><html><body>{ATTACKS[0]}</body></html>", encoding="utf-8")
    browser.open(bare).wait_for(f"{RAN} === '1'")


def test_no_attack_runs_and_all_are_shown(browser: Chromium, poisoned: Path) -> None:
    page = browser.open(poisoned)
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true); new Promise(done => setTimeout(done, 200))")
    assert page.evaluate(f"{RAN} === undefined")
    assert page.evaluate("document.querySelectorAll('script, iframe, img, math, object, embed, link, form, base').length") == 0
    assert (
        page.evaluate(
            "[...document.querySelectorAll('*')].flatMap(item => [...item.attributes]).filter(a => a.name.startsWith('on')).length"
        )
        == 0
    )
    assert (
        page.evaluate("[...document.querySelectorAll('[href], [src]')].filter(item => !item.getAttribute('href').startsWith('#')).length")
        == 0
    )
    text = page.evaluate("document.body.innerText")
    assert "<script>document" in text and "onerror=" in text
    assert "␛[2J" in text and "⟦U+202E⟧" in text and "␀" in text
    assert not set(text) & set("\u202e\u2066\u200b\ufeff\x1b\x07")
    assert page.requests() == [poisoned.resolve().as_uri()]


def test_hostile_names_do_not_break_the_layout(browser: Chromium, poisoned: Path) -> None:
    page = browser.open(poisoned, width=360)
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1920])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_never_scrolls_sideways(browser: Chromium, report: Path, width: int, dark: bool) -> None:
    page = browser.open(report, width=width, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_only_the_file_itself_is_asked_for_and_nothing_is_reported(browser: Chromium, report: Path) -> None:
    page = browser.open(report)
    assert page.requests() == [report.resolve().as_uri()]
    assert page.happened("Log.entryAdded") == [] and page.happened("Runtime.exceptionThrown") == []


def test_dark_scheme_changes_page_and_charts(browser: Chromium, report: Path) -> None:
    look = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.chart text')).fill]"
    light, dark = browser.open(report).evaluate(look), browser.open(report, dark=True).evaluate(look)
    assert light[0] != dark[0] and light[1] != dark[1]


def test_a_citation_leads_to_its_event_inside_the_closed_list(browser: Chromium, report: Path) -> None:
    page = browser.open(report)
    page.evaluate("document.querySelector('.cites a').click()")
    page.wait_for("document.querySelector('tr:target')?.closest('details').open")
    assert page.evaluate("document.querySelector('tr:target').checkVisibility()")


def test_every_text_can_be_read(browser: Chromium, report: Path) -> None:
    """No text of the page is smaller than 11 pixels, on a phone too; marks inside a picture may have 10."""
    page = browser.open(report, width=360)
    sizes = page.evaluate("""[...document.querySelectorAll('main *')].filter(item => item.childNodes.length
        && [...item.childNodes].some(node => node.nodeType === 3 && node.data.trim())).map(item => parseFloat(getComputedStyle(item).fontSize))""")
    assert min(sizes) >= 10


def test_a_check_can_be_ticked_by_keyboard_and_has_a_name(browser: Chromium, report: Path) -> None:
    page = browser.open(report)
    assert page.evaluate(
        "(box => { box.focus(); box.click(); return box.checked && box.labels[0].innerText.length > 5 })"
        "(document.querySelector('input[type=checkbox]'))"
    )


def test_it_prints(browser: Chromium, report: Path, tmp_path: Path) -> None:
    pdf = browser.open(report).pdf(tmp_path / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-") and 3 <= pdf.count(b"/Type /Page\n") <= 25
