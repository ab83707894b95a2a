"""`train PROJECT`: a batch in the foreground, without a worker."""

import json
import signal
import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from tqdm import tqdm

from labeling.models import Project
from registry.models import Version
from training import batches
from training.ml.interface import Progress
from training.models import TrainingBatch
from training.processes.interruption import Interruption
from training.recipe import PRESETS
from training.running import runner


class Command(BaseCommand):
    help = "Trains a version here and now: a batch in the foreground."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's slug")
        parser.add_argument(
            "--preset",
            help=f"one of: {', '.join(PRESETS)}, or a team's own (default: first;"
            " incremental with a version as its base)",
        )
        parser.add_argument(
            "--set",
            nargs="+",
            action="extend",
            default=[],
            metavar="KEY=VALUE",
            dest="overrides",
            help="recipe fields to replace, e.g. epochs=6 seed=7",
        )
        parser.add_argument(
            "--base",
            metavar="SPEC|VERSION",
            help="hub:…, path:… or package:…, or the number of a version to go on from",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="train with fewer labels than the project asks for",
        )
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object, nothing else"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(_("There is no project %s.") % options["project"])
        started = time.monotonic()
        batch = _create(project, options)
        bar = _Bar()
        interruption = Interruption(KeyboardInterrupt, signal.SIGINT)

        def show(progress: Progress) -> None:
            interruption.check()
            bar.show(progress)

        try:
            done = runner.run(batch.pk, in_turn=False, on_progress=show)
        except KeyboardInterrupt:
            bar.close()
            raise CommandError(_("Cancelled."), returncode=130) from None
        bar.close()
        seconds = time.monotonic() - started
        _check(done)
        assert done is not None
        assert done.version is not None
        measured = done.version.evaluations.filter(kind="test").latest("id").metrics
        result = {
            "version": done.version.number,
            "state": done.state,
            "seconds": round(seconds, 2),
            "metrics": {
                **measured,
                "validation": {
                    key: done.metrics["fit"][key] for key in ("accuracy", "macro_f1")
                },
                "gate": done.version.gate,
                "seconds": done.metrics["seconds"],
            },
        }
        if options["json"]:
            self.stdout.write(json.dumps(result, ensure_ascii=False))
            return
        self.stdout.write(
            _("Version %(number)d of %(project)s in %(seconds).0f s.")
            % {
                "number": done.version.number,
                "project": project.slug,
                "seconds": seconds,
            }
        )
        from training.gate import sentence

        for reason in done.version.gate_reasons:
            mark = "✓" if reason["passed"] else "✗"
            self.stdout.write(f"  {mark} {sentence(reason)}")
        self.stdout.write(str(Version.Gate(done.version.gate).label))


def _create(project: Project, options: dict[str, Any]) -> TrainingBatch:
    base, parent = options["base"], None
    if base is not None and base.isdecimal():
        parent = project.versions.filter(number=int(base)).first()
        if parent is None:
            raise CommandError(
                _("%(project)s has no version %(number)s.")
                % {"project": project.slug, "number": base}
            )
        base = None
    preset = options["preset"] or (batches.INCREMENTAL if parent else "first")
    try:
        return batches.create(
            project,
            preset=preset,
            overrides=_overrides(options["overrides"]),
            base=base,
            parent=parent,
            by=None,
            force=options["force"],
            enqueue=False,
        )
    except batches.BatchError as error:
        raise CommandError(str(error)) from error


def _overrides(pairs: list[str]) -> dict[str, str]:
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise CommandError(
                _("--set takes key=value, not “%(pair)s”.") % {"pair": pair}
            )
        overrides[key.strip()] = value.strip()
    return overrides


def _check(done: TrainingBatch | None) -> None:
    """Raises CommandError unless the batch succeeded."""
    if done is None:
        raise CommandError(
            _("Another batch of this project is running, or this one was taken over.")
        )
    if done.state == TrainingBatch.State.CANCELLED:
        raise CommandError(_("Cancelled."))
    if done.state != TrainingBatch.State.SUCCEEDED:
        raise CommandError(" ".join(done.error.split()) or _("The batch failed."))


class _Bar:
    """Progress on standard error; standard output stays free for the result."""

    def __init__(self) -> None:
        # In a log file, a line every ten seconds is enough.
        interval_s = 0.1 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(
            unit="step", dynamic_ncols=True, leave=False, mininterval=interval_s
        )

    def show(self, progress: Progress) -> None:
        self._bar.set_description(progress.phase, refresh=False)
        if progress.phase != "export":
            self._bar.total = progress.total_steps
            self._bar.n = progress.step
            values = {"loss": f"{progress.loss:.3f}"}
            if progress.macro_f1 is not None:
                values["macro-F1"] = f"{progress.macro_f1:.3f}"
            self._bar.set_postfix(values, refresh=False)
        self._bar.update(0)

    def close(self) -> None:
        self._bar.close()
