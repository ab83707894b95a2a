"""What an import did, counted, with the first lines that need a person's eye."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeling.formats import BadLine

KEPT_LINES = 100
"""How many bad lines and conflicts are kept; the others are only counted."""


class Conflict(NamedTuple):
    """A row that names other intents than the question already has; those are kept."""

    line: int
    given: tuple[str, ...]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        return _("line %(line)s: “%(given)s”, but the question has “%(kept)s”") % {
            "line": self.line,
            "given": ", ".join(self.given) or _("no intent"),
            "kept": ", ".join(self.kept) or _("no intent"),
        }


@dataclass(slots=True)
class ImportReport:
    """What an import did."""

    rows: int = 0
    """Good rows, repeats and conflicts included."""

    created: int = 0
    """Questions that were not there before."""

    labelled: int = 0
    """Questions that got their gold label from this import, created or not."""

    conflicts: int = 0
    """Rows with other intents than the question has; nothing was changed for them."""

    bad: int = 0
    """Lines that were skipped."""

    bad_lines: list[BadLine] = field(default_factory=list)
    """The first `KEPT_LINES` of them."""

    conflict_lines: list[Conflict] = field(default_factory=list)
    """The first `KEPT_LINES` of them."""

    new_intents: list[str] = field(default_factory=list)
    """Codes of the intents that were created."""

    fallback: str | None = None
    """The one of them that became the project's fallback."""

    @property
    def existing(self) -> int:
        """Rows whose text was there already, in the database or earlier in the file."""
        return self.rows - self.created

    def add_bad(self, line: int, reason: str) -> None:
        """Counts a line that is skipped."""
        self.bad += 1
        if len(self.bad_lines) < KEPT_LINES:
            self.bad_lines.append(BadLine(line, reason))

    def add_conflict(self, conflict: Conflict) -> None:
        """Counts a row whose intents were not taken over."""
        self.conflicts += 1
        if len(self.conflict_lines) < KEPT_LINES:
            self.conflict_lines.append(conflict)

    def summary(self, *, shown: int = 20) -> Iterator[str]:
        """The report in lines for people.

        Args:
            shown: How many bad lines and conflicts to spell out; 0 for the counts only.
        """
        yield _(
            "%(rows)s rows: %(created)s new questions, %(existing)s already there; "
            "%(labelled)s newly labelled."
        ) % {
            "rows": f"{self.rows:,}",
            "created": f"{self.created:,}",
            "existing": f"{self.existing:,}",
            "labelled": f"{self.labelled:,}",
        }
        if self.new_intents:
            yield ngettext(
                "%(n)s new intent: %(codes)s.",
                "%(n)s new intents: %(codes)s.",
                len(self.new_intents),
            ) % {"n": len(self.new_intents), "codes": _few(self.new_intents)}
        if self.fallback:
            yield _("“%(code)s” is now the fallback intent.") % {"code": self.fallback}
        if self.conflicts:
            title = ngettext(
                "%(n)s row names other intents than its question has; those were kept",
                "%(n)s rows name other intents than their questions have; "
                "those were kept",
                self.conflicts,
            ) % {"n": f"{self.conflicts:,}"}
            lines = [str(line) for line in self.conflict_lines[:shown]]
            yield from _listed(title, lines, self.conflicts)
        if self.bad:
            title = ngettext(
                "%(n)s bad line was skipped", "%(n)s bad lines were skipped", self.bad
            ) % {"n": f"{self.bad:,}"}
            lines = [
                _("line %(line)s: %(reason)s") % line._asdict()
                for line in self.bad_lines[:shown]
            ]
            yield from _listed(title, lines, self.bad)


def _few(codes: list[str], shown: int = 20) -> str:
    return ", ".join(codes[:shown]) + (" …" if len(codes) > shown else "")


def _listed(title: str, lines: list[str], count: int) -> Iterator[str]:
    if not lines:
        yield f"{title}."
        return
    yield f"{title}:"
    yield from (f"  {line}" for line in lines)
    if count > len(lines):
        yield "  " + _("… and %(n)s more") % {"n": f"{count - len(lines):,}"}
