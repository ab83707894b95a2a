"""`rollback`: lets the version serve that was active before."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from labeling.models import Project
from registry import artifacts, versions


class Command(BaseCommand):
    """Rolls a project back by one activation."""

    help = (
        "Lets the version serve that was active before the current one; again, the one "
        "before that."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("--reason", default="", help="for the audit")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(
                _("There is no project “%(slug)s”.") % {"slug": options["project"]}
            )
        try:
            done = versions.roll_back(project, by=None, reason=options["reason"])
        except (versions.VersionError, artifacts.ArtifactError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            _("Version %(number)s of %(project)s is active again.")
            % {"number": done.version.number, "project": project}
        )
