"""`build_encoder`: exports the encoder of neighbours and search, once for all."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry import encoder
from training.bases import DEFAULT_BASE, BaseModelError
from training.processes import child

NICENESS = 10
"""Serving on the same machine goes first."""


class Command(BaseCommand):
    help = "Builds what finds similar questions, unless it is there already."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--again", action="store_true", help="build it although it is there"
        )
        parser.add_argument(
            "--parent",
            type=int,
            help="process id of the starter; this process dies with it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["parent"] is not None:
            child.die_with_parent(options["parent"])
            os.nice(NICENESS)
        found = encoder.folder() if encoder.available() else None
        if found is None or options["again"]:
            from training.ml.encoder import build

            try:
                found = build(DEFAULT_BASE, encoder.root(), Path(settings.CACHE_DIR))
                encoder.publish(found)
            except (BaseModelError, ValueError, OSError) as error:
                raise CommandError(str(error)) from error
        self.stdout.write(str(found))
