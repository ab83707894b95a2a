"""Text files line by line: one wrong byte costs one line, not the file."""

from collections.abc import Iterator
from typing import IO

from django.utils.translation import gettext as _

from labeling.formats.rows import BadLine, Unreadable

MAX_LINE_BYTES = 256 * 1024
"""A longer line is skipped unread, so that a file without line ends fills no memory."""

Line = tuple[int, str]


def read_lines(file: IO[bytes], encoding: str) -> Iterator[Line | BadLine]:
    """Decodes a file line by line, each with its number.

    Raises:
        Unreadable: The file is no text, or says that it has another encoding.
    """
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
