"""Vega-Lite pictures as inline SVG: offline, the same bytes every time, and nothing in them but shapes and text.

Colours are written as the light palette; the page's style sheet turns each of them into the dark one, so a
chart follows the reader's colour scheme without a script.
"""

from __future__ import annotations

import re
from typing import Any

import vl_convert
from markupsafe import Markup

from audit_lab.errors import ContractError
from audit_lab.visible import clean

VEGA_LITE = "6.1"
# What the converter may write. Anything else (script, foreignObject, image, a, use …) is refused.
ELEMENTS = frozenset({"svg", "g", "path", "rect", "line", "circle", "text", "tspan", "defs", "clipPath", "title"})
_TAG = re.compile(r"<\s*/?\s*([^\s/>]+)([^>]*)")
_HANDLER = re.compile(r"\s(on\w+|href|xlink:href|src|style)\s*=", re.IGNORECASE)
_CLIP_ID = re.compile(r'(\sid="|="url\(#)((?:clip|gradient)\w*)')
_HEAD = re.compile(r"^<svg [^>]*>")


def picture_svg(spec: dict[str, Any], name: str) -> Markup:
    """Return a picture as an `<svg>` element for HTML.

    Parameters
    ----------
    spec
        Vega-Lite specification with its data inside; a data URL is refused (no network).
    name
        Unique within the page; keeps the ids of two charts apart.

    Raises
    ------
    ContractError
        When the picture holds anything but shapes and text.
    """
    text = vl_convert.vegalite_to_svg(clean(spec), vl_version=VEGA_LITE, allowed_base_urls=[])
    text = _renumber(text, name)
    check_svg(text)
    head = _HEAD.match(text)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head.group(0)) if head else None
    if head is None or size is None:
        raise ContractError(f"chart '{name}': the converter gave no SVG")
    width, height = (round(float(size.group(part))) for part in (1, 2))
    start = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" aria-hidden="true">'
    return Markup(start + text[head.end() :])  # noqa: S704 - checked by check_svg, its text escaped by the converter


def check_svg(text: str) -> None:
    """Refuse a picture that holds more than shapes and text.

    >>> check_svg("<svg><text>&lt;script&gt;</text></svg>")
    >>> check_svg("<svg><script>1</script></svg>")
    Traceback (most recent call last):
    audit_lab.errors.ContractError: a chart holds the element 'script' (hint: charts may hold shapes and text only)
    """
    for element, attributes in _TAG.findall(text):
        if element not in ELEMENTS:
            raise ContractError(f"a chart holds the element '{element}'", "charts may hold shapes and text only")
        if _HANDLER.search(attributes):
            raise ContractError(f"a chart's element '{element}' holds a link, style or handler", "charts may hold shapes and text only")


def _renumber(text: str, name: str) -> str:
    # The converter numbers its clip paths through the life of the process: give each chart its own, from 1.
    numbers: dict[str, int] = {}

    def replace(match: re.Match[str]) -> str:
        number = numbers.setdefault(match.group(2), len(numbers) + 1)
        return f"{match.group(1)}{name}-clip{number}"

    return _CLIP_ID.sub(replace, text)
