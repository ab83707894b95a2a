"""Imports and exports that a worker runs."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from labeling.models.project import Project


class Transfer(models.Model):
    """An import or export of questions: its file, how far it is, what came of it."""

    class Kind(models.TextChoices):
        IMPORT = "import", _("Import")
        EXPORT = "export", _("Export")

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="transfers", verbose_name=_("project")
    )
    kind = models.CharField(_("kind"), max_length=6, choices=Kind.choices)
    format = models.CharField(
        _("format"), max_length=16, help_text=_("A name that `formats` knows.")
    )
    options = models.JSONField(
        _("options"), default=dict, help_text=_("Import: how; export: which questions.")
    )
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.QUEUED
    )
    stored_as = models.CharField(
        _("stored as"), max_length=200, blank=True, help_text=_("In the file storage.")
    )
    file_name = models.CharField(_("file"), max_length=200, blank=True)
    size = models.PositiveBigIntegerField(_("bytes"), default=0)
    done = models.PositiveBigIntegerField(
        _("done"), default=0, help_text=_("Import: bytes read; export: rows written.")
    )
    total = models.PositiveBigIntegerField(_("of"), default=0)
    report = models.JSONField(_("report"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    beat_at = models.DateTimeField(
        _("last sign of life"), null=True, blank=True, editable=False
    )
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("import or export")
        verbose_name_plural = _("imports and exports")
        constraints = [
            models.CheckConstraint(
                name="transfer_kind_known", condition=Q(kind__in=["import", "export"])
            ),
            models.CheckConstraint(
                name="transfer_state_known",
                condition=Q(
                    state__in=[
                        *("queued", "running", "succeeded"),
                        *("failed", "cancelled"),
                    ]
                ),
            ),
        ]
        indexes = [
            models.Index(
                fields=["state"],
                condition=Q(state__in=["queued", "running"]),
                name="transfer_under_way",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} · {self.file_name}"
