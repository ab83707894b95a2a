"""What a batch does between its claim and its verdict: train, export, measure."""

import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from registry import artifacts, versions
from registry.onnx import session
from registry.onnx.reading import Reading
from training import batches, evaluation, gate
from training.batches import ownership, workspace
from training.ml.interface import Example, ExportReport, FitResult, Progress
from training.models import TrainingBatch
from training.planning import preflight
from training.processes import together
from training.running import card, provenance, replay
from training.running.heartbeat import Heartbeat
from training.running.reporting import Reporter, usual_seconds
from training.statistics import calibration, floor

MODEL_FOLDER = "model"
CHECKPOINT_FOLDER = "checkpoints"
TOGETHER_FOLDER = "together"
SAMPLES_FILE = "samples.json"
CARD_FILE = "card.md"

MIN_FLOOR_S = 10.0
"""Seconds that the floor's training may take, however short the model's was."""

MAX_SAMPLES = 256
"""Questions on which the small and the exact model are compared."""


@dataclass(frozen=True)
class Result:
    """Everything that a registered version will say."""

    folder: Path
    label_set: list[str]
    calibration: calibration.Calibration
    provenance: dict[str, Any]
    appraisal: evaluation.Appraisal
    reasons: list[gate.Reason]
    metrics: dict[str, Any]


