"""The picture of the report in README: `python -m tools.make_report_picture reports/audit-lab-sample.html`. Needs Chromium."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from tests.browser.chromium import Chromium

TARGET = Path(__file__).parent.parent / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1280, 1130


def make_picture(report: Path, target: Path = TARGET) -> Path:
    """Draw the first screen of a report as PNG."""
    with Chromium() as browser:
        page = browser.open(report, width=WIDTH, height=HEIGHT)
        answer = page.call("Page.captureScreenshot", clip={"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1})
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(base64.b64decode(answer["data"]))
    return target


if __name__ == "__main__":
    print(make_picture(Path(sys.argv[1])))
