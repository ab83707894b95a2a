"""Files of questions: JSONL and CSV, read and written a row at a time."""

import csv
import io
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from django.utils.translation import gettext as _

KINDS = ("jsonl", "csv")
ENCODINGS = ("utf-8", "gb18030")

MAX_LINE_BYTES = 256 * 1024
"""A longer line is skipped unread, so that a file without line ends fills no memory."""

_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv"}
_TEXT_COLUMNS = ("text", "user_input")
_LABEL_COLUMNS = ("label", "labels", "intent_code")
_MAX_RECORD_LINES = 200  # more lines in one CSV record: a quote was never closed

# What a spreadsheet takes for the start of a formula, full-width and small forms too.
# Source: OWASP, "CSV Injection". Apostrophes before such a mark match as well: an
# export adds one and an import takes one away, so that any text survives.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠﹦﹢﹣﹫]")
_UNDO_FORMULA = re.compile("'" + _FORMULA.pattern)

# Several labels share a CSV cell: a|b. A backslash keeps a bar inside a label.
_LABEL = re.compile(r"((?:\\[|\\]|[^|])*)(?:\||$)")
_ESCAPED = re.compile(r"\\([|\\])")
_TO_ESCAPE = re.compile(r"[|\\]")


class Unreadable(ValueError):
    """The file as a whole can't be read; the message says why and what to do."""


class Row(NamedTuple):
    """One question of a file."""

    line: int
    text: str
    labels: tuple[str, ...] | None = None
    """Intent codes; None: not labelled; empty: labelled with none of the intents."""


class BadLine(NamedTuple):
    """A line that is skipped, and why."""

    line: int
    reason: str


def kind_of(name: str) -> str:
    """The format that a file's name promises.

    Raises:
        Unreadable: The name's ending is none of those known.
    """
    kind = _SUFFIXES.get(Path(name).suffix.lower())
    if kind is None:
        raise Unreadable(
            _("%(name)s: name the format, jsonl or csv; the file's name does not say.")
            % {"name": name}
        )
    return kind


def read(
    file: IO[bytes], *, kind: str, encoding: str = "utf-8"
) -> Iterator[Row | BadLine]:
    """Reads a file a row at a time, in constant memory.

    JSONL: an object a line, `{"text": …}` with an optional `"label": "code"` or
    `"labels": ["code", …]`. CSV: a first line that names the columns, `text,label` or
    `user_input,intent_code`; several labels in one cell are separated by `|`, a lone
    `|` is a label of no intent, an empty cell no label. Empty lines are passed over.

    Args:
        file: Opened for reading bytes.
        kind: One of `KINDS`.
        encoding: One of `ENCODINGS`; a byte order mark is allowed.

    Yields:
        A row or a bad line for each line, in the file's order. Texts are as they stand
        in the file; what may be a question is `intake`'s to say.

    Raises:
        Unreadable: The file is no text, or a CSV without the columns' names.
    """
    lines = _lines(file, encoding)
    return _read_csv(lines) if kind == "csv" else _read_jsonl(lines)


def write(
    rows: Iterable[tuple[str, Sequence[str] | None]], *, kind: str, many: bool
) -> Iterator[str]:
    """Writes rows so that `read` gives the same back, a piece of text a row.

    CSV cells that a spreadsheet would run as formulas get an apostrophe in front, which
    `read` takes away again.

    Args:
        rows: Text and intent codes, None for a question that is not labelled.
        kind: One of `KINDS`.
        many: Whether a question may have several intents.
    """
    if kind == "csv":
        return _write_csv(rows)
    return _write_jsonl(rows, many=many)


# --- Lines ------------------------------------------------------------------------


def _lines(file: IO[bytes], encoding: str) -> Iterator[tuple[int, str] | BadLine]:
    """Decodes line by line: one wrong byte costs one line, not the file."""
    number = 0
    while raw := file.readline(MAX_LINE_BYTES):
        number += 1
        if number == 1:
            raw = _without_mark(raw, encoding)
        if len(raw) >= MAX_LINE_BYTES and not raw.endswith(b"\n"):
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE_BYTES)
            yield BadLine(
                number,
                _("the line is too long, over %(n)s bytes") % {"n": MAX_LINE_BYTES},
            )
            continue
        try:
            yield number, raw.decode(encoding)
        except UnicodeDecodeError as error:
            yield BadLine(number, _not_decodable(error, encoding))


