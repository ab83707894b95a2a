"""JSONL: a JSON object a line."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.utils.translation import gettext as _

from labeling.formats.lines import Line
from labeling.formats.rows import BadLine, Row


def read(lines: Iterable[Line | BadLine]) -> Iterator[Row | BadLine]:
    """Rows of a JSONL file's lines."""
    for line in lines:
        if isinstance(line, BadLine):
            yield line
            continue
        number, content = line
        if not content.strip():
            continue
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            yield BadLine(number, _("not JSON"))
        else:
            yield _row(number, value)


def _row(number: int, value: Any) -> Row | BadLine:
    if not isinstance(value, dict):
        return BadLine(number, _("not a JSON object"))
    text = value.get("text")
    if not isinstance(text, str):
        reason = _("no text") if text is None else _("the text is not a string")
        return BadLine(number, reason)
    label, labels = value.get("label"), value.get("labels")
    if label is not None and labels is not None:
        return BadLine(number, _("both “label” and “labels”"))
    if labels is not None:
        if not isinstance(labels, list) or not all(isinstance(x, str) for x in labels):
            return BadLine(number, _("“labels” is not a list of strings"))
        return Row(number, text, tuple(x.strip() for x in labels))
    if label is None:
        return Row(number, text)
    if not isinstance(label, str):
        return BadLine(number, _("the label is not a string"))
    label = label.strip()
    return Row(number, text, (label,) if label else None)


def write(
    rows: Iterable[tuple[str, Sequence[str] | None]], *, many: bool
) -> Iterator[str]:
    """A JSONL file, a line a row."""
    for text, labels in rows:
        value: dict[str, Any] = {"text": text}
        if labels is not None and (many or len(labels) != 1):
            value["labels"] = list(labels)
        elif labels is not None:
            value["label"] = labels[0]
        yield json.dumps(value, ensure_ascii=False) + "\n"
