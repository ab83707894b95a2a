"""`export_model PROJECT VERSION FOLDER`: a version as a Hugging Face folder."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from labeling.models import Project
from registry import artifacts
from training import foreign


class Command(BaseCommand):
    help = "Writes a version as a Hugging Face folder, with a README that loads it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's slug")
        parser.add_argument("version", type=int, help="the version's number")
        parser.add_argument("folder", help="made; must not exist, or be empty")

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
        try:
            folder = foreign.export(version, Path(options["folder"]).expanduser())
        except (foreign.ForeignError, artifacts.ArtifactError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(str(folder))
