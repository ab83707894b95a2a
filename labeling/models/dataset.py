"""Datasets: immutable snapshots of labels; a training batch uses exactly one."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from labeling.models.project import Project


class Dataset(models.Model):
    """What was known at one moment: the label set and the labelled questions."""

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="datasets", verbose_name=_("project")
    )
    digest = models.CharField(
        _("digest"), max_length=64, help_text=_("SHA-256 over label set and items.")
    )
    label_set = models.JSONField(_("label set"), help_text=_("Intent codes, in order."))
    train_count = models.PositiveIntegerField(_("train questions"))
    validation_count = models.PositiveIntegerField(_("validation questions"))
    synthetic_count = models.PositiveIntegerField(
        _("synthetic"),
        default=0,
        db_default=0,
        help_text=_("How many of the train questions nobody asked."),
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("dataset")
        verbose_name_plural = _("datasets")

    def __str__(self) -> str:
        return f"{self.project} · {self.digest[:12]}"


class DatasetItem(models.Model):
    """One labelled question as it was when the dataset was frozen.

    The check below and a trigger (migration `guards`) keep test questions out, whatever
    the code above them does.
    """

    class Split(models.TextChoices):
        TRAIN = "train", _("Train")
        VALIDATION = "validation", _("Validation")

    dataset = models.ForeignKey(
        Dataset, models.CASCADE, related_name="items", verbose_name=_("dataset")
    )
    question = models.ForeignKey(
        "labeling.Question",
        models.RESTRICT,  # goes with its project, never alone
        null=True,
        related_name="dataset_items",
        verbose_name=_("question"),
        help_text=_("Empty for a synthetic one."),
    )
    text = models.TextField(_("text"))
    codes = models.JSONField(_("intents"), help_text=_("Intent codes."))
    split = models.CharField(_("split"), max_length=10, choices=Split.choices)
    is_new = models.BooleanField(
        _("new"),
        default=True,
        help_text=_("No earlier version has learned this label."),
    )

    class Meta:
        verbose_name = _("dataset item")
        verbose_name_plural = _("dataset items")
        constraints = [
            models.UniqueConstraint(
                fields=["dataset", "question"], name="dataset_item_once"
            ),
            models.CheckConstraint(
                name="dataset_item_never_test",
                condition=Q(split__in=["train", "validation"]),
            ),
            # Nobody asked it: it may teach, but must not choose or measure.
            models.CheckConstraint(
                name="dataset_item_synthetic_only_trains",
                condition=Q(question__isnull=False) | Q(split="train"),
            ),
        ]

    def __str__(self) -> str:
        return self.text[:80]
