"""Intents: what a question asks for; old codes stay known as aliases."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from labeling.models.project import Project


class Intent(models.Model):
    """An intent with a stable id; clients see its code."""

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="intents", verbose_name=_("project")
    )
    code = models.CharField(
        _("code"), max_length=100, help_text=_("What client apps receive.")
    )
    name = models.CharField(_("name"), max_length=120, blank=True)
    description = models.TextField(
        _("description"), blank=True, help_text=_("One sentence for annotators.")
    )
    guidelines = models.TextField(
        _("guidelines"),
        blank=True,
        default="",
        help_text=_("Markdown: when it applies, when not, with examples."),
    )
    need = models.FloatField(
        _("need"),
        default=1.0,
        db_default=1.0,
        editable=False,
        help_text=_("Factor of the priority: above 1 where labels are few."),
    )
    parent = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="children",
        verbose_name=_("parent"),
    )
    is_fallback = models.BooleanField(
        _("fallback"),
        default=False,
        help_text=_("The none / out-of-scope intent; at most one a project."),
    )
    retired_at = models.DateTimeField(_("retired"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ["project", "code"]
        verbose_name = _("intent")
        verbose_name_plural = _("intents")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "code"], name="intent_code_unique_in_project"
            ),
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(is_fallback=True),
                name="intent_one_fallback_a_project",
            ),
            models.CheckConstraint(name="intent_code_not_empty", condition=~Q(code="")),
        ]

    def __str__(self) -> str:
        return self.code


class IntentAlias(models.Model):
    """An old code of an intent; client apps may go on sending it."""

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="aliases", verbose_name=_("project")
    )
    code = models.CharField(_("old code"), max_length=100)
    intent = models.ForeignKey(
        Intent, models.CASCADE, related_name="aliases", verbose_name=_("intent")
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("intent alias")
        verbose_name_plural = _("intent aliases")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "code"], name="alias_code_unique_in_project"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} → {self.intent}"
