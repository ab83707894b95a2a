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
