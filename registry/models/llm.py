"""What the language model was asked for, and what it answered."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from labeling.models import Project


class LlmDay(models.Model):
    """One project's calls to the language model on one day (UTC); also its budget."""

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="llm_days", verbose_name=_("project")
    )
    day = models.DateField(_("day"))
    calls = models.PositiveIntegerField(
        _("calls"), default=0, help_text=_("Begun; the budget bounds them.")
    )
    answered = models.PositiveIntegerField(_("answered"), default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    cached = models.PositiveIntegerField(_("answered from memory"), default=0)
    tokens_in = models.PositiveBigIntegerField(_("tokens read"), default=0)
    tokens_out = models.PositiveBigIntegerField(_("tokens written"), default=0)
    cost = models.FloatField(_("cost"), default=0.0)

    class Meta:
        ordering = ["-day"]
        verbose_name = _("day of the language model")
        verbose_name_plural = _("days of the language model")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "day"], name="llm_day_once_a_project"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project} {self.day}: {self.calls}"


class LlmAnswer(models.Model):
    """An answer that need not be asked for again."""

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="+", verbose_name=_("project")
    )
    key = models.CharField(
        _("key"),
        max_length=64,
        help_text=_("SHA-256 of everything that was sent."),
    )
    codes = models.JSONField(_("codes"))
    created_at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        verbose_name = _("answer of the language model")
        verbose_name_plural = _("answers of the language model")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "key"], name="llm_answer_once_a_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key[:12]}: {self.codes}"
