"""The desk in JupyterLab: a widget that shows what the desk holds and passes on what was pressed.

All state is the desk's, in the kernel. The page gets the case on the desk and the list of the queue, and sends one message per act; what
it shows is set as text only. Originals travel when they are asked for, masked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audit_lab.errors import AuditLabError, MissingExtraError
from audit_lab.palette import variables
from audit_lab.review.desk import Desk

try:
    import anywidget
    import traitlets
except ImportError:
    raise MissingExtraError.for_extra("review widgets", "notebook") from None

_HERE = Path(__file__).parent
# JupyterLab says on its body whether its theme is light; elsewhere the reader's own scheme is not known to a cell: light.
_STYLE = (
    f".audit-review{{{variables(0)}}}"
    f'body[data-jp-theme-light="false"] .audit-review{{{variables(1)}}}'
)
ACTS = ("label", "undo", "skip", "go", "originals")


class ReviewWidget(anywidget.AnyWidget):
    """A desk as a notebook widget: keyboard only, if one likes.

    Parameters
    ----------
    desk
        What `lab.desk(author)` returns. Labels are kept by it at once, so closing the notebook loses nothing.

    Examples
    --------
    >>> lab.review_widget("kim")        # doctest: +SKIP
    """

    _esm = _HERE / "widget.js"
    _css = _STYLE + (_HERE / "widget.css").read_text(encoding="utf-8")
    items: traitlets.List[Any] = traitlets.List().tag(sync=True)
    marks = traitlets.Dict().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    originals = traitlets.Dict().tag(sync=True)
    notice = traitlets.Dict().tag(sync=True)
    done = traitlets.Int(0).tag(sync=True)

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        super().__init__(items=_rows(desk), marks=_marks(desk), view=desk.view(), originals={}, notice={})
        self.on_msg(self._act)

    def close(self) -> None:
        """Take the widget off the page; what lies on the desk is free for others."""
        self.desk.close()
        super().close()

    def _act(self, _widget: Any, message: dict[str, Any], _buffers: Any = None) -> None:
        """Do what the page asks for; what goes wrong is shown there in one line."""
        try:
            notice = {"text": self._do(message), "error": False}
        except AuditLabError as error:
            notice = {"text": str(error), "error": True}
        except (TypeError, ValueError, KeyError) as error:
            notice = {"text": f"the page sent something unknown: {type(error).__name__}", "error": True}
        with self.hold_sync():
            self.notice, self.marks, self.view = notice, _marks(self.desk), self.desk.view()
        # Last, and by itself: it tells the page that everything of this act has arrived.
        self.done = int(message.get("seq") or self.done + 1)

    def _do(self, message: dict[str, Any]) -> str:
        act = message.get("do")
        if act == "label":
            checks = [int(at) for at in message.get("checks") or []]
            said = self.desk.label(str(message["verdict"]), str(message.get("reason") or ""), checks)
            return f"kept: {said['target_id']} is {said['verdict']}"
        if act == "undo":
            case_id = self.desk.undo()
            return "nothing to undo in this sitting" if case_id is None else f"taken back: {case_id}"
        if act == "skip":
            self.desk.skip()
        elif act == "go":
            self.desk.go(str(message["case_id"]))
        elif act == "originals":
            self.originals = {"case_id": self.desk.current, "records": self.desk.originals()}
        else:
            raise ValueError(act)
        return ""


def _rows(desk: Desk) -> list[dict[str, Any]]:
    """What the list of the queue needs of each case: a thousand rows are one small message."""
    return [
        {**{name: item[name] for name in ("place", "case_id", "priority", "score", "is_blind")},
         "label": ", ".join(actor or "(no user)" for actor in item["actors"])}
        for item in desk.items()
    ]


def _marks(desk: Desk) -> dict[str, str]:
    said = ((item["case_id"], item["verdict"] or ("skipped" if item["is_skipped"] else "")) for item in desk.items())
    return {case_id: mark for case_id, mark in said if mark}
