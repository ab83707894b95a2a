"""How labels came to be what they are, and what was done in bulk."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from labeling.models.project import Project
from labeling.models.question import Question


class BulkAction(models.Model):
    """Many questions labelled in one step, which can be taken back in one step."""

    class Kind(models.TextChoices):
        CLUSTER = "cluster", _("Near-duplicates")
        SELECTION = "selection", _("Selection")
        FILTER = "filter", _("Filter")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="bulk_actions", verbose_name=_("project")
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    codes = models.JSONField(_("intents"), help_text=_("Codes that were set."))
    description = models.TextField(
        _("description"), blank=True, help_text=_("What was chosen, in words.")
    )
    count = models.PositiveIntegerField(_("questions"), default=0)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("at"), auto_now_add=True)
    undone_at = models.DateTimeField(_("undone"), null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("undone by"),
    )

    class Meta:
        ordering = ["-id"]
        verbose_name = _("bulk action")
        verbose_name_plural = _("bulk actions")
        indexes = [
            models.Index(fields=["project", "by", "-id"], name="bulk_action_by_person")
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} · {', '.join(self.codes)} · {self.count}"


class LabelChange(models.Model):
    """One change of a question's gold label: append-only, also for the database.

    A label that came with an import is the start of a history and leaves no row here;
    the first change of it says in `before` what it was, whose and since when.
    """

    class Kind(models.TextChoices):
        ANNOTATION = "annotation", _("Annotation")
        ADJUDICATION = "adjudication", _("Adjudication")
        BULK = "bulk", _("Bulk action")
        UNDO = "undo", _("Undone")
        MERGE = "merge", _("Intents merged")
        SPLIT = "split", _("Intent split")

    class Reason(models.TextChoices):
        GUIDELINE_GAP = "guideline_gap", _("Gap in the guidelines")
        AMBIGUOUS = "ambiguous", _("Ambiguous question")
        SLIP = "slip", _("Slip")

    question = models.ForeignKey(
        Question, models.CASCADE, related_name="changes", verbose_name=_("question")
    )
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    before = models.JSONField(
        _("before"),
        null=True,
        blank=True,
        help_text=_("{state, codes, source, by, at}; empty if it had no label."),
    )
    after = models.JSONField(
        _("after"), null=True, blank=True, help_text=_("Codes; empty if it lost them.")
    )
    reason = models.CharField(
        _("reason for the error"),
        max_length=16,
        choices=Reason.choices,
        blank=True,
        default="",
    )
    comment = models.TextField(_("comment"), blank=True, default="")
    bulk = models.ForeignKey(
        BulkAction,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="changes",
        verbose_name=_("bulk action"),
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )
    at = models.DateTimeField(_("at"))

    class Meta:
        ordering = ["-id"]
        verbose_name = _("label change")
        verbose_name_plural = _("label history")
        constraints = [
            models.CheckConstraint(
                name="label_change_kind_known",
                condition=Q(
                    kind__in=[
                        *("annotation", "adjudication", "bulk"),
                        *("undo", "merge", "split"),
                    ]
                ),
            ),
            models.CheckConstraint(
                name="label_change_reason_known",
                condition=Q(reason__in=["", "guideline_gap", "ambiguous", "slip"]),
            ),
        ]
        indexes = [
            models.Index(fields=["question", "-id"], name="label_change_of_question"),
            # Reviewers' reasons are counted; among a million changes they are few.
            models.Index(
                fields=["-id"],
                condition=Q(kind="adjudication"),
                name="label_change_adjudications",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.question_id}: {self.before} → {self.after}"
