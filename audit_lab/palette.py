"""The colours of report and charts: one table, light and dark side by side.

Charts are drawn in the light colours; `dark_rules` makes the style rules that swap each for its dark partner,
so a picture follows the reader's colour scheme. Contrast of text on its ground is at least 4.5:1 in both (a test).
"""

from __future__ import annotations

PALETTE: dict[str, tuple[str, str]] = {
    # name: (light, dark)
    "ground": ("#fcfcfb", "#14171a"),
    "panel": ("#ffffff", "#1b1f23"),
    "sunken": ("#f3f4f4", "#22272c"),
    "line": ("#dcdfe2", "#343b42"),
    "ink": ("#1a2026", "#e4e8eb"),
    "muted": ("#59636e", "#9aa5b0"),
    "accent": ("#0b6478", "#5cc3d8"),
    "accent-soft": ("#dcecf0", "#173840"),
    "malicious": ("#b3261e", "#ff8f85"),
    "malicious-soft": ("#f9dedb", "#4b211e"),
    "lookalike": ("#8a5a00", "#e6b455"),
    "lookalike-soft": ("#f7e8c6", "#42341a"),
    "fine": ("#23713a", "#7bcf92"),
    "fine-soft": ("#dcf0e1", "#1d3a27"),
    "quiet": ("#a9b1b9", "#5d6871"),
    "second": ("#7a4fa3", "#c5a3ea"),
}

LIGHT = {name: pair[0] for name, pair in PALETTE.items()}


def variables(scheme: int) -> str:
    """Return the palette as CSS custom properties; `scheme` 0 is light, 1 dark."""
    return "".join(f"--{name}:{pair[scheme]};" for name, pair in PALETTE.items())


def chart_rules() -> str:
    """Return style rules that paint every palette colour of a chart with the page's variable of that name."""
    rules = []
    for name, (light, _) in PALETTE.items():
        rules.append(f'.chart [fill="{light}"]{{fill:var(--{name})}}.chart [stroke="{light}"]{{stroke:var(--{name})}}')
    return "".join(rules)


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours, 1–21 (WCAG 2.2, relative luminance).

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    bright, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
