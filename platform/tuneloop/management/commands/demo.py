"""`manage.py demo`: the whole loop without a browser, on the sample data."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from tqdm import tqdm

from registry.versions import VersionError
from training.batches import BatchError
from tuneloop.demo import loop

_PARTS = 9
"""Sentences that the loop reports."""


class Command(BaseCommand):
    help = (
        "Takes the sample project once round the whole loop and shows what came of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--fast", action="store_true", help=_("Fewer intents, fewer steps.")
        )

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        call_command("migrate", interactive=False, verbosity=0)
        bar = tqdm(total=_PARTS, unit="", bar_format="{l_bar}{bar}| {elapsed}")

        def report(text: str) -> None:
            bar.set_description_str(text)
            bar.update()

        try:
            outcome = loop.run(fast=options["fast"], report=report)
        except (loop.DemoFailed, BatchError, VersionError) as error:
            bar.close()
            raise CommandError(str(error)) from error
        bar.close()
        self._table(outcome, time.monotonic() - began)
        if outcome.failed or not outcome.is_better():
            raise CommandError(_("The loop closed, but not as well as it should."))

    def _table(self, outcome: loop.Outcome, seconds: float) -> None:
        before, after = outcome.before, outcome.after
        pair = " / ".join(loop.PAIR)
        rows = [
            ("", _("version 1"), _("version 2")),
            (_("trained as"), "first", "incremental"),
            (_("test questions"), str(before["n"]), str(after["n"])),
            (_("accuracy"), _share(before["accuracy"]), _share(after["accuracy"])),
            (_("macro-F1"), _share(before["macro_f1"]), _share(after["macro_f1"])),
            (pair, _share(outcome.pair(before)), _share(outcome.pair(after))),
            (
                _("all other intents"),
                _share(outcome.elsewhere(before)),
                _share(outcome.elsewhere(after)),
            ),
        ]
        width = max(len(row[0]) for row in rows)
        self.stdout.write("")
        for name, first, second in rows:
            self.stdout.write(f"{name:<{width}}  {first:>12}  {second:>12}")
        self.stdout.write("")
        for what, version in outcome.seen:
            self.stdout.write(
                _("%(what)s: the live client got version %(version)s")
                % {"what": what, "version": version}
            )
        self.stdout.write(
            _("live client: %(asked)d requests, %(failed)d failed")
            % {"asked": outcome.asked, "failed": len(outcome.failed)}
        )
        self.stdout.write(
            _("labelled in the queue between the versions: %d") % outcome.labelled
        )
        parts = ", ".join(f"{k} {v:.0f} s" for k, v in outcome.seconds.items())
        self.stdout.write(f"{parts}; " + _("in all %.0f s") % seconds)
        self.stdout.write(
            _("Look around: manage.py up, project %s") % outcome.project.slug
        )


def _share(value: float) -> str:
    return f"{value:.1%}"
