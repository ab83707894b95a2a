"""`issue_key`: an API key for a client app, shown once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError
from django.utils.translation import gettext as _

from labeling import access
from labeling.models import ApiKey, Project


class Command(BaseCommand):
    """Makes a key and prints it alone on the last line."""

    help = (
        "Makes an API key for a project and prints it, alone on the last line. It is "
        "kept nowhere and cannot be shown again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("name", help="which client app it is for")
        parser.add_argument(
            "--scope",
            choices=ApiKey.Scope.values,
            default=ApiKey.Scope.CLASSIFY.value,
            help="how far it reaches; each includes the ones before",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(
                _("There is no project “%(slug)s”.") % {"slug": options["project"]}
            )
        name = options["name"].strip()
        longest = ApiKey._meta.get_field("name").max_length or 0
        if not name or len(name) > longest:
            raise CommandError(
                _("The name has 1 to %(max)d characters.") % {"max": longest}
            )
        try:
            _key, secret = access.issue_key(project, name=name, scope=options["scope"])
        except IntegrityError:
            raise CommandError(
                _("%(project)s has a key named “%(name)s” already. Revoke it first.")
                % {"project": project, "name": name}
            ) from None
        self.stdout.write(
            _("Key “%(name)s” for %(project)s, scope %(scope)s; it is shown only now:")
            % {"name": name, "project": project, "scope": options["scope"]}
        )
        self.stdout.write(secret)
