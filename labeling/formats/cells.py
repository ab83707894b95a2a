"""Cells of tables, CSV and XLSX alike: columns, labels, formulas made harmless."""

import re
from collections.abc import Sequence

from django.utils.translation import gettext as _

from labeling.formats.rows import BadLine, Row, Unreadable

HEADER = ("text", "label")

_TEXT_COLUMNS = ("text", "user_input")
_LABEL_COLUMNS = ("label", "labels", "intent_code")

# What a spreadsheet takes for the start of a formula, full-width and small forms too.
# Source: OWASP, "CSV Injection". Apostrophes before such a mark match as well: an
# export adds one and an import takes one away, so that any text survives.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠﹦﹢﹣﹫]")
_UNDO_FORMULA = re.compile("'" + _FORMULA.pattern)

# Several labels share a cell: a|b. A backslash keeps a bar inside a label.
_LABEL = re.compile(r"((?:\\[|\\]|[^|])*)(?:\||$)")
_ESCAPED = re.compile(r"\\([|\\])")
_TO_ESCAPE = re.compile(r"[|\\]")


class Columns:
    """Where a table's first line says that the texts and labels stand."""

    def __init__(self, header: Sequence[str]) -> None:
        """
        Raises:
            Unreadable: The line names no column of texts.
        """
        names = [cell.strip().lower() for cell in header]
        self._count = len(names)
        self._text_at = _first(names, _TEXT_COLUMNS)
        self._label_at = _first(names, _LABEL_COLUMNS)
        if self._text_at is None:
            raise Unreadable(
                _(
                    "The first line must name the columns: "
                    "text,label or user_input,intent_code."
                )
            )

    def row(self, number: int, cells: Sequence[str]) -> Row | BadLine:
        """A line's cells as a question."""
        assert self._text_at is not None
        if len(cells) > self._count and any(cells[self._count :]):
            return BadLine(
                number,
                _("%(cells)s cells, but the first line names %(columns)s columns")
                % {"cells": len(cells), "columns": self._count},
            )
        if len(cells) <= self._text_at:
            return BadLine(number, _("no text"))
        label = ""
        if self._label_at is not None and self._label_at < len(cells):
            label = cells[self._label_at]
        return Row(number, _rearm(cells[self._text_at]), _split_labels(_rearm(label)))


def written(text: str, labels: Sequence[str] | None) -> tuple[str, str]:
    """The two cells of a question, as `Columns.row` reads them back."""
    if labels is None:
        return _disarm(text), ""
    cell = "|".join(_TO_ESCAPE.sub(r"\\\g<0>", x) for x in labels) or "|"
    return _disarm(text), _disarm(cell)


def _first(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((i for i, name in enumerate(names) if name in wanted), None)


def _split_labels(cell: str) -> tuple[str, ...] | None:
    if not cell or cell.isspace():
        return None
    if "|" not in cell and "\\" not in cell:
        return (cell.strip(),)
    labels = (_ESCAPED.sub(r"\1", label).strip() for label in _LABEL.findall(cell))
    return tuple(label for label in labels if label)


def _disarm(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _rearm(cell: str) -> str:
    return cell[1:] if _UNDO_FORMULA.match(cell) else cell
