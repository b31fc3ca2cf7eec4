"""How many, in words: '1 case', '2 cases'."""

from __future__ import annotations


def counted(n: int, thing: str) -> str:
    """Return a number with what it counts, in the singular for exactly one; `thing` is the singular, its last word is bent.

    >>> counted(1, "case"), counted(0, "new answer"), counted(1200, "identity"), counted(2, "day")
    ('1 case', '0 new answers', '1,200 identities', '2 days')
    """
    if n == 1:
        return f"1 {thing}"
    if thing.endswith("y") and thing[-2:-1] not in "aeiou":
        return f"{n:,} {thing[:-1]}ies"
    return f"{n:,} {thing}s"
