"""How smoothly the review widget's queue scrolls: frames of 1,000 and of 5,000 cases against a plain list of all rows, side by side.

    PYTHONPATH=. python benchmarks/bench_widget.py [--cases 1000 5000]

Runs in a real JupyterLab in headless Chromium, drawn by the processor. Each list is scrolled from top to bottom in the same number of
frames; what counts is the time between frames (16.7 ms at 60 a second) and the share of frames that took longer than 50 ms, which
a person sees.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from tests.browser.chromium import Chromium, Page
from tests.browser.jupyterlab import JupyterLab, run_all

ROOT = Path(__file__).parent.parent
FRAMES = 240
SCROLL = """
(async (list) => {
  const times = [];
  await new Promise((done) => {
    let frame = 0, before = performance.now();
    const step = () => {
      const now = performance.now();
      times.push(now - before);
      before = now;
      if (frame++ >= FRAMES) return done();
      list.scrollTop = (frame / FRAMES) * list.scrollHeight;
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  });
  return times.slice(2);
})(LIST)
"""
# What one would write first: every row of the queue as a node of its own, of the same make.
PLAIN = """
(() => {
  const desk = document.querySelector('.audit-review'), row = desk.querySelector('.row'), list = document.createElement('div');
  list.className = 'queue plain'; list.style.height = '460px';
  for (let at = 0; at < COUNT; at += 1) {
    const copy = row.cloneNode(true); copy.style.position = 'relative'; copy.style.top = '0'; list.append(copy);
  }
  desk.append(list);
})()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, nargs="+", default=[1_000, 5_000])
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    figures = {}
    with tempfile.TemporaryDirectory() as folder, JupyterLab(Path(folder)) as jupyter, Chromium() as browser:
        for count in options.cases:
            name = f"{count}.ipynb"
            jupyter.write(name, "from audit_lab.review.widget import ReviewWidget\nfrom tests.browser.desk_story import desk\n"
                          f"ReviewWidget(desk({count}, {str(Path(folder) / 'ledger')!r}))")
            page = jupyter.open(browser, name, width=1400, height=1000)
            run_all(page)
            page.wait_for("!!document.querySelector('.audit-review .row')")
            ours = scroll(page, ".audit-review .body .queue")
            page.evaluate(PLAIN.replace("COUNT", str(count)))
            figures[count] = {"widget": ours, "plain list": scroll(page, ".audit-review .queue.plain")}
    print(json.dumps(figures, indent=1))


def scroll(page: Page, selector: str) -> dict[str, float]:
    """Scroll a list from top to bottom and return its frames in figures, and how many rows the page holds."""
    times = sorted(page.evaluate(SCROLL.replace("FRAMES", str(FRAMES)).replace("LIST", f"document.querySelector('{selector}')")))
    return {
        "rows_in_page": page.evaluate(f"document.querySelectorAll('{selector} .row').length"),
        "median_ms": round(times[len(times) // 2], 1), "p95_ms": round(times[int(len(times) * 0.95)], 1),
        "share_over_50_ms": round(sum(time > 50 for time in times) / len(times), 3),
    }


if __name__ == "__main__":
    main()
