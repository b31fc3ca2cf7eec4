"""Generated pages are fresh, and every command is documented."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _pages() -> dict[str, object]:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PAGES


@pytest.mark.parametrize("file", ["tables.md", "profile.md", "features.md"])
def test_generated_pages_are_fresh(file: str) -> None:
    made = _pages()[file]()  # type: ignore[operator]
    assert (ROOT / "docs" / file).read_text(encoding="utf-8") == made, "run: python tools/make_docs.py"


def test_every_dependency_earns_its_line() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["dependencies"] + [item for extra in project["optional-dependencies"].values() for item in extra]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    missing = [name for name in (item.split(">")[0].split("=")[0].strip() for item in named) if name not in page]
    assert missing == []


def test_every_locked_version_is_pinned() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert "torch==2.13.0" in lines
    assert all("==" in line for line in lines)


def test_no_page_names_a_missing_file() -> None:
    import re

    broken = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:\s]+)\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []
