"""XLSX: the first sheet's first line names the columns, then a line a question."""

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from typing import IO, Any

from django.utils.translation import gettext as _
from openpyxl import Workbook, load_workbook

from labeling.formats import cells
from labeling.formats.rows import BadLine, Row, Unreadable, Unwritable

MAX_ROWS = 1_048_576
"""Lines of a sheet, the one with the names included."""

MAX_SHEET_BYTES = 512 * 1024**2
MAX_STRINGS_BYTES = 192 * 1024**2
"""The table of strings is held in memory, with twice this size at worst."""
MAX_PART_BYTES = 16 * 1024**2
"""Of any other part of the file: styles, names, the list of sheets."""

_MAX_COLUMNS = 64
_RATIO = 250  # a sheet packs 5 to 50 times; a bomb 1,000 times
_RATIO_FROM_BYTES = 8 * 1024**2

# XML can't hold these, and takes a return for a line feed. What Excel does:
# Source: ECMA-376 part 1, 22.9.2.19, ST_Xstring (_xHHHH_).
_NO_XML = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")


def read(file: IO[bytes]) -> Iterator[Row | BadLine]:
    """Rows of a workbook's first sheet, streamed.

    Raises:
        Unreadable: It is no XLSX file, a damaged one, or unpacks to too much.
    """
    _check_parts(file)
    try:
        # Cached results instead of formulas: a formula is no question.
        book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        try:
            yield from _read_sheet(book.worksheets[0])
        finally:
            book.close()
    except Unreadable:
        raise
    except Exception as error:  # openpyxl lets through whatever a damaged file causes
        raise Unreadable(
            _("The spreadsheet is damaged: %(error)s.")
            % {"error": str(error)[:200] or type(error).__name__}
        ) from error


def _read_sheet(sheet: Any) -> Iterator[Row | BadLine]:
    sheet.reset_dimensions()  # many programs write wrong ones
    lines = sheet.iter_rows(max_row=MAX_ROWS, max_col=_MAX_COLUMNS, values_only=True)
    first = 0
    for values in lines:
        first += 1
        names = [_text(value).strip() for value in values]
        if any(names):
            break
    else:
        return
    width = max(i for i, name in enumerate(names, start=1) if name)
    columns = cells.Columns(names[:width])
    # Again from there, and only as wide as the names and one cell too many.
    lines = sheet.iter_rows(
        min_row=first + 1, max_row=MAX_ROWS, max_col=width + 1, values_only=True
    )
    for number, values in enumerate(lines, start=first + 1):
        if any(value is not None for value in values):
            found = [_text(value) for value in values]
            if any(value.strip() for value in found):
                yield columns.row(number, found)


def _check_parts(file: IO[bytes]) -> None:
    """Refuses what unpacks to too much; `zipfile` unpacks no more than is declared."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise Unreadable(_("The file is no XLSX spreadsheet.")) from error
    for part in parts:
        name = part.filename.lower()
        if not name.endswith((".xml", ".rels")):
            continue  # pictures and the like are never unpacked
        if name.startswith("xl/worksheets/"):
            limit = MAX_SHEET_BYTES
        elif name.endswith("sharedstrings.xml"):
            limit = MAX_STRINGS_BYTES
        else:
            limit = MAX_PART_BYTES
        packed = max(1, part.compress_size)
        is_bomb = (
            part.file_size > _RATIO_FROM_BYTES and part.file_size / packed > _RATIO
        )
        if part.file_size > limit or is_bomb:
            raise Unreadable(
                _(
                    "%(part)s unpacks to %(mb)s MB, which is too much; "
                    "save the sheet as CSV."
                )
                % {"part": part.filename[:100], "mb": part.file_size // 1024**2}
            )


def _text(value: Any) -> str:
    """A cell as a person sees it, near enough."""
    if isinstance(value, str):
        return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)
    return str(value)


def write(rows: Iterable[tuple[str, Sequence[str] | None]], file: IO[bytes]) -> None:
    """Writes a workbook of one sheet, streamed through a temporary file.

    Raises:
        Unwritable: There are more rows than a sheet holds.
    """
    book = Workbook(write_only=True)
    sheet = book.create_sheet("questions")
    try:
        sheet.column_dimensions["A"].width = 70
        sheet.column_dimensions["B"].width = 30
        sheet.freeze_panes = "A2"
        sheet.append(cells.HEADER)
        for number, (text, labels) in enumerate(rows, start=2):
            if number > MAX_ROWS:
                raise Unwritable(
                    _("A spreadsheet holds %(max)s rows; export as CSV, or fewer.")
                    % {"max": f"{MAX_ROWS - 1:,}"}
                )
            sheet.append([_escaped(cell) for cell in cells.written(text, labels)])
    except BaseException:
        sheet.close()
        sheet._writer.cleanup()  # its temporary file, which only a save removes
        raise
    book.save(file)


def _escaped(text: str) -> str | None:
    if not text:
        return None
    return _NO_XML.sub(lambda match: f"_x{ord(match[0]):04X}_", text)
