"""CSV: a first line that names the columns, then a record a question."""

import csv
import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from django.utils.translation import gettext as _

from labeling.formats import cells
from labeling.formats.lines import Line
from labeling.formats.rows import BadLine, Row, Unreadable

_MAX_RECORD_LINES = 200  # more lines in one CSV record: a quote was never closed


class _Feed:
    """Hands lines to `csv.reader` and can take those of a broken record back."""

    def __init__(self, lines: Iterator[Line | BadLine]) -> None:
        self._lines = lines
        self._back: deque[Line | BadLine] = deque()
        self.taken: list[Line] = []
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
    lines: Iterator[Line | BadLine],
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
            found = next(reader)
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
            if any(cell.strip() for cell in found):
                yield feed.taken[0][0], found


def read(lines: Iterator[Line | BadLine]) -> Iterator[Row | BadLine]:
    """Rows of a CSV file's lines."""
    records = _records(lines)
    header = next(records, None)
    if header is None:
        return
    if isinstance(header, BadLine):
        raise Unreadable(_("Line %(line)s: %(reason)s.") % header._asdict())
    columns = cells.Columns(header[1])
    for record in records:
        yield record if isinstance(record, BadLine) else columns.row(*record)


def write(rows: Iterable[tuple[str, Sequence[str] | None]]) -> Iterator[str]:
    """A CSV file, a piece a row."""
    buffer = io.StringIO()
    # All cells quoted: where semicolons separate cells, one stays one cell.
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    yield ",".join(cells.HEADER) + "\n"
    for text, labels in rows:
        writer.writerow(cells.written(text, labels))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
