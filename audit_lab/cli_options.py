"""Options that most words of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LabOption = Annotated[Path, typer.Option("--lab", envvar="AUDIT_LAB_HOME", help="Folder of the lab.")]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="Settings: 'default', 'sample' or a TOML file; when not given, those of the lab's last run.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
