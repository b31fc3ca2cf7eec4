"""Write the generated pages of docs/: `python tools/make_docs.py` (a test fails when they are stale)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from audit_lab.profile import Profile
from audit_lab.sessions import FEATURES
from audit_lab.signals.coverage import coverage_markdown
from audit_lab.signals.rulebook import load_rules
from audit_lab.tables import TABLES

DOCS = Path(__file__).parent.parent / "docs"


def tables_page() -> str:
    """Return docs/tables.md: every table and column of the contract."""
    parts = ["# Tables\n\nGenerated from `audit_lab/tables.py` by `tools/make_docs.py`; do not edit.\n"]
    for name, table in TABLES.items():
        parts.append(f"\n## {name}\nOne row per {table.grain}. Key: {', '.join(f'`{column}`' for column in table.key)}.\n\n")
        parts.append("| column | dtype | null | meaning |\n|---|---|---|---|\n")
        for column, spec in table.columns.items():
            dtype = str(spec.dtype).replace("|", "\\|")
            dtype = dtype if len(dtype) < 60 else dtype.split("(", 1)[0] + "(…)"
            parts.append(f"| `{column}` | {dtype} | {'yes' if spec.nullable else 'no'} | {spec.meaning.replace('|', chr(92) + '|')} |\n")
    return "".join(parts)


def profile_page() -> str:
    """Return docs/profile.md: every setting with its default and reason."""
    parts = [
        "# Profile: every setting\n\nGenerated from `audit_lab/profile.py` by `tools/make_docs.py`; do not edit.\n\n",
        "A profile is a built-in template (`default`, `sample`) or a TOML file that starts from one:\n\n",
        '    base = "default"\n    [sessions]\n    gap_s = 120\n\n',
        "`AUDIT_LAB_SESSIONS__GAP_S=120` in the environment wins over both. `audit-lab profile check FILE` says whether it is fine.\n",
    ]
    for name, field in Profile.model_fields.items():
        section = getattr(field.annotation, "model_fields", None)
        if section is None:
            continue
        parts.append(f"\n## [{name}]\n{(field.annotation.__doc__ or '').strip()}\n\n| setting | default | meaning |\n|---|---|---|\n")
        parts += _settings(section)
        for key, setting in section.items():
            for inner in get_args(setting.annotation):
                if hasattr(inner, "model_fields"):
                    about = (inner.__doc__ or "").strip()
                    parts.append(f"\n### [{name}.{key}]\n{about}\n\n| setting | default | meaning |\n|---|---|---|\n")
                    parts += _settings(inner.model_fields)
    return "".join(parts)


def _settings(fields: Mapping[str, FieldInfo]) -> list[str]:
    return [
        f"| `{key}` | `{setting.get_default(call_default_factory=True)!r}` | {setting.description or ''} |\n"
        for key, setting in fields.items()
    ]


def features_page() -> str:
    """Return docs/features.md: every column of `session_features`."""
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in FEATURES.items())
    return (
        "# Session features\n\nGenerated from `audit_lab/sessions/wide.py` by `tools/make_docs.py`; do not edit.\n\n"
        "`audit_lab.sessions.session_features(events, session_events, sessions)` gives one wide row per session for detectors of your own. "
        "Whatever compares looks only at time before the session's start; null means that too little is known. Bits are minus the binary "
        "logarithm of a share: 10 bits are odds of a thousand to one.\n\n| feature | meaning |\n|---|---|\n" + rows
    )


def rules_page() -> str:
    """Return docs/rules.md with a fresh coverage matrix; the rest of the page is written by hand."""
    head, begun, rest = (DOCS / "rules.md").read_text(encoding="utf-8").partition("<!-- coverage -->\n")
    return head + begun + coverage_markdown(load_rules()) + rest[rest.index("<!-- /coverage -->"):]


PAGES = {"tables.md": tables_page, "profile.md": profile_page, "features.md": features_page, "rules.md": rules_page}

if __name__ == "__main__":
    for file, make in PAGES.items():
        (DOCS / file).write_text(make(), encoding="utf-8")
