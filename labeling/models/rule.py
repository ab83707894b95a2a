"""Keyword rules: mined from labels or written by hand, live once approved."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from labeling.models.intent import Intent
from labeling.models.project import Project


class KeywordRule(models.Model):
    """A keyword that speaks for an intent."""

    class State(models.TextChoices):
        CANDIDATE = "candidate", _("Candidate")
        ACTIVE = "active", _("Active")
        DISABLED = "disabled", _("Disabled")

    class Origin(models.TextChoices):
        MINED = "mined", _("Mined")
        MANUAL = "manual", _("Manual")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="rules", verbose_name=_("project")
    )
    pattern = models.CharField(
        _("keyword"),
        max_length=100,
        help_text=_("Compared with the normalised text, anywhere in it."),
    )
    intent = models.ForeignKey(
        Intent, models.CASCADE, related_name="rules", verbose_name=_("intent")
    )
    support = models.PositiveIntegerField(
        _("support"), default=0, help_text=_("Labelled questions that hold it.")
    )
    success_rate = models.FloatField(
        _("success rate"),
        null=True,
        blank=True,
        help_text=_("Share of those that have this intent."),
    )
    success_low = models.FloatField(
        _("lower bound"),
        null=True,
        blank=True,
        help_text=_("Lower end of the success rate's 95 % Wilson interval."),
    )
    boost = models.FloatField(
        _("confidence"),
        default=0.9,
        help_text=_("The rule's own confidence in its intent, 0 to 1."),
    )
    hits = models.PositiveBigIntegerField(_("hits"), default=0)
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.CANDIDATE
    )
    origin = models.CharField(
        _("origin"), max_length=8, choices=Origin.choices, default=Origin.MANUAL
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("decided by"),
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ["-success_low", "-support"]
        verbose_name = _("keyword rule")
        verbose_name_plural = _("keyword rules")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "pattern", "intent"], name="rule_once"
            ),
            models.CheckConstraint(
                name="rule_pattern_not_empty", condition=~Q(pattern="")
            ),
            models.CheckConstraint(
                name="rule_boost_0_to_1", condition=Q(boost__range=(0, 1))
            ),
            models.CheckConstraint(
                name="rule_state_known",
                condition=Q(state__in=["candidate", "active", "disabled"]),
            ),
        ]
        indexes = [models.Index(fields=["project", "state"], name="rule_by_state")]

    def __str__(self) -> str:
        return f"{self.pattern} → {self.intent}"
