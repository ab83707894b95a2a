"""`mine_rules PROJECT`: looks for keyword rules in the labels and prints them."""

import unicodedata
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from labeling import rules
from labeling.models import KeywordRule, Project
from labeling.rules.mining import MIN_SUPPORT


class Command(BaseCommand):
    help = "Looks for keywords that speak for an intent; candidates wait for approval."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's slug")
        parser.add_argument(
            "--support",
            type=int,
            default=MIN_SUPPORT,
            help="labelled questions that must hold a keyword (default: %(default)s)",
        )
        parser.add_argument(
            "--limit", type=int, default=50, help="rows to print (default: %(default)s)"
        )

    def handle(self, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(_("There is no project %s.") % options["project"])
        if options["support"] < 1:
            raise CommandError(_("--support must be at least 1."))
        found = rules.mine(project, support=options["support"])
        for line in _table(found[: options["limit"]]):
            self.stdout.write(line)
        self.stdout.write(
            _("%(n)s candidates in %(project)s; approve them in the admin under Rules.")
            % {"n": len(found), "project": project}
        )


def _table(found: list[KeywordRule]) -> list[str]:
    if not found:
        return []
    rows = [
        (_("keyword"), _("intent"), _("support"), _("success rate"), _("lower bound"))
    ]
    rows += [
        (
            rule.pattern,
            rule.intent.code,
            str(rule.support),
            f"{rule.success_rate:.0%}",
            f"{rule.success_low:.0%}",
        )
        for rule in found
    ]
    widths = [max(_columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell + " " * (width - _columns(cell))
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _columns(text: str) -> int:
    """Terminal columns: an East Asian wide character takes two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
