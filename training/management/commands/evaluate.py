"""`evaluate PROJECT VERSION`: metrics on the test split or on a file."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from labeling import formats
from labeling.models import Project
from registry import artifacts
from registry.models import Evaluation
from registry.onnx import session
from training import evaluation

RESULT = (
    *("accuracy", "macro_f1", "in_scope_accuracy", "intervals", "per_intent"),
    *("out_of_scope", "calibration", "n", "micro_f1", "example_f1", "exact_match"),
    *("confusion", "unknown", "floor", "rules", "compared"),
)
"""What `--json` prints, in this order, as far as the project has it."""

Kind = Evaluation.Kind


class Command(BaseCommand):
    help = "Measures a version on the project's test questions, or on a file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's slug")
        parser.add_argument("version", type=int, help="the version's number")
        parser.add_argument(
            "--file",
            help="JSONL or CSV with labels; may hold questions that were trained on",
        )
        parser.add_argument(
            "--format", choices=formats.KINDS, help="if the file's name does not say"
        )
        parser.add_argument(
            "--encoding", choices=formats.ENCODINGS, default="utf-8", help="of the file"
        )
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object, nothing else"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(_("There is no project %s.") % options["project"])
        version = (
            project.versions.select_related("project")
            .filter(number=options["version"])
            .first()
        )
        if version is None:
            raise CommandError(
                _("%(project)s has no version %(number)s.")
                % {"project": project.slug, "number": options["version"]}
            )
        many = project.is_multi_intent
        rows = self._rows(options, many=many) if options["file"] else None
        if rows is None and not evaluation.test_questions(project).exists():
            raise CommandError(
                _("%s has no labelled test questions: name a file.") % project.slug
            )
        try:
            done = evaluation.run(
                version,
                kind=Kind.TEST if rows is None else Kind.FILE,
                rows=rows,
                source=Path(options["file"] or "").name,
            )
        except (artifacts.ArtifactError, session.ArtifactError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            result = {key: done.metrics[key] for key in RESULT if key in done.metrics}
            self.stdout.write(json.dumps(result, ensure_ascii=False))
            return
        self._print(done.metrics)

    def _rows(self, options: dict[str, Any], *, many: bool) -> evaluation.Asked:
        """The labelled rows of the file; says on standard error what is left out."""
        path = Path(options["file"])
        try:
            kind = options["format"] or formats.kind_of(path.name)
            with path.open("rb") as file:
                rows = evaluation.read_file(
                    file, kind=kind, encoding=options["encoding"], many=many
                )
        except (OSError, formats.Unreadable, evaluation.TooManyRows) as error:
            raise CommandError(str(error)) from error
        for line in rows.left_out[:20]:
            self.stderr.write(_("Line %s") % line)
        if len(rows.left_out) > 20:
            self.stderr.write(_("… and %d more lines") % (len(rows.left_out) - 20))
        if not rows.rows:
            raise CommandError(_("%s holds no labelled questions.") % path.name)
        return rows

    def _print(self, measured: dict[str, Any]) -> None:
        outside = measured["out_of_scope"]
        for name, value in (
            (_("questions"), measured["n"]),
            (_("accuracy"), measured["accuracy"]),
            (_("macro-F1"), measured["macro_f1"]),
            (_("micro-F1"), measured.get("micro_f1")),
            (_("in-scope accuracy"), measured["in_scope_accuracy"]),
            (_("out-of-scope recall"), outside["recall"]),
            (_("out-of-scope AUROC"), outside["auroc"]),
            (_("calibration error"), measured["calibration"]["ece"]),
            (_("accuracy of the floor"), (measured["floor"] or {}).get("accuracy")),
            (_("accuracy of rules alone"), (measured["rules"] or {}).get("accuracy")),
        ):
            if value is not None:
                shown = f"{value:.4f}" if isinstance(value, float) else str(value)
                self.stdout.write(f"{shown:>8}  {name}")
        if measured["confusion"]:
            self.stdout.write(_("Most often confused:"))
        for pair in measured["confusion"][:10]:
            self.stdout.write(f"{pair['n']:>8}  {pair['intent']} → {pair['answered']}")
