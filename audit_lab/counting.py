"""How many, in words: '1 case', '2 cases'."""

from __future__ import annotations


def counted(n: int, thing: str) -> str:
    """Return a number with what it counts, in the singular for exactly one; `thing` is the singular, its last word is bent.

    >>> counted(1, "case"), counted(0, "new answer"), counted(1200, "identity"), counted(2, "ingress")
    ('1 case', '0 new answers', '1,200 identities', '2 ingresses')
    """
    if n == 1:
        return f"1 {thing}"
    return f"{n:,} {thing[:-1] + 'ies' if thing.endswith('y') else thing + ('es' if thing.endswith('s') else 's')}"
