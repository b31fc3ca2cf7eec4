"""Write the generated pages of docs/: `python tools/make_docs.py` (a test fails when they are stale)."""

from __future__ import annotations

from pathlib import Path

from audit_lab.profile import Profile
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
        for key, setting in section.items():
            default = setting.get_default(call_default_factory=True)
            parts.append(f"| `{key}` | `{default!r}` | {setting.description or ''} |\n")
    return "".join(parts)


def rules_page() -> str:
    """Return docs/rules.md with a fresh coverage matrix; the rest of the page is written by hand."""
    head, begun, rest = (DOCS / "rules.md").read_text(encoding="utf-8").partition("<!-- coverage -->\n")
    return head + begun + coverage_markdown(load_rules()) + rest[rest.index("<!-- /coverage -->"):]


PAGES = {"tables.md": tables_page, "profile.md": profile_page, "rules.md": rules_page}

if __name__ == "__main__":
    for file, make in PAGES.items():
        (DOCS / file).write_text(make(), encoding="utf-8")
