"""`import_questions`: questions from a file into a project."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from tqdm import tqdm

from labeling import formats
from labeling.intake import ImportReport, import_rows
from labeling.models import Project, Question


class Command(BaseCommand):
    """Streams a file into a project and reports what it could not take."""

    help = (
        'Imports questions. JSONL: {"text": ..., "label": ...} or {"text": ..., '
        '"labels": [...]} a line; CSV and XLSX: text,label or user_input,intent_code, '
        "several labels separated by |; Rasa NLU YAML: the examples of intents; Label "
        "Studio JSON or JSON-MIN: choices, of several annotations the ground truth, "
        "else the majority. Lines without a label become open questions. Bad lines "
        "are reported and skipped; importing a file again changes nothing, and a label "
        "that a question already has is kept. Fails only if nothing could be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--labelled",
            action="store_true",
            help="a line without a label is a bad line",
        )
        parser.add_argument(
            "--split",
            choices=Question.Split.values,
            help="of new questions, instead of the one that the text's hash decides; "
            "a question that is there keeps its own",
        )
        parser.add_argument(
            "--create-intents",
            action="store_true",
            help="make intents of unknown labels; oos, out_of_scope or none becomes "
            "the fallback intent of a project that has none",
        )
        parser.add_argument(
            "--create-project",
            action="store_true",
            help="make the project if it is not there",
        )
        parser.add_argument(
            "--multi",
            action="store_true",
            help="with --create-project: a question may have several intents",
        )
        parser.add_argument(
            "--format",
            choices=formats.KINDS,
            help="instead of the one that the file's name and content say",
        )
        parser.add_argument(
            "--encoding", choices=formats.ENCODINGS, default=formats.ENCODINGS[0]
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            size = path.stat().st_size
            project = self._project(options)
            with (
                path.open("rb") as file,
                tqdm(
                    total=size, unit="B", unit_scale=True, desc=path.name, disable=None
                ) as bar,
            ):
                report = import_rows(
                    project,
                    formats.read(
                        file,
                        kind=options["format"] or formats.guess(path.name, file),
                        encoding=options["encoding"],
                        many=project.is_multi_intent,
                    ),
                    split=options["split"],
                    create_intents=options["create_intents"],
                    require_labels=options["labelled"],
                    progress=lambda _rows: bar.update(file.tell() - bar.n),
                )
        except formats.Unreadable as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        if not report.rows:
            raise CommandError(self._nothing(path, report))
        for line in report.summary():
            self.stdout.write(line)

    def _project(self, options: dict[str, Any]) -> Project:
        slug, multi = options["project"], options["multi"]
        project = Project.objects.filter(slug=slug).first()
        if project is None and not options["create_project"]:
            raise CommandError(
                _("There is no project “%(slug)s”; --create-project makes it.")
                % {"slug": slug}
            )
        if project is None:
            project = Project(slug=slug, name=slug, is_multi_intent=multi)
            try:
                project.full_clean()
            except ValidationError as error:
                raise CommandError(" ".join(error.messages)) from error
            project.save()
        if multi and not project.is_multi_intent:
            raise CommandError(
                _("“%(slug)s” is a project of one intent a question.") % {"slug": slug}
            )
        return project

    def _nothing(self, path: Path, report: ImportReport) -> str:
        if not report.bad:
            return _("%(file)s holds no questions.") % {"file": path}
        line, reason = report.bad_lines[0]
        return _(
            "%(file)s: nothing could be read; %(bad)s bad lines, "
            "the first is line %(line)s: %(reason)s."
        ) % {"file": path, "bad": f"{report.bad:,}", "line": line, "reason": reason}
