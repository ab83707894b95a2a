"""`manage.py doctor`: one line for each thing that an installation needs."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _

from tuneloop.doctor import State, examinations, examine


class Command(BaseCommand):
    help = "Looks at everything that Tuneloop needs; exit code 1 if anything fails."
    # It says itself what is wrong, one line each.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--strict",
            action="store_true",
            help=_("No running worker is a failure, even when nothing else runs."),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        colours = {
            State.OK: self.style.SUCCESS,
            State.NOTE: self.style.WARNING,
            State.FAIL: self.style.ERROR,
        }
        failed = False
        for examination in examinations(strict=options["strict"]):
            finding = examine(examination)
            failed |= finding.state == State.FAIL
            state = colours[finding.state](f"{finding.state:<5}")
            self.stdout.write(f"{state} {examination.name:<11} {finding.text}")
            self.stdout.flush()
        if failed:
            sys.exit(1)
