"""A training batch's life as a manager sees it: create, start, cancel, retry."""

import logging
from collections.abc import Mapping

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from labeling import datasets
from labeling.models import Dataset, Project
from registry import versions
from registry.models import Version
from training import bases
from training.batches import ownership, queueing, sweeping, workspace
from training.models import BatchStep, Preset, TrainingBatch
from training.recipe import PRESETS, Recipe

INCREMENTAL = "incremental"
"""The built-in preset that goes on from a version with new labels and some old ones."""

State = TrainingBatch.State
_logger = logging.getLogger(__name__)


class BatchError(Exception):
    """A batch that cannot be made or changed; the message is for a manager."""


class NotEnoughLabels(BatchError):
    """Too few new labels; `missing` says how many more it takes."""

    def __init__(self, missing: int) -> None:
        super().__init__(
            _("%(missing)d more labels are needed before a training is worth it.")
            % {"missing": missing}
        )
        self.missing = missing


class NothingToTrainOn(BatchError):
    """All labelled questions are test questions, or there are none."""


class BatchUnderWay(BatchError):
    """The project has a batch that is queued or running; it is `batch`."""

    def __init__(self, batch: TrainingBatch) -> None:
        super().__init__(
            _("Batch #%(batch)d of this project is not finished yet.")
            % {"batch": batch.pk}
        )
        self.batch = batch


class InvalidRecipe(BatchError):
    """An unknown preset or a value that no run could use."""


class UnknownBase(BatchError):
    """A base model or version that cannot be trained from."""


class WrongState(BatchError):
    """The batch is in a state in which this cannot be done."""


def presets() -> list[str]:
    """The names a manager picks from: the built-in ones, then the team's. One query."""
    return [*PRESETS, *Preset.objects.values_list("name", flat=True)]


def goes_on(preset: str) -> bool:
    """Whether a preset goes on from a version with new labels and some old ones.

    Of the built-in ones `incremental` does; a team's preset takes the way of the one
    that it is built on. One query for a team's preset, none otherwise.
    """
    return _built_in(preset) == INCREMENTAL


def recipe_of(preset: str, overrides: Mapping[str, str] | None = None) -> Recipe:
    """A preset's recipe with some fields replaced by values written as text.

    One query for a team's preset, none otherwise.

    Raises:
        InvalidRecipe: says which preset, field or value.
    """
    recipe = PRESETS.get(preset)
    try:
        if recipe is None:
            recipe = Recipe.from_dict(Preset.objects.get(name=preset).recipe)
        return recipe.with_overrides(overrides or {})
    except Preset.DoesNotExist:
        raise InvalidRecipe(
            _("There is no preset “%(preset)s” (known: %(known)s).")
            % {"preset": preset, "known": ", ".join(presets())}
        ) from None
    except (TypeError, ValueError) as error:
        raise InvalidRecipe(str(error)) from error


def stored_recipe(batch: TrainingBatch) -> Recipe:
    """The recipe in a batch's row; no query.

    Raises:
        InvalidRecipe: Says what is wrong with it: an installation of before, or a hand
            in the database, wrote it.
    """
    try:
        return Recipe.from_dict(batch.recipe)
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidRecipe(
            _("The batch's recipe cannot be used: %(reason)s.")
            % {"reason": str(error).rstrip(".")}
        ) from error


def _built_in(preset: str) -> str:
    if preset in PRESETS:
        return preset
    known = Preset.objects.filter(name=preset).values_list("built_on", flat=True)
    return known.first() or preset


