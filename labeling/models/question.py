"""Questions: the distinct texts of a project, and their gold labels."""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from pgvector.django import VectorField

from labeling.models.intent import Intent
from labeling.models.project import Project
from labeling.querysets import QuestionQuerySet

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager


class Question(models.Model):
    """A distinct text of a project, however often it was asked."""

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        LABELLED = "labelled", _("Labelled")
        SKIPPED = "skipped", _("Skipped")
        DISPUTED = "disputed", _("Disputed")

    class Split(models.TextChoices):
        TRAIN = "train", _("Train")
        VALIDATION = "validation", _("Validation")
        TEST = "test", _("Test")

    class Origin(models.TextChoices):
        IMPORTED = "imported", _("Imported")
        ASKED = "asked", _("Asked")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="questions", verbose_name=_("project")
    )
    text = models.TextField(_("text"))
    text_hash = models.CharField(
        _("text hash"),
        max_length=32,
        editable=False,
        help_text=_("Hex BLAKE2b-128 of the normalised text."),
    )
    occurrences = models.PositiveIntegerField(_("asked"), default=0)
    first_seen = models.DateTimeField(_("first seen"))
    last_seen = models.DateTimeField(_("last seen"))
    origin = models.CharField(
        _("origin"), max_length=10, choices=Origin.choices, default=Origin.IMPORTED
    )
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.OPEN
    )
    split = models.CharField(
        _("split"),
        max_length=10,
        choices=Split.choices,
        help_text=_("Decided by the text's hash; a test question stays one."),
    )

    gold = models.ManyToManyField(
        Intent,
        through="GoldLabel",
        related_name="gold_questions",
        verbose_name=_("gold intents"),
    )
    labelled_at = models.DateTimeField(_("labelled"), null=True, blank=True)
    trained_in = models.CharField(
        _("trained in"),
        max_length=20,
        blank=True,
        default="",
        help_text=_("Number of the last version that learned this label."),
    )

    predicted = models.JSONField(
        _("predicted"),
        null=True,
        blank=True,
        help_text=_("Latest answer: [{code, confidence}], best first."),
    )
    confidence = models.FloatField(_("confidence"), null=True, blank=True)
    margin = models.FloatField(_("margin"), null=True, blank=True)
    method = models.CharField(_("method"), max_length=16, blank=True, default="")
    predicted_by = models.CharField(_("version"), max_length=20, blank=True, default="")
    priority = models.FloatField(_("priority"), default=1.0)
    embedding = VectorField(null=True, blank=True, editable=False)

    objects = QuestionQuerySet.as_manager()

    if TYPE_CHECKING:
        gold_labels: RelatedManager["GoldLabel"]

    class Meta:
        verbose_name = _("question")
        verbose_name_plural = _("questions")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "text_hash"], name="question_text_unique_in_project"
            ),
            models.CheckConstraint(
                name="question_state_known",
                condition=Q(state__in=["open", "labelled", "skipped", "disputed"]),
            ),
            models.CheckConstraint(
                name="question_split_known",
                condition=Q(split__in=["train", "validation", "test"]),
            ),
            models.CheckConstraint(
                name="question_confidence_0_to_1",
                condition=Q(confidence__isnull=True) | Q(confidence__range=(0, 1)),
            ),
        ]
        indexes = [
            # The claim walks this index from its start; nothing is sorted.
            models.Index(
                fields=["project", "-priority", "id"],
                condition=Q(state="open"),
                name="question_queue",
            ),
            models.Index(fields=["project", "state", "-id"], name="question_by_state"),
            models.Index(
                fields=["project", "split"],
                condition=Q(state="labelled"),
                name="question_labelled_split",
            ),
            # Counts "labels until the next training" without touching the rest.
            models.Index(
                fields=["project"],
                condition=Q(state="labelled", trained_in=""),
                name="question_not_yet_trained",
            ),
            models.Index(fields=["project", "confidence"], name="question_confidence"),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class GoldLabel(models.Model):
    """One gold intent of a question: what training and exact answers go by."""

    class Source(models.TextChoices):
        IMPORT = "import", _("Import")
        ANNOTATION = "annotation", _("Annotation")
        ADJUDICATION = "adjudication", _("Adjudication")

    question = models.ForeignKey(
        Question, models.CASCADE, related_name="gold_labels", verbose_name=_("question")
    )
    intent = models.ForeignKey(
        Intent, models.PROTECT, related_name="gold_labels", verbose_name=_("intent")
    )
    source = models.CharField(_("source"), max_length=12, choices=Source.choices)
    set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )
    set_at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("gold label")
        verbose_name_plural = _("gold labels")
        constraints = [
            models.UniqueConstraint(
                fields=["question", "intent"], name="gold_label_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.question_id} → {self.intent}"
