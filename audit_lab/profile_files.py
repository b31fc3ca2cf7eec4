"""How a profile is found and read: a built-in template, a TOML file that starts from one, the environment on top.

`base = "default"` names the template that a file starts from; `AUDIT_LAB_SESSIONS__GAP_S=120` sets `sessions.gap_s`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from audit_lab.errors import ProfileError
from audit_lab.profile import NO_ROLE, ROLE_HINT, ChallengerSettings, JudgeSettings, Profile

TEMPLATES: dict[str, dict[str, Any]] = {
    "default": {},
    # The recordings squeeze about a day of work into twenty minutes: a factor of five on all pauses.
    "sample": {"name": "sample", "sessions": {"gap_s": 60.0, "max_length_s": 720.0}},
}


def load_profile(source: str | Path | None = None, environ: dict[str, str] | None = None) -> Profile:
    """Return the profile named or stored at `source` ('default' when none), with the environment on top.

    Raises
    ------
    ProfileError
        When the file is missing or no TOML, a key is unknown, or a value is out of range.
    """
    values = _merge(_template(source), _from_environment(dict(os.environ) if environ is None else environ))
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ProfileError(f"profile: unknown key '{where}'", _near(where)) from None
        if first["type"] == NO_ROLE:
            raise ProfileError(f"profile: '{where}.role': {first['msg']}", ROLE_HINT) from None
        raise ProfileError(f"profile: '{where}': {first['msg']}", "see: audit-lab profile show") from None


def restored_profile(values: dict[str, Any]) -> Profile:
    """Return a profile from all its values, as a lab keeps them: limits in money that stand at their defaults count as not asked for."""
    judge = dict(values.get("judge") or {})
    parts: list[tuple[dict[str, Any], type[BaseModel]]] = [(judge, JudgeSettings)]
    if judge.get("challenger"):
        judge["challenger"] = dict(judge["challenger"])
        parts.append((judge["challenger"], ChallengerSettings))
    for part, section in parts:
        for name in ("max_usd", "max_usd_per_day"):
            if part.get(name) == section.model_fields[name].default:
                part.pop(name, None)
    return Profile.model_validate({**values, "judge": judge})


def _template(source: str | Path | None) -> dict[str, Any]:
    name = str(source or "default")
    if name in TEMPLATES:
        return TEMPLATES[name]
    path = Path(name)
    if not path.is_file():
        raise ProfileError(f"no profile '{name}'", f"give a TOML file or one of: {', '.join(TEMPLATES)}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"profile '{path}' is not TOML: {error}", "see docs/profile.md") from None
    base = values.pop("base", "default")
    if base not in TEMPLATES:
        raise ProfileError(f"profile '{path}': no base '{base}'", f"one of: {', '.join(TEMPLATES)}")
    return _merge(TEMPLATES[base], {"name": path.stem, **values})


def _from_environment(environ: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, text in environ.items():
        parts = key.lower().removeprefix("audit_lab_").split("__")
        if not key.startswith("AUDIT_LAB_") or len(parts) != 2 or parts[0] not in Profile.model_fields:
            continue
        values.setdefault(parts[0], {})[parts[1]] = text
    return values


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        merged[key] = _merge(merged[key], value) if isinstance(value, dict) and isinstance(merged.get(key), dict) else value
    return merged


def _near(where: str) -> str:
    import difflib  # noqa: PLC0415 - only when something went wrong

    known = [f"{section}.{key}" for section, field in Profile.model_fields.items()
             for key in getattr(field.annotation, "model_fields", {})] + list(Profile.model_fields)
    close = difflib.get_close_matches(where, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'? see: audit-lab profile show" if close else "see: audit-lab profile show"
