"""`activate`: lets a version serve."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from labeling.models import Project
from registry import artifacts, versions


class Command(BaseCommand):
    """Activates a version, gate included."""

    help = (
        "Lets a version of a project serve. The gate must have passed it; against the "
        "gate it takes --force and --reason."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("version", type=int, help="number of the version")
        parser.add_argument("--force", action="store_true", help="against the gate")
        parser.add_argument("--reason", default="", help="for the audit")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(
                _("There is no project “%(slug)s”.") % {"slug": options["project"]}
            )
        version = project.versions.filter(number=options["version"]).first()
        if version is None:
            raise CommandError(
                _("%(project)s has no version %(number)s.")
                % {"project": project, "number": options["version"]}
            )
        try:
            done = versions.activate(
                version, by=None, reason=options["reason"], force=options["force"]
            )
        except (versions.VersionError, artifacts.ArtifactError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            _("Version %(number)s of %(project)s is active.")
            % {"number": done.version.number, "project": project}
        )
