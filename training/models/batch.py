"""Training batches: one run of one recipe on one dataset, from queued to its end."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from labeling.models import Dataset, Project
from registry.models import Version


class TrainingBatch(models.Model):
    """One training run.

    A worker owns a running batch for as long as its `fence` is the row's and it keeps
    the heartbeat fresh; whoever takes a stale batch over raises the fence, and the
    former owner's next write finds zero rows and stops.
    """

    MAX_PROCESSES = 64

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="batches", verbose_name=_("project")
    )
    preset = models.CharField(_("preset"), max_length=40)
    is_incremental = models.BooleanField(
        _("incremental"),
        default=False,
        db_default=False,
        help_text=_("Trains on new labels and some old ones, not on all of them."),
    )
    recipe = models.JSONField(_("recipe"))
    dataset = models.ForeignKey(
        Dataset, models.RESTRICT, related_name="batches", verbose_name=_("dataset")
    )
    base = models.CharField(
        _("base model"), max_length=300, help_text=_("hub:…, path:… or package:…")
    )
    parent = models.ForeignKey(
        Version,
        models.RESTRICT,
        null=True,
        blank=True,
        related_name="child_batches",
        verbose_name=_("continues"),
        help_text=_("The version whose weights an incremental training starts from."),
    )
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.QUEUED
    )
    fence = models.PositiveBigIntegerField(_("fencing token"), default=0)
    heartbeat_at = models.DateTimeField(_("heartbeat"), null=True, blank=True)
    cancel_requested = models.BooleanField(_("cancel requested"), default=False)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)

    phase = models.CharField(_("phase"), max_length=40, blank=True, default="")
    step = models.PositiveIntegerField(_("step"), default=0)
    total_steps = models.PositiveIntegerField(_("steps"), default=0)
    eta_s = models.FloatField(_("seconds left"), null=True, blank=True)
    with_synthetic = models.BooleanField(
        _("with synthetic questions"),
        default=False,
        help_text=_("Trains on the project's synthetic questions, too."),
    )
    processes = models.PositiveSmallIntegerField(
        _("processes"),
        default=1,
        help_text=_(
            "Training processes on the worker's machine, one a GPU; they share each"
            " step's rows."
        ),
    )
    resources = models.JSONField(
        _("resources used"),
        default=dict,
        help_text=_(
            "{device, cpu_s, wall_s, peak_memory_mb, gpu_peak_memory_mb, processes},"
            " of all attempts together."
        ),
    )
    artifact = models.CharField(
        _("artifact"),
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text=_(
            "Folder in the artifact storage that a run writes, or wrote: whoever ends"
            " the batch without a version deletes it."
        ),
    )
    metrics = models.JSONField(_("metrics"), default=dict)
    log = models.TextField(_("log"), blank=True, default="")
    error = models.TextField(_("error"), blank=True, default="")
    version = models.OneToOneField(
        Version,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="batch",
        verbose_name=_("produced version"),
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("training batch")
        verbose_name_plural = _("training batches")
        constraints = [
            models.CheckConstraint(
                name="batch_state_known",
                condition=Q(
                    state__in=["queued", "running", "succeeded", "failed", "cancelled"]
                ),
            ),
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(state="running"),
                name="batch_one_running_a_project",
            ),
            models.CheckConstraint(
                name="batch_success_has_an_end",
                condition=~Q(state="succeeded") | Q(finished_at__isnull=False),
            ),
            models.CheckConstraint(
                name="batch_processes_1_to_64", condition=Q(processes__range=(1, 64))
            ),
        ]
        indexes = [
            models.Index(
                fields=["heartbeat_at"],
                condition=Q(state="running"),
                name="batch_running",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project} #{self.pk}"


class BatchStep(models.Model):
    """One point of a batch's curves."""

    batch = models.ForeignKey(
        TrainingBatch, models.CASCADE, related_name="steps", verbose_name=_("batch")
    )
    step = models.PositiveIntegerField(_("step"))
    epoch = models.FloatField(_("epoch"))
    loss = models.FloatField(_("loss"), null=True)
    macro_f1 = models.FloatField(_("macro-F1 on validation"), null=True)
    created_at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        ordering = ["step"]
        verbose_name = _("training step")
        verbose_name_plural = _("training steps")
        constraints = [
            models.UniqueConstraint(fields=["batch", "step"], name="batch_step_once"),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id}@{self.step}"
