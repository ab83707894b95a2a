"""Files of questions, read and written a row at a time, in constant memory."""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from django.utils.translation import gettext as _

from labeling.formats import jsonl, label_studio, rasa, spreadsheets, tables
from labeling.formats.lines import MAX_LINE_BYTES, read_lines
from labeling.formats.rows import BadLine, Row, Unreadable, Unwritable

__all__ = [
    "ENCODINGS",
    "KINDS",
    "MAX_LINE_BYTES",
    "NAMES",
    "SUFFIXES",
    "WRITTEN",
    "BadLine",
    "Row",
    "Unreadable",
    "Unwritable",
    "guess",
    "kind_of",
    "read",
    "save",
    "write",
]

KINDS = ("jsonl", "csv", "xlsx", "rasa", "label_studio")
"""What can be read."""

WRITTEN = ("jsonl", "csv", "xlsx", "rasa")
"""What can be written."""

NAMES = {
    "jsonl": "JSONL",
    "csv": "CSV",
    "xlsx": "XLSX",
    "rasa": "Rasa NLU YAML",
    "label_studio": "Label Studio JSON",
}

ENCODINGS = ("utf-8", "gb18030")

SUFFIXES = {"jsonl": ".jsonl", "csv": ".csv", "xlsx": ".xlsx", "rasa": ".yml"}
"""Of the files that are written."""

Rows = Iterable[tuple[str, Sequence[str] | None]]
"""Text and intent codes; None for a question that is not labelled."""

_KIND_OF_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".xlsx": "xlsx",
    ".yml": "rasa",
    ".yaml": "rasa",
}
_SNIFFED_BYTES = 4096
_YAML = re.compile(rb"^(?:version|nlu)\s*:", re.MULTILINE)
_CSV = re.compile(rb"\A[^\n]*\b(?:text|user_input)\b[^\n]*", re.IGNORECASE)


def kind_of(name: str) -> str:
    """The format that a file's name promises.

    Raises:
        Unreadable: The name's ending is none of those known.
    """
    kind = _KIND_OF_SUFFIX.get(Path(name).suffix.lower())
    if kind is None:
        raise Unreadable(
            _("%(name)s: name the format (%(kinds)s); the file's name does not say.")
            % {"name": name, "kinds": ", ".join(KINDS)}
        )
    return kind


def guess(name: str, file: IO[bytes]) -> str:
    """The format of a file by what it holds, and by its name where that is not clear.

    Reads the file's first bytes and goes back to its start.

    Raises:
        Unreadable: Neither says it; the message names the formats.
    """
    head = file.read(_SNIFFED_BYTES).removeprefix(codecs.BOM_UTF8)
    file.seek(0)
    start = head.lstrip()
    suffix = Path(name).suffix.lower()
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable(
            _("%(name)s is an old spreadsheet; save it as XLSX.") % {"name": name}
        )
    if head.startswith(b"PK\x03\x04"):
        return "xlsx"
    if start.startswith(b"[") and suffix in ("", ".json", ".jsonl"):
        return "label_studio"
    if suffix in _KIND_OF_SUFFIX:
        return _KIND_OF_SUFFIX[suffix]
    if start.startswith(b"{"):
        return "jsonl"
    if _YAML.search(head):
        return "rasa"
    if _CSV.match(start):
        return "csv"
    return kind_of(name)


def read(
    file: IO[bytes], *, kind: str, encoding: str = "utf-8", many: bool = False
) -> Iterator[Row | BadLine]:
    """Reads a file a row at a time, in constant memory.

    JSONL: an object a line, `{"text": …}` with an optional `"label": "code"` or
    `"labels": ["code", …]`. CSV and XLSX: a first line that names the columns,
    `text,label` or `user_input,intent_code`; several labels in one cell are separated
    by `|`, a lone `|` is a label of no intent, an empty cell no label. Empty lines are
    passed over. Rasa and Label Studio: see `rasa.read` and `label_studio.read`.

    Args:
        file: Opened for reading bytes; XLSX must be able to seek.
        kind: One of `KINDS`.
        encoding: One of `ENCODINGS`; a byte order mark is allowed. JSON from Label
            Studio and XLSX say it themselves.
        many: Whether a question may have several intents; Rasa's files are read
            accordingly.

    Yields:
        A row or a bad line for each line, in the file's order. Texts are as they stand
        in the file; what may be a question is `intake`'s to say.

    Raises:
        Unreadable: The file is not what `kind` says, or a table without the columns'
            names.
    """
    match kind:
        case "csv":
            return tables.read(read_lines(file, encoding))
        case "xlsx":
            return spreadsheets.read(file)
        case "rasa":
            return rasa.read(file, encoding=encoding, many=many)
        case "label_studio":
            return label_studio.read(file)
    return jsonl.read(read_lines(file, encoding))


def write(rows: Rows, *, kind: str, many: bool) -> Iterator[str]:
    """Writes rows so that `read` gives the same back, a piece of text a row.

    CSV cells that a spreadsheet would run as formulas get an apostrophe in front, which
    `read` takes away again.

    Args:
        rows: Text and intent codes, None for a question that is not labelled; those of
            an intent together for `rasa`, which leaves out what has no label.
        kind: One of `WRITTEN` but `xlsx`, which is no text.
        many: Whether a question may have several intents.
    """
    match kind:
        case "csv":
            return tables.write(rows)
        case "rasa":
            return rasa.write(rows, many=many)
    return jsonl.write(rows, many=many)


def save(
    rows: Rows, file: IO[bytes], *, kind: str, many: bool, mark: bool = False
) -> None:
    """Writes rows into a file, as `write` does, and XLSX too.

    Args:
        rows: As for `write`.
        file: Opened for writing bytes; XLSX must be able to seek.
        kind: One of `WRITTEN`.
        many: Whether a question may have several intents.
        mark: Begin with a byte order mark: spreadsheets need it for Chinese in CSV.

    Raises:
        Unwritable: More rows than a spreadsheet holds.
    """
    if kind == "xlsx":
        spreadsheets.write(rows, file)
        return
    if mark:
        file.write(codecs.BOM_UTF8)
    for piece in write(rows, kind=kind, many=many):
        file.write(piece.encode())
