"""Runs the texts of a stranger (`stranger_text.py`) through the recogniser of hostile text.

`python -m tests.judge.stranger` prints, by kind and by field, how many attempts are recognised, and every ordinary text that is flagged.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from audit_lab.evaluate import exact
from audit_lab.hostile import look_at
from tests.judge.stranger_text import ATTEMPTS, ORDINARY

# An attempt's text is asked about once for each field it fits, an ordinary one in its own field.
Row = tuple[str, str, str, str]


# The stranger's kinds of field, and the fields that reading looks at; a label is a key and a value, a manager stands in the address.
FIELDS = {
    "annotation": "body", "env": "body", "command": "commands", "status": "status_reason", "group": "user_groups", "image": "images",
    "audience": "token_audiences", "webhook": "webhook_urls", "manager": "uri", "label": "labels",
}


def recognised(text: str, field: str) -> str:
    """Return what the recogniser says of a text of a field: 'hostile_text', 'odd_text' or ''."""
    values = [f"/api/v1/pods?fieldManager={quote(text)}"] if field == "manager" else text.split("=", 1) if field == "label" else [text]
    return max((look_at(FIELDS.get(field, field), value) for value in values), key=("", "odd_text", "hostile_text").index)


def measure(recognise: Callable[[str, str], str] = recognised) -> tuple[list[Row], list[Row]]:
    """Return (kind, field, text, recognised) of all attempts, and the same of ordinary texts, whose kind is their field."""
    attempts = [(kind, field, text, recognise(text, field)) for kind, fields, text in ATTEMPTS for field in fields]
    return attempts, [(field, field, text, recognise(text, field)) for field, text in ORDINARY]


def _print_rates(title: str, rows: list[Row], column: int) -> None:
    print(f"\n{title}")
    for name in [*dict.fromkeys(row[column] for row in rows), None]:
        of = [row for row in rows if name is None or row[column] == name]
        rate, odd = exact(sum(bool(row[3]) for row in of), len(of)), sum(row[3] == "odd_text" for row in of)
        print(f"  {name or 'all':<16}{sum(bool(row[3]) for row in of):>4} of {len(of):>3}, {odd:>3} of them for their form  "
              f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})")


def main() -> None:
    """Print rates with exact 95 % intervals, the ordinary texts that are flagged, and the attempts that are missed."""
    attempts, ordinary = measure()
    meant = [row for row in attempts if row[0] != "ambiguous"]
    once = {row[2]: row for row in meant} | {row[2]: row for row in meant if not row[3]}
    _print_rates("Attempts recognised, by kind (each text once: in every field that it fits)", list(once.values()), 0)
    _print_rates("Attempts recognised, by field that they fit", meant, 1)
    _print_rates("Ambiguous texts recognised, by field", [row for row in attempts if row[0] == "ambiguous"], 1)
    _print_rates("Ordinary texts flagged, by field", ordinary, 1)
    print("\nOrdinary texts that are flagged")
    for _, field, text, is_flagged in ordinary:
        if is_flagged:
            print(f"  {field}, {is_flagged}: {ascii(text)[:160]}")
    print("\nAttempts that are missed")
    for kind, field, text, is_recognised in meant:
        if not is_recognised:
            print(f"  {kind}, {field}: {ascii(text)[:160]}")


if __name__ == "__main__":
    main()
