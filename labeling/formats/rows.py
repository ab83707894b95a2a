"""What every format reads into: a row, or a line that is skipped and why."""

from typing import NamedTuple


class Unreadable(ValueError):
    """The file as a whole can't be read; the message says why and what to do."""


class Unwritable(ValueError):
    """What was asked for doesn't fit the format; the message says what does."""


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
