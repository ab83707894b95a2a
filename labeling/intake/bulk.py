"""Many questions at once: checked in Python, written by set-based SQL in chunks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.formats import BadLine, Row
from labeling.intake import staging
from labeling.intake.checks import text_problem
from labeling.intake.codes import CodeBook, CodeProblem
from labeling.intake.report import Conflict, ImportReport
from labeling.models import Project
from labeling.normalise import split_of, text_hash

CHUNK_ROWS = 20_000
"""Rows a transaction. A killed import keeps those before; a rerun adds the rest."""

CHUNK_CHARS = 4_000_000
"""A chunk of long texts ends earlier; this bounds the memory."""

ANALYZED_FROM = 10_000
"""New questions after which an import renews the planner's statistics (a second)."""


def import_rows(
    project: Project,
    rows: Iterable[Row | BadLine],
    *,
    split: str | None = None,
    create_intents: bool = False,
    require_labels: bool = False,
    dry_run: bool = False,
    by: User | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Takes questions in, with or without labels.

    A text that is there already, in any spelling that `normalise` makes equal, is not
    touched, but an open or skipped question gets the row's label. A label that a
    question has is never replaced: the first one wins, the other is a conflict in the
    report. So a second import of the same rows changes nothing.

    In a project with several intents a question, a row labelled with none of them gets
    the fallback intent, where there is one. Labels may be aliases. With
    `create_intents`, a new code `oos`, `out_of_scope` or `none` becomes the project's
    fallback if it has none.

    The labels end as `annotations.set_gold` leaves them, with the source "import".

    Args:
        project: Takes the questions.
        rows: As `formats.read` yields them; bad lines go into the report.
        split: For new questions, instead of the one that the text's hash decides. A
            question that is there keeps its own.
        create_intents: Whether unknown codes become intents; else such rows are bad.
        require_labels: Whether a row without a label is bad.
        dry_run: Counts only, and writes nothing. Needs about 100 bytes a row.
        by: Who sets the labels.
        progress: Called with the number of rows and bad lines so far, once a chunk.

    Returns:
        The report; what it counts is committed, a chunk of rows at a time.

    Cost: five statements a chunk; memory does not grow with the number of rows.
    """
    run = _Import(
        project,
        split=split,
        create_intents=create_intents,
        require_labels=require_labels,
        dry_run=dry_run,
        by=by,
    )
    for row in rows:
        if isinstance(row, BadLine):
            run.report.add_bad(*row)
        else:
            run.add(row)
        if run.is_full:
            run.flush()
            if progress is not None:
                progress(run.report.rows + run.report.bad)
    run.flush()
    if not dry_run and run.report.created >= ANALYZED_FROM:
        with connection.cursor() as cursor:
            # Plans of the next queries would go by what the tables held before, until
            # autovacuum comes round: an export that takes two seconds took twenty.
            cursor.execute("ANALYZE labeling_question, labeling_goldlabel")
    if progress is not None:
        progress(run.report.rows + run.report.bad)
    return run.report


@dataclass(slots=True)
class _Item:
    """One distinct text of a chunk."""

    line: int
    text: str
    hash: str
    codes: tuple[str, ...] | None


class _Import:
    """One import's state: the chunk being gathered, and the report."""

    def __init__(
        self,
        project: Project,
        *,
        split: str | None,
        create_intents: bool,
        require_labels: bool,
        dry_run: bool,
        by: User | None,
    ) -> None:
        self.project = project
        self.report = ImportReport()
        self._split = split
        self._require_labels = require_labels
        self._dry_run = dry_run
        self._by = by
        self._now: datetime = timezone.now()
        self._codes = CodeBook(project, create=create_intents)
        self._chunk: dict[str, _Item] = {}
        self._chars = 0
        self._seen: set[bytes] = set()

    @property
    def is_full(self) -> bool:
        return len(self._chunk) >= CHUNK_ROWS or self._chars >= CHUNK_CHARS

    def add(self, row: Row) -> None:
        """Checks a row and puts it into the chunk."""
        problem = text_problem(row.text)
        if problem is not None:
            self.report.add_bad(row.line, problem)
            return
        codes = None
        if row.labels is not None:
            try:
                codes = self._codes.resolve(row.labels)
            except CodeProblem as error:
                self.report.add_bad(row.line, str(error))
                return
        if codes is None and self._require_labels:
            self.report.add_bad(row.line, _("no label"))
            return
        self.report.rows += 1
        text = row.text.strip()
        hash_ = text_hash(text)
        earlier = self._chunk.get(hash_)
        if earlier is None:
            self._chunk[hash_] = _Item(row.line, text, hash_, codes)
            self._chars += len(text)
        elif earlier.codes is None:
            earlier.codes = codes
        elif codes is not None and codes != earlier.codes:
            self.report.add_conflict(Conflict(row.line, codes, earlier.codes))

    def flush(self) -> None:
        """Writes the chunk, in a transaction of its own."""
        if not self._chunk:
            return
        if self._dry_run:
            self._compare()
        else:
            self._write()
        self._chunk.clear()
        self._chars = 0

    @transaction.atomic
    def _write(self) -> None:
        report = self.report
        with connection.cursor() as cursor:
            # Importers of one project take turns, so that two of them can't deadlock
            # on each other's texts; questions that are being asked don't wait.
            # So do merges of intents: none of this chunk's goes before it is written.
            staging.lock(cursor, self.project.pk)
            if self._codes.refresh():
                self._resolve_again()
            self._codes.create_pending()
            self._stage(cursor)
            created, labelled = staging.insert_new(
                cursor, self.project.pk, now=self._now, by=self._by
            )
            if created < len(self._chunk):
                labelled += staging.label_unlabelled(
                    cursor, self.project.pk, now=self._now, by=self._by
                )
                self._find_conflicts(cursor)
            staging.drop(cursor)
        report.created += created
        report.labelled += labelled
        report.new_intents = self._codes.created
        report.fallback = self._codes.created_fallback

    def _resolve_again(self) -> None:
        """The chunk's codes by the label set of now; rows that lost theirs are bad."""
        for hash_, item in list(self._chunk.items()):
            if item.codes is None:
                continue
            try:
                item.codes = self._codes.resolve(item.codes)
            except CodeProblem as error:
                self.report.rows -= 1
                self.report.add_bad(item.line, str(error))
                del self._chunk[hash_]

    @transaction.atomic
    def _compare(self) -> None:
        """What `_write` would do, without the locks that writing takes."""
        report = self.report
        fresh = {
            hash_: item
            for hash_, item in self._chunk.items()
            if bytes.fromhex(hash_) not in self._seen
        }
        self._seen.update(bytes.fromhex(hash_) for hash_ in fresh)
        self._chunk = fresh
        with connection.cursor() as cursor:
            self._stage(cursor)
            created, labelled = staging.count_changes(cursor, self.project.pk)
            self._find_conflicts(cursor)
            staging.drop(cursor)
        report.created += created
        report.labelled += labelled
        report.new_intents = self._codes.pending
        report.fallback = self._codes.pending_fallback

    def _stage(self, cursor: staging.Cursor) -> None:
        shares = {
            "test_share": self.project.test_share,
            "validation_share": self.project.validation_share,
        }
        staging.fill(
            cursor,
            (
                (
                    item.line,
                    item.text,
                    item.hash,
                    self._split or split_of(item.hash, **shares),
                    None if item.codes is None else self._codes.ids(item.codes),
                )
                for item in self._chunk.values()
            ),
        )

    def _find_conflicts(self, cursor: staging.Cursor) -> None:
        for line, hash_, kept in staging.conflicts(cursor, self.project.pk):
            given = self._chunk[hash_].codes or ()
            self.report.add_conflict(Conflict(line, given, tuple(kept)))