def create(
    project: Project,
    *,
    preset: str,
    overrides: Mapping[str, str] | None = None,
    base: str | None = None,
    parent: Version | None = None,
    by: User | None,
    with_synthetic: bool = False,
    processes: int | None = None,
    force: bool = False,
    enqueue: bool = True,
) -> TrainingBatch:
    """Freezes a dataset and queues a batch on it.

    Everything that can be known beforehand is checked before anything is written.

    Args:
        project: What to train for.
        preset: One of `presets()`; its recipe is copied into the batch.
        overrides: Recipe fields as text, as in `--set epochs=3`.
        base: Base model; the parent's, or the installation's default.
        parent: Version to go on from. A preset that goes on from one takes the active
            one by itself.
        by: Who asks for it.
        with_synthetic: Train on the project's synthetic questions, too.
        processes: Training processes, 1 to 64; the installation's default when None.
        force: Train with too few new labels, or behind a batch that is not finished.
        enqueue: False for a run in this very process (`train`).

    Raises:
        NotEnoughLabels, NothingToTrainOn, BatchUnderWay, InvalidRecipe,
            UnknownBase.
    """
    recipe = recipe_of(preset, overrides)
    if processes is None:
        processes = settings.TRAIN_PROCESSES
    if not 1 <= processes <= TrainingBatch.MAX_PROCESSES:
        raise InvalidRecipe(
            _("A batch trains in 1 to %(most)d processes, not %(count)d.")
            % {"most": TrainingBatch.MAX_PROCESSES, "count": processes}
        )
    is_incremental = goes_on(preset)
    if parent is None and is_incremental:
        if base is not None:
            raise UnknownBase(
                _("The preset “%(preset)s” goes on from a version, not a base model.")
                % {"preset": preset}
            )
        parent = versions.active(project)
        if parent is None:
            raise UnknownBase(
                _("There is no active version to go on from: train a first one.")
            )
    if parent is not None and parent.project_id != project.pk:
        raise UnknownBase(_("The version to go on from is another project's."))
    if parent is not None and parent.provenance.get("imported"):
        raise UnknownBase(
            _(
                "%(version)s was imported: a training can't go on from it. Train a"
                " first version instead; the imported folder can be its base model."
            )
            % {"version": parent}
        )
    if base is None:
        known = parent.provenance.get("base") if parent is not None else None
        base = str(known or settings.DEFAULT_BASE_MODEL)
    if parent is None:
        try:
            bases.check(base, settings.CACHE_DIR)
        except bases.BaseModelError as error:
            raise UnknownBase(str(error)) from error

    with transaction.atomic():
        # Two managers who click at once queue up here; the second sees the first's.
        Project.objects.select_for_update().get(pk=project.pk)
        if not force:
            under_way = unfinished(project).first()
            if under_way is not None:
                raise BatchUnderWay(under_way)
            missing = datasets.missing_labels(project)
            if missing:
                raise NotEnoughLabels(missing)
        batch = TrainingBatch.objects.create(
            project=project,
            preset=preset,
            is_incremental=is_incremental,
            recipe=recipe.to_dict(),
            dataset=_freeze(project, parent, by, with_synthetic),
            with_synthetic=with_synthetic,
            processes=processes,
            base=base,
            parent=parent,
            created_by=by,
            attempts=1,
        )
        if enqueue:
            queueing.put_on_commit(batch.pk, batch.attempts)
    return batch


def _freeze(
    project: Project, parent: Version | None, by: User | None, with_synthetic: bool
) -> Dataset:
    order = parent.label_set if parent is not None else ()
    try:
        return datasets.freeze(
            project,
            by=by,
            label_order=order,
            with_synthetic=with_synthetic,
            parent=_dataset_of(parent),
        )
    except datasets.NothingToTrainOn as error:
        raise NothingToTrainOn(
            _("No labelled question may be trained on: label some first.")
        ) from error


def _dataset_of(version: Version | None) -> int | None:
    """The dataset that a version learned, as far as it is known."""
    known = version.provenance.get("dataset") if version is not None else None
    return known.get("id") if isinstance(known, dict) else None


def unfinished(project: Project) -> QuerySet[TrainingBatch]:
    """The project's batches that are queued or running, oldest first."""
    return TrainingBatch.objects.filter(
        project=project, state__in=[State.QUEUED, State.RUNNING]
    ).order_by("id")


def cancel(batch: TrainingBatch, by: User | None) -> None:
    """Ends a queued batch at once; asks a running one to stop, which takes seconds.

    Raises:
        WrongState: it is finished already.
    """
    rows = TrainingBatch.objects.filter(pk=batch.pk)
    if ownership.end(
        rows.filter(state=State.QUEUED), State.CANCELLED, cancel_requested=True
    ):
        workspace.remove(batch.pk)
        _logger.info("batch %s cancelled by %s before it ran", batch.pk, by)
        return
    if not rows.filter(state=State.RUNNING).update(cancel_requested=True):
        raise WrongState(_("This batch is finished already."))
    _logger.info("batch %s: cancel asked for by %s", batch.pk, by)


def retry(batch: TrainingBatch, by: User | None) -> None:
    """Puts a failed or cancelled batch back on the queue, on the same dataset.

    Raises:
        WrongState: it is neither failed nor cancelled, or another one is under way.
    """
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=batch.project_id)
        under_way = unfinished(batch.project).first()
        if under_way is not None:
            raise BatchUnderWay(under_way)
        rows = TrainingBatch.objects.filter(
            pk=batch.pk, state__in=[State.FAILED, State.CANCELLED]
        ).update(
            state=State.QUEUED,
            attempts=F("attempts") + 1,
            heartbeat_at=Now(),
            cancel_requested=False,
            error="",
            step=0,
            total_steps=0,
            finished_at=None,
            started_at=None,
        )
        if not rows:
            raise WrongState(_("Only a failed or cancelled batch can be run again."))
        BatchStep.objects.filter(batch=batch).delete()
        batch.refresh_from_db()
        queueing.put_on_commit(batch.pk, batch.attempts)
    _logger.info("batch %s retried by %s", batch.pk, by)


def start(batch: TrainingBatch, by: User | None) -> None:
    """Puts a batch on the queue unless it is there: a waiting, failed or cancelled one.

    Raises:
        WrongState: it runs or has succeeded.
    """
    if batch.state != State.QUEUED:
        retry(batch, by)
    elif not queueing.is_waiting(batch.pk, batch.attempts):
        sweeping.requeue(batch)
