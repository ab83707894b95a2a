"""Searches for likely label errors: when, over what, and what came of them."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from labeling.models.project import Project


class LabelCheck(models.Model):
    """One search for likely label errors; the newest of a project is on its page."""

    class Refusal(models.TextChoices):
        FEW_LABELS = "few_labels", _("Too few labels")
        FEW_INTENTS = "few_intents", _("Fewer than two intents with enough labels")
        FAILED = "failed", _("It broke off; the worker's log says why")

    class Features(models.TextChoices):
        VECTORS = "vectors", _("Vectors of the encoder")
        TEXTS = "texts", _("Words and characters")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="label_checks", verbose_name=_("project")
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )
    asked_at = models.DateTimeField(_("asked"), auto_now_add=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    examined = models.PositiveIntegerField(_("labels examined"), default=0)
    found = models.PositiveIntegerField(_("likely errors"), default=0)
    left_out = models.JSONField(
        _("intents left out"),
        default=list,
        help_text=_("Codes of intents with too few labels to judge them."),
    )
    features = models.CharField(
        _("judged by"), max_length=8, choices=Features.choices, blank=True, default=""
    )
    refusal = models.CharField(
        _("why not"), max_length=12, choices=Refusal.choices, blank=True, default=""
    )

    class Meta:
        verbose_name = _("search for label errors")
        verbose_name_plural = _("searches for label errors")
        indexes = [models.Index(fields=["project", "-id"], name="label_check_newest")]

    def __str__(self) -> str:
        return f"{self.project}: {self.found} / {self.examined}"