class Run:
    """One run of a batch: its parts in order, with what they hand on."""

    def __init__(
        self,
        batch: TrainingBatch,
        beat: Heartbeat,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.batch, self.project, self.beat = batch, batch.project, beat
        self.recipe = batches.stored_recipe(batch)
        self.folder = workspace.folder(batch.pk)
        self.seconds: dict[str, float] = {}
        self.report = Reporter(beat, on_progress, after=usual_seconds(batch.base))

    def work(self) -> Result:
        """Trains, exports and measures; registers nothing."""
        batch = self.batch
        _wait_without_spinning()
        if batch.fence > 1:
            self.note(_("Attempt %(n)d.") % {"n": batch.fence})
        else:
            self.warn()
        with self.timed("prepare"):
            rows = self.rows()
            base, parent = self.base(), self.parent()
        with self.timed("fit"):
            fitted = self.fit(rows, base, parent)
        with self.timed("export"):
            exported = self.export(rows)
        with self.timed("calibrate"):
            calibrated = self.calibrate(rows)
        with self.timed("evaluate"):
            appraisal = self.measure(calibrated)

        metrics = {
            "rows": {
                "train": len(rows.train),
                "validation": len(rows.validation),
                "new": rows.new,
                "replayed": rows.replayed,
            },
            "fit": asdict(fitted),
            "export": asdict(exported),
            "calibration": calibrated.report,
            "comparison": appraisal.comparison,
            "active": _active(appraisal.measured),
            "seconds": {k: round(v, 2) for k, v in self.seconds.items()},
        }
        result = Result(
            folder=self.folder / MODEL_FOLDER,
            label_set=list(batch.dataset.label_set),
            calibration=calibrated,
            provenance=self.provenance(metrics),
            appraisal=appraisal,
            reasons=gate.reasons_for(appraisal, export=metrics["export"]),
            metrics=metrics,
        )
        text = card.write(
            batch, provenance=result.provenance, measured=appraisal.measured
        )
        (result.folder / CARD_FILE).write_text(text, "utf-8")
        return result

    # --- The parts ----------------------------------------------------------------

    def warn(self) -> None:
        """Keeps in the log what was known to be wrong with the labels."""
        for warning in preflight.check(
            self.project, self.recipe, preset=self.batch.preset
        ):
            self.note(preflight.sentence(warning))

    def rows(self) -> replay.Selection:
        self.report.phase("prepare")
        rows = replay.select(
            self.batch.dataset,
            parent=self.batch.parent,
            replay=self.recipe.replay if self.batch.is_incremental else None,
            seed=self.recipe.seed,
            order=self.recipe.replay_order,
            difficulty=self.difficulty,
        )
        self.note(
            _("%(train)d questions to train on (%(new)d new, %(old)d replayed).")
            % {"train": len(rows.train), "new": rows.new, "old": rows.replayed}
        )
        return rows

    def difficulty(self, rows: Sequence[Example]) -> list[float]:
        """How far the parent's answers are from right: 0 surely right, 2 surely not."""
        assert self.batch.parent is not None  # nothing is replayed without one
        scope = evaluation.scope_of(self.project)
        found = evaluation.answer_with(
            self.batch.parent, rows, scope, check=self.beat.check
        )
        return [
            1 - sure if given == frozenset(row.labels) else 1 + sure
            for row, given, sure in zip(
                rows, found.intents, found.confidence.tolist(), strict=True
            )
        ]

    def base(self) -> Path:
        """The base model's folder: converted or downloaded once, then found again."""
        from training.ml.base import resolve

        return resolve(self.batch.base, settings.CACHE_DIR)

    def parent(self) -> Path | None:
        """The parent's files, its intents by their names of today."""
        version = self.batch.parent
        if version is None:
            return None
        source = artifacts.open_verified(version)
        names = evaluation.scope_of(self.project)
        document = json.loads((source / session.LABELS_FILE).read_text("utf-8"))
        document["labels"] = names.today(document["labels"])
        folder = self.folder / "parent"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in source.iterdir():
            if path.name != session.LABELS_FILE:
                (folder / path.name).symlink_to(path)
        (folder / session.LABELS_FILE).write_text(json.dumps(document), "utf-8")
        return folder

    def fit(self, rows: replay.Selection, base: Path, parent: Path | None) -> FitResult:
        out = self.folder / MODEL_FOLDER
        shutil.rmtree(out, ignore_errors=True)
        fitted = self._fitter()(
            train=rows.train,
            validation=rows.validation,
            labels=self.batch.dataset.label_set,
            multi=self.project.is_multi_intent,
            base=base,
            parent=parent,
            recipe=self.recipe,
            out=out,
            checkpoints=self.folder / CHECKPOINT_FOLDER,
            report=self.report,
        )
        if fitted.resumed_from_step:
            self.note(
                _("Went on from step %(step)d.") % {"step": fitted.resumed_from_step}
            )
        self.note(
            _("Trained %(steps)d steps in %(seconds).0f s on %(device)s.")
            % {
                "steps": fitted.steps,
                "seconds": fitted.seconds,
                "device": fitted.device,
            }
        )
        return fitted

    def _fitter(self) -> Callable[..., FitResult]:
        """What trains: this process, or several that it starts."""
        if self.batch.processes > 1:
            return functools.partial(
                together.fit,
                processes=self.batch.processes,
                folder=self.folder / TOGETHER_FOLDER,
            )
        from training.ml.loop import fit

        return fit

    def export(self, rows: replay.Selection) -> ExportReport:
        from training.ml.export import export

        self.report.phase("export")
        out = self.folder / MODEL_FOLDER
        # Validation questions first: the model has not learned them by heart.
        samples = [row.text for row in (*rows.validation, *rows.train)][:MAX_SAMPLES]
        exported = export(out, out, samples=samples, report=self.report)
        self.note(exported.reason)
        self._write_samples(out, samples[:16])
        return exported

    def _write_samples(self, out: Path, texts: list[str]) -> None:
        """A few questions with the served model's answers, to check a copy against."""
        model = session.OnnxClassifier(out)
        reading = Reading(tuple(model.labels), self.project.is_multi_intent)
        p = reading.probabilities(model.logits(texts))
        samples = [
            {
                "text": text,
                "intent": model.labels[int(row.argmax())],
                "confidence": round(float(row.max()), 4),
            }
            for text, row in zip(texts, p, strict=True)
        ]
        document = json.dumps(samples, ensure_ascii=False, indent=1)
        (out / SAMPLES_FILE).write_text(document, "utf-8")

    def calibrate(self, rows: replay.Selection) -> calibration.Calibration:
        """How the file that will serve is read, from the validation questions."""
        return calibration.of_folder(
            self.folder / MODEL_FOLDER,
            rows.validation,
            multi=self.project.is_multi_intent,
            fallback=evaluation.scope_of(self.project).fallback,
            check=self.beat.check,
        )

    def measure(self, calibrated: calibration.Calibration) -> evaluation.Appraisal:
        """The new model and all that stands beside it on the same test questions."""
        self.report.phase("evaluate")
        scope = evaluation.scope_of(self.project)
        asked = evaluation.asked(evaluation.test_questions(self.project))
        labels = self.batch.dataset.label_set
        answers = evaluation.answer(
            self.folder / MODEL_FOLDER,
            asked.rows,
            scope,
            reading=calibrated.reading(labels, multi=scope.multi),
            check=self.beat.check,
        )
        appraisal = evaluation.appraise(
            self.project,
            asked,
            answers,
            scope,
            dataset=self.batch.dataset,
            against=versions.active(self.project),
            check=self.beat.check,
            # What stands beside the model never takes longer than the model itself.
            budget_s=max(MIN_FLOOR_S, min(floor.BUDGET_S, self.seconds["fit"])),
        )
        for line in measured_lines(appraisal.measured):
            self.note(line)
        if appraisal.problem:
            self.note(appraisal.problem)
        return appraisal

    def provenance(self, metrics: dict[str, Any]) -> dict[str, Any]:
        batch, dataset = self.batch, self.batch.dataset
        return {
            "batch": batch.pk,
            "preset": batch.preset,
            "recipe": batch.recipe,
            "base": batch.base,
            "parent": batch.parent.number if batch.parent else None,
            "dataset": {
                "id": dataset.pk,
                "digest": dataset.digest,
                "label_set": dataset.label_set,
                **metrics["rows"],
            },
            "fit": metrics["fit"],
            "export": metrics["export"],
            "calibration": metrics["calibration"],
            "seconds": metrics["seconds"],
            "code_revision": provenance.code_revision(),
            "libraries": provenance.library_versions(),
            "machine": provenance.machine(),
        }

    def note(self, line: str) -> None:
        ownership.note(self.batch.pk, line)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started


def _wait_without_spinning() -> None:
    """Lets torch's threads sleep while they wait for each other.

    OpenMP's threads spin by default. With a web server, a database or a second training
    on the same cores, each spins while another one that it waits for does not run: a
    step took up to twenty times as long on two busy cores. Read when torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def measured_lines(measured: dict[str, Any]) -> list[str]:
    """What was measured, for the log."""
    if not measured["n"]:
        return [_("There are no labelled test questions to measure on.")]
    lines = [
        _("%(accuracy).1f %% of %(n)d test questions right, macro-F1 %(f1).3f.")
        % {
            "accuracy": 100 * measured["accuracy"],
            "n": measured["n"],
            "f1": measured["macro_f1"],
        }
    ]
    if beside := measured["floor"]:
        lines.append(
            _(
                "Counting words with logistic regression: %(accuracy).1f %% right,"
                " macro-F1 %(f1).3f (%(seconds).0f s)."
            )
            % {
                "accuracy": 100 * beside["accuracy"],
                "f1": beside["macro_f1"],
                "seconds": beside["seconds"],
            }
        )
    if (compared := measured["compared"]) is not None:
        lines.append(
            _(
                "Against version %(version)d: %(fixed)d questions fixed, %(broken)d"
                " broken."
            )
            % {key: compared[key] for key in ("version", "fixed", "broken")}
        )
    return lines


def _active(measured: dict[str, Any]) -> dict[str, Any] | None:
    """What the active version gets on the same questions."""
    compared = measured["compared"]
    if compared is None or not measured["n"]:
        return None
    return {"version": compared["version"], "n": measured["n"]} | {
        key: measured[key] - compared[key] for key in ("accuracy", "macro_f1")
    }
