"""`export_questions`: a project's questions into a JSONL or CSV file."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from tqdm import tqdm

from labeling import formats
from labeling.models import Project, Question

_T = TypeVar("_T")


class Command(BaseCommand):
    """Streams a project's questions and labels into a file."""

    help = (
        "Exports questions as import_questions reads them. CSV cells that a "
        "spreadsheet would run as formulas get an apostrophe in front, which the "
        "import takes away again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("file", type=Path)
        parser.add_argument("--state", choices=Question.State.values)
        parser.add_argument("--split", choices=Question.Split.values)
        parser.add_argument(
            "--format",
            choices=formats.KINDS,
            help="instead of the one that the file's name ends in",
        )
        parser.add_argument(
            "--bom",
            action="store_true",
            help="begin with a byte order mark: spreadsheets need it for Chinese",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(
                _("There is no project “%(slug)s”.") % {"slug": options["project"]}
            )
        questions = Question.objects.of(project).order_by("id")
        if options["state"]:
            questions = questions.filter(state=options["state"])
        if options["split"]:
            questions = questions.in_split(options["split"])

        # Beside the file, then renamed: a failed export leaves the old file whole.
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            kind = options["format"] or formats.kind_of(path.name)
            if path.exists() and not path.is_file():
                raise CommandError(_("%(file)s is not a file.") % {"file": path})
            with aside.open(
                "w",
                encoding="utf-8-sig" if options["bom"] else "utf-8",
                newline="",
            ) as file:
                rows = tqdm(self._counted(questions.rows()), unit=" rows", disable=None)
                file.writelines(
                    formats.write(rows, kind=kind, many=project.is_multi_intent)
                )
            aside.replace(path)
        except formats.Unreadable as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        finally:
            aside.unlink(missing_ok=True)
        self.stdout.write(
            _("%(n)s questions written to %(file)s.")
            % {"n": f"{self._written:,}", "file": path}
        )

    def _counted(self, rows: Iterable[_T]) -> Iterator[_T]:
        self._written = 0
        for row in rows:
            yield row
            self._written += 1
