"""`import_model PROJECT FOLDER`: a Hugging Face classifier becomes a version."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from labeling.models import Project
from registry import artifacts
from registry.onnx import session
from training import foreign, gate
from training.foreign.importing import read_map
from training.ml.interface import TrainingError


class Command(BaseCommand):
    help = "Takes a Hugging Face classifier's folder in as a candidate version."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's slug")
        parser.add_argument(
            "folder", help="config.json, model.safetensors and a tokenizer"
        )
        parser.add_argument(
            "--map", help="JSON file: {label of the model: intent code}", dest="map"
        )
        parser.add_argument(
            "--create-intents",
            action="store_true",
            help="make intents of codes that the project lacks",
        )
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object, nothing else"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(_("There is no project %s.") % options["project"])
        try:
            version = foreign.import_folder(
                project,
                Path(options["folder"]).expanduser(),
                codes=read_map(Path(options["map"])) if options["map"] else None,
                create_intents=options["create_intents"],
            )
        except (
            foreign.ForeignError,
            TrainingError,
            artifacts.ArtifactError,
            session.ArtifactError,
        ) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            result = {
                "version": version.number,
                "gate": version.gate,
                "labels": version.label_set,
                "export": version.provenance["export"],
            }
            self.stdout.write(json.dumps(result, ensure_ascii=False))
            return
        self.stdout.write(
            _("Version %(number)d of %(project)s: %(n)d intents, %(file)s serves.")
            % {
                "number": version.number,
                "project": project.slug,
                "n": len(version.label_set),
                "file": version.provenance["export"]["served"],
            }
        )
        for reason in version.gate_reasons:
            mark = "+" if reason["passed"] else "-"
            self.stdout.write(f"  {mark} {gate.sentence(reason)}")
