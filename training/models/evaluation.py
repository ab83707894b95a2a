"""Evaluations that somebody asked for: from the request to the measurement."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from registry.models import Evaluation, Version


class EvaluationRun(models.Model):
    """One evaluation that a worker runs.

    The row says all about it: the queue knows only its id, and a worker that died
    leaves `beat_at` behind, by which the sweep finds it.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")

    version = models.ForeignKey(
        Version,
        models.CASCADE,
        related_name="evaluation_runs",
        verbose_name=_("version"),
    )
    kind = models.CharField(
        _("measured on"), max_length=8, choices=Evaluation.Kind.choices
    )
    source = models.CharField(
        _("source"),
        max_length=200,
        blank=True,
        default="",
        help_text=_("Name of the file, if it is one."),
    )
    stored_as = models.CharField(
        _("stored as"),
        max_length=200,
        blank=True,
        default="",
        help_text=_("In the file storage, until the evaluation has ended."),
    )
    size = models.PositiveBigIntegerField(_("size in bytes"), default=0)
    encoding = models.CharField(_("encoding"), max_length=10, default="utf-8")
    state = models.CharField(
        _("state"), max_length=8, choices=State.choices, default=State.QUEUED
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    beat_at = models.DateTimeField(_("sign of life"), null=True, blank=True)
    language = models.CharField(
        _("language"),
        max_length=10,
        blank=True,
        default="",
        help_text=_("Of whoever asked for it; errors are written in it."),
    )
    error = models.TextField(_("error"), blank=True, default="")
    evaluation = models.OneToOneField(
        Evaluation,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="run",
        verbose_name=_("evaluation"),
    )
    by = models.ForeignKey(
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
        verbose_name = _("evaluation run")
        verbose_name_plural = _("evaluation runs")
        constraints = [
            models.CheckConstraint(
                name="evaluation_run_state_known",
                condition=Q(state__in=["queued", "running", "done", "failed"]),
            ),
            models.CheckConstraint(
                name="evaluation_run_kind_known",
                condition=Q(kind__in=["test", "file", "audit"]),
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(state__in=["queued", "running"]),
                name="evaluation_run_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} #{self.pk}"
