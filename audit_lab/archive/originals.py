"""Go back from an event to its record in the archive, and show it masked (law 4)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from audit_lab.archive.files import ByteCount, read_lines
from audit_lab.errors import InputError
from audit_lab.masking import MASK, mask_text

# Whole subtrees whose values are nobody's business; keys stay, so that a reader sees what was there.
_HIDDEN_BELOW = {
    "data", "stringData", "binaryData", "annotations", "managedFields", "token", "caBundle", "request", "certificate",
}
_HIDDEN_KEYS = re.compile(r"(?i)pass|secret|token|credential|private|api[_-]?key|auth$|cert")
# These name or concern secrets without holding one.
_NOT_SECRET = {"automountServiceAccountToken", "secretName", "secretRef", "secretKeyRef", "serviceAccountToken", "tokenReview"}


def read_original(path: str | Path, position: int) -> dict[str, Any]:
    """Return the record that begins at byte `position` of the decompressed archive, masked.

    Raises
    ------
    InputError
        When the archive is gone or no record begins there.
    """
    archive = Path(path)
    if not archive.is_file():
        hint = "originals are read from the archives, which Audit Lab does not copy"
        if not archive.is_absolute():
            hint += "; a relative path counts from the folder in which it was ingested: go there"
        raise InputError(f"archive '{archive}' is not there", hint)
    for lines in read_lines(archive, 8 << 20, ByteCount()):
        if int(lines.position[-1]) < position:
            continue
        for start, text in zip(lines.position, lines.text, strict=True):
            if int(start) == position:
                try:
                    return dict(mask_record(json.loads(text)))
                except (ValueError, TypeError):
                    break
        break
    raise InputError(f"no record begins at byte {position} of '{archive}'", "was the archive replaced since it was ingested?")


def mask_record(value: Any, key: str = "", hidden: bool = False) -> Any:
    """Return a JSON value with secrets masked: hidden subtrees, keys that name secrets, environment values, and `mask_text`.

    >>> mask_record({"spec": {"env": [{"name": "DB_PASSWORD", "value": "x"}]}, "data": {"a": "eA=="}})
    {'spec': {'env': [{'name': 'DB_PASSWORD', 'value': '***'}]}, 'data': {'a': '***'}}
    """
    if isinstance(value, dict):
        in_env = "name" in value and "value" in value
        out = {}
        for name, item in value.items():
            below = hidden or (name in _HIDDEN_BELOW and not _is_decision(name, value)) or (in_env and name == "value")
            secret = bool(_HIDDEN_KEYS.search(name)) and name not in _NOT_SECRET and isinstance(item, str)
            out[mask_text(name)] = mask_record(item, name, below or secret)
        return out
    if isinstance(value, list):
        return [mask_record(item, key, hidden) for item in value]
    if isinstance(value, str):
        return MASK if hidden and value else mask_text(value)
    return MASK if hidden and isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_decision(name: str, holder: dict[str, Any]) -> bool:
    """Annotations of the audit event itself (not of an object in it) tell the decision; they are masked as text only."""
    return name == "annotations" and "auditID" in holder
