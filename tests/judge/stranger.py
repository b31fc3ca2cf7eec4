"""Runs the texts of a stranger (`stranger_text.py`) through the recogniser of hostile text.

`python -m tests.judge.stranger` prints, by kind and by field, how many attempts are recognised, and every ordinary text that is flagged.
"""

from __future__ import annotations

from collections.abc import Callable

from audit_lab.evaluate import exact
from audit_lab.hostile import hostile_text
from tests.judge.stranger_text import ATTEMPTS, ORDINARY

# An attempt's text is asked about once for each field it fits, an ordinary one in its own field.
Row = tuple[str, str, str, bool]


def recognised(text: str, field: str) -> bool:
    """Say whether the recogniser takes a text of a field for an attempt: the one line to change."""
    return bool(hostile_text(text))


def measure(recognise: Callable[[str, str], bool] = recognised) -> tuple[list[Row], list[Row]]:
    """Return (kind, field, text, recognised) of all attempts, and the same of ordinary texts, whose kind is their field."""
    attempts = [(kind, field, text, recognise(text, field)) for kind, fields, text in ATTEMPTS for field in fields]
    return attempts, [(field, field, text, recognise(text, field)) for field, text in ORDINARY]


def _print_rates(title: str, rows: list[Row], column: int) -> None:
    print(f"\n{title}")
    for name in [*dict.fromkeys(row[column] for row in rows), None]:
        of = [row for row in rows if name is None or row[column] == name]
        rate = exact(sum(row[3] for row in of), len(of))
        print(f"  {name or 'all':<16}{sum(row[3] for row in of):>4} of {len(of):>3}  {rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})")


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
            print(f"  {field}: {ascii(text)[:160]}")
    print("\nAttempts that are missed")
    for kind, field, text, is_recognised in meant:
        if not is_recognised:
            print(f"  {kind}, {field}: {ascii(text)[:160]}")


if __name__ == "__main__":
    main()
