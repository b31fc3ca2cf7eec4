"""Files and folders that only their owner can read: what a lab holds is as confidential as the archives it was made from.

The mode does not depend on the caller's umask. A folder with the set-group-id bit is shared on purpose (`chmod 2770 lab`): what is made in
it is for its group as far as the folder itself is, and never for others. What is there already keeps its mode: somebody decided on it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OWNER_FILE, _OWNER_FOLDER = 0o600, 0o700


def private_file(path: Path) -> Path:
    """Make an empty file for its owner alone (or for the group of a shared folder) where there is none, and return its path.

    Whatever writes to it afterwards keeps that mode, and nobody could open it before.

    Raises
    ------
    OSError
        When it cannot be made; not when it is there already.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_FILE)
    except FileExistsError:
        return path
    try:
        os.fchmod(handle, _OWNER_FILE | _for_group(path.parent, 0o060))
    finally:
        os.close(handle)
    return path


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, for its owner alone (or for the group of a shared folder), and return its path.

    Raises
    ------
    OSError
        When it cannot be made, or a file has its name.
    """
    if path.is_dir():
        return path
    if not path.parent.exists():
        private_folder(path.parent)
    try:
        path.mkdir(mode=_OWNER_FOLDER)
    except FileExistsError:
        if not path.is_dir():
            raise
        return path  # another process was faster
    path.chmod(_OWNER_FOLDER | _for_group(path.parent, stat.S_ISGID | 0o070))
    return path


def _for_group(folder: Path, bits: int) -> int:
    """Return those of `bits` that a shared folder grants to its group; none where it is not shared."""
    mode = folder.stat().st_mode
    return mode & bits if mode & stat.S_ISGID else 0