def _without_mark(raw: bytes, encoding: str) -> bytes:
    """The first line without its byte order mark; refuses what is no text at all."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable(_("The file is UTF-16; save it as UTF-8."))
    if raw.startswith(b"PK\x03\x04"):
        raise Unreadable(
            _("The file is a spreadsheet or an archive; save it as CSV or JSONL.")
        )
    if raw.startswith(b"\xef\xbb\xbf"):
        if encoding != "utf-8":
            raise Unreadable(
                _("The file says that it is UTF-8, not %(encoding)s.")
                % {"encoding": encoding}
            )
        return raw[3:]
    return raw.removeprefix("\ufeff".encode(encoding))


def _not_decodable(error: UnicodeDecodeError, encoding: str) -> str:
    values = {"encoding": encoding.upper(), "byte": error.start + 1}
    if encoding == "utf-8":
        return (
            _(
                "not %(encoding)s (byte %(byte)s of the line); "
                "if the file is GB18030, say so: --encoding gb18030"
            )
            % values
        )
    return _("not %(encoding)s (byte %(byte)s of the line)") % values


# --- JSONL ------------------------------------------------------------------------


def _read_jsonl(lines: Iterable[tuple[int, str] | BadLine]) -> Iterator[Row | BadLine]:
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


def _write_jsonl(
    rows: Iterable[tuple[str, Sequence[str] | None]], *, many: bool
) -> Iterator[str]:
    for text, labels in rows:
        value: dict[str, Any] = {"text": text}
        if labels is not None and (many or len(labels) != 1):
            value["labels"] = list(labels)
        elif labels is not None:
            value["label"] = labels[0]
        yield json.dumps(value, ensure_ascii=False) + "\n"


# --- CSV --------------------------------------------------------------------------


class _Feed:
    """Hands lines to `csv.reader` and can take those of a broken record back."""

    def __init__(self, lines: Iterator[tuple[int, str] | BadLine]) -> None:
        self._lines = lines
        self._back: deque[tuple[int, str] | BadLine] = deque()
        self.taken: list[tuple[int, str]] = []
        """Lines of the record that is being read."""
        self.bad: BadLine | None = None
        """An undecodable line, met where a record would have begun."""

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._lines)
        if isinstance(line, BadLine):
            if not self.taken:
                self.bad = line
            else:
                self._back.appendleft(line)
            raise csv.Error("undecodable line")
        if len(self.taken) >= _MAX_RECORD_LINES:
            self._back.appendleft(line)
            raise csv.Error("record too long")
        self.taken.append(line)
        return line[1]

    def give_back(self) -> None:
        """Puts all but the first line of the record back, to be read anew."""
        self._back.extendleft(reversed(self.taken[1:]))


def _records(
    lines: Iterator[tuple[int, str] | BadLine],
) -> Iterator[tuple[int, list[str]] | BadLine]:
    """CSV records with the number of their first line.

    A quote that is never closed would swallow the lines after it. Only the line that
    opens it is bad; the others are read again as records of their own.
    """
    feed = _Feed(lines)
    reader = csv.reader(feed, strict=True)
    while True:
        feed.taken.clear()
        feed.bad = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if feed.bad is not None:
                yield feed.bad
                continue
            feed.give_back()
            number, content = feed.taken[0]
            if len(feed.taken) > 1 or "unexpected end" in str(error):
                yield BadLine(number, _("a quote is opened and not closed rightly"))
            elif "field limit" in str(error):
                yield BadLine(
                    number,
                    _("a cell is too long: %(n)s characters") % {"n": len(content)},
                )
            else:
                yield BadLine(number, _("not CSV: %(error)s") % {"error": error})
        else:
            if any(cell.strip() for cell in cells):
                yield feed.taken[0][0], cells


def _read_csv(lines: Iterator[tuple[int, str] | BadLine]) -> Iterator[Row | BadLine]:
    records = _records(lines)
    header = next(records, None)
    if header is None:
        return
    if isinstance(header, BadLine):
        raise Unreadable(_("Line %(line)s: %(reason)s.") % header._asdict())
    names = [cell.strip().lower() for cell in header[1]]
    text_at = next((i for i, name in enumerate(names) if name in _TEXT_COLUMNS), None)
    label_at = next((i for i, name in enumerate(names) if name in _LABEL_COLUMNS), None)
    if text_at is None:
        raise Unreadable(
            _(
                "The first line must name the columns: "
                "text,label or user_input,intent_code."
            )
        )
    for record in records:
        if isinstance(record, BadLine):
            yield record
            continue
        number, cells = record
        if len(cells) > len(names) and any(cells[len(names) :]):
            yield BadLine(
                number,
                _("%(cells)s cells, but the first line names %(columns)s columns")
                % {"cells": len(cells), "columns": len(names)},
            )
        elif len(cells) <= text_at:
            yield BadLine(number, _("no text"))
        else:
            label = ""
            if label_at is not None and label_at < len(cells):
                label = cells[label_at]
            yield Row(number, _rearm(cells[text_at]), _split_labels(_rearm(label)))


def _split_labels(cell: str) -> tuple[str, ...] | None:
    if not cell or cell.isspace():
        return None
    if "|" not in cell and "\\" not in cell:
        return (cell.strip(),)
    labels = (_ESCAPED.sub(r"\1", label).strip() for label in _LABEL.findall(cell))
    return tuple(label for label in labels if label)


def _write_csv(
    rows: Iterable[tuple[str, Sequence[str] | None]],
) -> Iterator[str]:
    buffer = io.StringIO()
    # All cells quoted: where semicolons separate cells, one stays one cell.
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    yield "text,label\n"
    for text, labels in rows:
        if labels is None:
            cell = ""
        else:
            cell = "|".join(_TO_ESCAPE.sub(r"\\\g<0>", x) for x in labels) or "|"
        writer.writerow((_disarm(text), _disarm(cell)))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _disarm(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _rearm(cell: str) -> str:
    return cell[1:] if _UNDO_FORMULA.match(cell) else cell
