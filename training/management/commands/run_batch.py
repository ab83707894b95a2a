"""`run_batch ID`: what a worker's job starts; runs one batch in this process."""

import os
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import InterfaceError, OperationalError

from training.processes import child
from training.processes.child import TRY_AGAIN
from training.processes.interruption import Interruption
from training.running import runner

NICENESS = 10
"""Serving on the same machine goes first."""


class Command(BaseCommand):
    help = "Runs a queued batch here; what workers call. For a new one use “train”."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("batch", type=int, help="the batch's number")
        parser.add_argument(
            "--parent",
            type=int,
            help="process id of the starter; this process dies with it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["parent"] is not None:
            child.die_with_parent(options["parent"])
            os.nice(NICENESS)
        batch_id: int = options["batch"]
        interruption = Interruption(runner.Interrupted, signal.SIGTERM, signal.SIGINT)
        try:
            runner.run(
                batch_id,
                on_progress=interruption.check,
                # At once, wherever the run is: what it holds is somebody else's now.
                on_lost=lambda: os._exit(TRY_AGAIN),
            )
        except runner.Interrupted:
            raise SystemExit(TRY_AGAIN) from None
        except (OperationalError, InterfaceError) as error:
            self.stderr.write(str(error))
            raise SystemExit(TRY_AGAIN) from error
