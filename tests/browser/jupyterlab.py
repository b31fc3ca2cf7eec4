"""A real JupyterLab on loopback for tests: its own folders, no network, ended with the context.

    with JupyterLab(folder) as jupyter, Chromium() as browser:
        page = jupyter.open(browser, "review.ipynb")
        run_all(page)
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import nbformat

from tests.browser.chromium import Chromium, Page

# Nothing of the machine's own Jupyter set-up, and nothing that asks the network, may take part.
SETTINGS = (
    "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", "--LabApp.expose_app_in_browser=True",
    "--LabApp.extension_manager=readonly", "--ServerApp.terminals_enabled=False",
)
QUIET = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
CONNECTED = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.connectionStatus === 'connected'"


class JupyterLab:
    """A server process over `folder`; a context manager that ends it and its kernels."""

    def __init__(self, folder: Path, timeout_s: float = 60) -> None:
        self.folder = folder
        self.timeout_s = timeout_s
        self.token = secrets.token_hex(16)
        self.url = ""

    def __enter__(self) -> JupyterLab:
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        home = Path(self._home.name)
        places = {name: str(home / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
        overrides = Path(places["JUPYTER_CONFIG_DIR"]) / "labconfig" / "default_setting_overrides.json"
        overrides.parent.mkdir(parents=True)
        overrides.write_text(json.dumps(QUIET), encoding="utf-8")
        self._log = (home / "log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *SETTINGS, f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.folder}"],
            env={**os.environ, **places, "JUPYTER_TOKEN": self.token}, stdout=self._log, stderr=self._log, start_new_session=True,
        )
        self.url = self._wait(Path(places["JUPYTER_RUNTIME_DIR"]))
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)
        self._log.close()
        self._home.cleanup()

    def _wait(self, runtime: Path) -> str:
        """Wait until the server answers; return its address."""
        deadline = time.monotonic() + self.timeout_s
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.log()
            for file in runtime.glob("jpserver-*.json"):
                try:
                    url = json.loads(file.read_text(encoding="utf-8"))["url"]
                    httpx.get(f"{url}api/status", params={"token": self.token}, timeout=5).raise_for_status()
                except (OSError, ValueError, KeyError, httpx.HTTPError):
                    continue
                return str(url)
            time.sleep(0.1)
        raise AssertionError(f"JupyterLab did not start within {self.timeout_s} s: {self.log()}")

    def log(self) -> str:
        """Return what the server said, its end."""
        self._log.flush()
        return Path(self._log.name).read_text(encoding="utf-8")[-2000:]

    def write(self, name: str, *cells: str) -> None:
        """Write a notebook with these code cells into the folder."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)

    def open(self, browser: Chromium, name: str, **how: Any) -> Page:
        """Open a notebook of the folder in JupyterLab and wait until it can be worked with."""
        page = browser.open(f"{self.url}lab/tree/{name}?token={self.token}&reset", **how)
        page.wait_for("!!document.querySelector('.jp-Notebook .jp-Cell')")
        # Where JupyterLab asks which kernel to take, the one that it offers is right.
        page.wait_for(f"(document.querySelector('.jp-Dialog .jp-mod-accept')?.click(), {CONNECTED})")
        return page


def run_all(page: Page) -> None:
    """Run every cell of the notebook that is open."""
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
