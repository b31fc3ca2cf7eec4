"""Digests of what results depend on beside tables and settings: the installed code, rules, files that a profile names."""

from __future__ import annotations

import functools
import hashlib
import inspect
from pathlib import Path

from audit_lab.hashing import text_digest
from audit_lab.profile import SignalSettings
from audit_lab.signals import PACK, Detector


@functools.cache
def code_digest() -> str:
    """Return a digest of the installed code, rules and prompts: another version makes every stage stale."""
    return files_digest(Path(__file__).parent)


def rules_digest(settings: SignalSettings) -> str:
    """Return a digest of all rules and exceptions in force: the built-in pack and a user's files."""
    return text_digest("".join(files_digest(Path(path)) for path in (str(PACK), *settings.rules, *settings.exceptions)))


def files_digest(folder: Path) -> str:
    """Return a digest of the code, rules, prompts and settings below a folder, or of one file."""
    digest = hashlib.sha256()
    files = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    for path in files:
        if path.is_file() and path.suffix in {".py", ".yml", ".yaml", ".md", ".json", ".toml"} and "__pycache__" not in path.parts:
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def source_of(detector: Detector) -> str:
    """Return what a user's detector is made of."""
    try:
        return inspect.getsource(detector)
    except (OSError, TypeError):  # typed into a plain interpreter: the byte code has to do
        return f"{detector.__name__}:{detector.__code__.co_code.hex()}"


def bytes_digest(path: Path) -> str:
    """Return a digest of a file's bytes; '' where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
