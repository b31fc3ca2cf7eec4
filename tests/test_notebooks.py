"""Every notebook runs from top to bottom, offline, and shows no secret."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def executed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[nbformat.NotebookNode, Path]:
    """Run a notebook in a fresh folder that has the sample beside it; return it with its outputs, and the folder."""
    home = tmp_path_factory.mktemp(request.param.stem)
    (home / "data").symlink_to(ROOT / "data")
    folder = home / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(request.param, as_version=4)
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return notebook, folder


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_carries_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not outputs(notebook) and all(cell.get("execution_count") is None for cell in notebook.cells)


def test_every_cell_shows_something_or_sets_something_up(executed: tuple[nbformat.NotebookNode, Path]) -> None:
    notebook, _ = executed
    assert not [output for output in outputs(notebook) if output.output_type == "error" or output.get("name") == "stderr"]
    silent = [cell.source.splitlines()[0] for cell in notebook.cells if cell.cell_type == "code" and not cell.outputs]
    assert all(line.startswith(("from ", "import ", "def ")) for line in silent), silent


def test_charts_need_no_network(executed: tuple[nbformat.NotebookNode, Path]) -> None:
    notebook, _ = executed
    pages = [output.data["text/html"] for output in outputs(notebook) if "text/html" in output.get("data", {})]
    assert not [page for page in pages if re.search(r"<script|(src|href)=[\"']?https?:|jsdelivr", page)]
    assert any("application/vnd.vegalite.v5+json" in output.get("data", {}) for output in outputs(notebook))


def test_no_secret_is_shown_or_stored(executed: tuple[nbformat.NotebookNode, Path]) -> None:
    notebook, folder = executed
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    places = [nbformat.writes(notebook).encode(), *written]
    canaries = [json.loads(line)["canary"].encode() for line in (ROOT / "data" / "canaries.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(canaries) > 50 and len(places) > 1
    for canary in canaries:
        for needle in (canary, *middles(canary)):
            assert not any(needle in place for place in places), canary


def middles(secret: bytes) -> list[bytes]:
    """What every base64 text that holds the secret must hold, whatever comes before it."""
    return [base64.b64encode(b"x" * shift + secret)[4 if shift else 0:-4] for shift in range(3)]
