"""Data growth: templates with slots, and the synthetic questions that come of them."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from labeling.models.intent import Intent
from labeling.models.project import Project


class Slot(models.Model):
    """A name that templates hold in braces, and what may stand in its place."""

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="slots", verbose_name=_("project")
    )
    name = models.SlugField(
        _("name"),
        max_length=40,
        allow_unicode=True,
        help_text=_("Stands in templates in braces: {name}."),
    )
    values = models.TextField(_("values"), help_text=_("One a line."))

    class Meta:
        ordering = ["name"]
        verbose_name = _("slot")
        verbose_name_plural = _("slots")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], name="slot_name_unique_in_project"
            ),
        ]

    def __str__(self) -> str:
        return f"{{{self.name}}}"


class Template(models.Model):
    """A sentence of one intent, with slots in braces."""

    intent = models.ForeignKey(
        Intent, models.CASCADE, related_name="templates", verbose_name=_("intent")
    )
    text = models.CharField(
        _("template"),
        max_length=500,
        help_text=_("A question with slots in braces, such as: order {count} {dish}."),
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ["intent", "id"]
        verbose_name = _("template")
        verbose_name_plural = _("templates")
        constraints = [
            models.UniqueConstraint(
                fields=["intent", "text"], name="template_once_an_intent"
            ),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class SyntheticQuestion(models.Model):
    """A question that nobody asked: it may teach a version, and never tests one.

    It stands apart from the questions of users, so that no queue, count, rule or test
    split can meet it; datasets take it in only where a batch asks for it.
    """

    class Origin(models.TextChoices):
        TEMPLATE = "template", _("Template")
        PARAPHRASE = "paraphrase", _("Paraphrase by a language model")

    project = models.ForeignKey(
        Project,
        models.CASCADE,
        related_name="synthetic_questions",
        verbose_name=_("project"),
    )
    intent = models.ForeignKey(
        Intent,
        models.CASCADE,
        related_name="synthetic_questions",
        verbose_name=_("intent"),
    )
    text = models.TextField(_("text"))
    text_hash = models.CharField(_("hash"), max_length=64)
    origin = models.CharField(_("origin"), max_length=12, choices=Origin.choices)
    template = models.ForeignKey(
        Template,
        models.CASCADE,
        null=True,
        related_name="made",
        verbose_name=_("template"),
    )
    source = models.ForeignKey(
        "labeling.Question",
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("paraphrase of"),
    )
    is_used = models.BooleanField(
        _("used"), default=True, help_text=_("Taken into datasets that ask for these.")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("synthetic question")
        verbose_name_plural = _("synthetic questions")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "text_hash"], name="synthetic_text_unique_in_project"
            ),
            models.CheckConstraint(
                name="synthetic_origin_known",
                condition=Q(origin__in=["template", "paraphrase"]),
            ),
        ]
        indexes = [
            models.Index(fields=["project", "intent", "id"], name="synthetic_intent"),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class Paraphrasing(models.Model):
    """Questions that a language model is asked to say in other words.

    It keeps which ones left this house, to whom, and who wanted it.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="paraphrasings", verbose_name=_("project")
    )
    server = models.CharField(_("server"), max_length=200)
    model = models.CharField(_("language model"), max_length=200)
    per_question = models.PositiveSmallIntegerField(_("paraphrases a question"))
    questions = models.JSONField(
        _("questions"), help_text=_("Ids of those that are sent, in this order.")
    )
    sent = models.PositiveIntegerField(_("questions sent"), default=0)
    made = models.PositiveIntegerField(_("made"), default=0)
    left_out = models.JSONField(
        _("left out"), default=dict, help_text=_("How many, by the reason.")
    )
    language = models.CharField(
        _("language"), max_length=20, help_text=_("In which errors are written.")
    )
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=1)
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.QUEUED
    )
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
        verbose_name = _("paraphrasing")
        verbose_name_plural = _("paraphrasings")
        constraints = [
            models.CheckConstraint(
                name="paraphrasing_state_known",
                condition=Q(
                    state__in=[
                        *("queued", "running", "succeeded"),
                        *("failed", "cancelled"),
                    ]
                ),
            ),
            # Two that run at once would ask for the same, and pay for it twice.
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(state__in=["queued", "running"]),
                name="paraphrasing_one_under_way",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} · {self.pk}"
