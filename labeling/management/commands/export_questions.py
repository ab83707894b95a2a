"""`export_questions`: a project's questions into a file."""

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from tqdm import tqdm

from labeling import formats
from labeling.models import Project, Question
from labeling.transfers import exporting


class Command(BaseCommand):
    """Streams a project's questions and labels into a file."""

    help = (
        "Exports questions as import_questions reads them. Cells that a spreadsheet "
        "would run as formulas get an apostrophe in front, which the import takes away "
        "again. Rasa NLU YAML leaves out questions without a label. The format “full” "
        "is JSONL with all that is known of each question: gold labels with who and "
        "when, annotations, comments, history."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("file", type=Path)
        parser.add_argument("--state", choices=Question.State.values)
        parser.add_argument("--split", choices=Question.Split.values)
        parser.add_argument(
            "--format",
            choices=exporting.KINDS,
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
        selection = exporting.Selection(
            state=options["state"] or "", split=options["split"] or ""
        )

        # Beside the file, then renamed: a failed export leaves the old file whole.
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            kind = options["format"] or formats.kind_of(path.name)
            if path.exists() and not path.is_file():
                raise CommandError(_("%(file)s is not a file.") % {"file": path})
            with (
                aside.open("wb") as file,
                tqdm(unit=" rows", unit_scale=True, disable=None) as bar,
            ):
                report = exporting.export(
                    project,
                    file,
                    kind=kind,
                    selection=selection,
                    mark=options["bom"],
                    begin=bar.reset,
                    progress=lambda count: bar.update(count - bar.n),
                )
            aside.replace(path)
        except (formats.Unreadable, formats.Unwritable) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        finally:
            aside.unlink(missing_ok=True)
        self.stdout.write(
            _("%(n)s questions written to %(file)s.")
            % {"n": f"{report.rows:,}", "file": path}
        )
        if report.left_out:
            self.stdout.write(
                _("%(n)s were left out: the format can't hold them.")
                % {"n": f"{report.left_out:,}"}
            )
