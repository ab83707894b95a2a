"""Every classification that was answered, and what clients said of it."""

import uuid

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from labeling.models import ApiKey, Intent, Project, Question


class ClassificationLog(models.Model):
    """One answered text. Append-only: a trigger refuses updates."""

    request_id = models.UUIDField(_("request id"), unique=True, default=uuid.uuid4)
    project = models.ForeignKey(
        Project,
        models.CASCADE,
        related_name="classifications",
        verbose_name=_("project"),
    )
    question = models.ForeignKey(
        Question,
        models.SET_NULL,
        null=True,
        related_name="classifications",
        verbose_name=_("question"),
        db_constraint=False,  # append-only: a deleted question must not update this
    )
    text = models.TextField(_("text"))
    intents = models.JSONField(
        _("intents"), help_text=_("[{code, confidence, sources}], best first.")
    )
    confidence = models.FloatField(_("confidence"))
    method = models.CharField(_("method"), max_length=16)
    version = models.CharField(_("version"), max_length=20, blank=True, default="")
    needs_review = models.BooleanField(_("needs review"))
    degraded = models.BooleanField(
        _("degraded"),
        default=False,
        help_text=_("The active version could not answer; rules alone did."),
    )
    truncated = models.BooleanField(
        _("cut"),
        default=False,
        help_text=_("The text was longer than what the model reads."),
    )
    latency_ms = models.FloatField(_("latency in ms"))
    scores = models.JSONField(
        _("raw scores"),
        null=True,
        help_text=_(
            "{model: {code: probability}, rules: {code: boost}}, before weights and"
            " thresholds; empty where a gold label answered."
        ),
    )
    client = models.ForeignKey(
        ApiKey,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("client"),
        db_constraint=False,
    )
    # Not auto_now_add: an entry written later keeps the moment of its answer.
    created_at = models.DateTimeField(_("at"), default=timezone.now)

    class Meta:
        verbose_name = _("classification")
        verbose_name_plural = _("classification log")
        indexes = [
            models.Index(fields=["project", "-created_at"], name="log_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id}: {self.text[:60]}"


class Feedback(models.Model):
    """A client's word on an answer."""

    class Verdict(models.TextChoices):
        RIGHT = "right", _("Right")
        WRONG = "wrong", _("Wrong")

    log = models.OneToOneField(
        ClassificationLog,
        models.CASCADE,
        related_name="feedback",
        verbose_name=_("classification"),
    )
    verdict = models.CharField(_("verdict"), max_length=8, choices=Verdict.choices)
    intent = models.ForeignKey(
        Intent,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("right intent"),
    )
    created_at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")
        constraints = [
            models.CheckConstraint(
                name="feedback_verdict_known",
                condition=models.Q(verdict__in=["right", "wrong"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.log_id}: {self.verdict}"
