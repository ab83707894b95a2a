"""Questions: the distinct texts of a project, and their gold labels."""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.fields.json import KT
from django.utils.translation import gettext_lazy as _
from pgvector.django import HalfVectorField, HnswIndex

from labeling.models.intent import Intent
from labeling.models.project import Project
from labeling.querysets import QuestionQuerySet

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager


_IN_QUEUE = Q(state="open") & ~Q(split="test")


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
    trace = models.JSONField(
        _("decision trace"),
        null=True,
        blank=True,
        help_text=_(
            "What each side said to the latest answer: {model: [{code, confidence}],"
            " rules: [{code, pattern, confidence}], llm: code}."
        ),
    )
    is_conflict = models.BooleanField(
        _("rules against model"),
        default=False,
        db_default=False,
        help_text=_("The best rule and the model named different intents."),
    )
    priority = models.FloatField(_("priority"), default=1.0)
    diversity = models.FloatField(
        _("diversity"),
        # Of a question that was not compared yet: labeling.ranking.priority.UNRANKED.
        default=0.1,
        db_default=0.1,
        help_text=_("Factor of the priority, 0 to 1: low where others say the same."),
    )
    cluster = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        related_name="near_duplicates",
        verbose_name=_("near-duplicate of"),
    )
    suspicion = models.FloatField(
        _("suspicion"),
        null=True,
        blank=True,
        help_text=_("How likely the gold label is wrong, 0 to 1; empty if not so."),
    )
    broken_by = models.PositiveIntegerField(
        _("broken by"),
        null=True,
        blank=True,
        help_text=_(
            "Number of the version that answered this test question wrongly where the"
            " active one was right; empty if there is none, or a reviewer looked."
        ),
    )

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
            # Each queue walks one of these from its start; nothing is sorted. Test
            # questions stand in the audit's alone: they are labelled blind, in an order
            # that has nothing to do with what they say.
            models.Index(
                fields=["project", "-priority", "id"],
                condition=_IN_QUEUE,
                name="question_queue",
            ),
            models.Index(
                fields=["project", "confidence", "id"],
                condition=_IN_QUEUE,
                name="question_unsure",
            ),
            models.Index(
                fields=["project", "-priority", "id"],
                condition=_IN_QUEUE & Q(is_conflict=True),
                name="question_conflict",
            ),
            models.Index(
                "project",
                KT("predicted__0__code"),
                KT("predicted__1__code"),
                condition=_IN_QUEUE,
                name="question_pair",
            ),
            models.Index(
                fields=["project", "text_hash"],
                condition=Q(state="open", split="test"),
                name="question_audit",
            ),
            models.Index(
                fields=["project", "-priority", "id"],
                condition=Q(state="disputed"),
                name="question_disputed",
            ),
            models.Index(
                fields=["project", "-broken_by", "id"],
                condition=Q(state="labelled", broken_by__isnull=False),
                name="question_broken",
            ),
            models.Index(
                fields=["project", "-suspicion", "id"],
                condition=Q(state="labelled", suspicion__isnull=False),
                name="question_suspect",
            ),
            models.Index(
                fields=["cluster"],
                condition=Q(cluster__isnull=False),
                name="question_cluster",
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
            # Since when labels count as new: the last one that a version learned.
            models.Index(
                fields=["project", "-labelled_at"],
                condition=Q(state="labelled") & ~Q(trained_in=""),
                name="question_last_trained",
            ),
            models.Index(fields=["project", "confidence"], name="question_confidence"),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class Embedding(models.Model):
    """Where a question lies among the others: a unit vector of the encoder.

    A table of its own, because a question's row is written with each answer, and each
    write of an indexed vector costs a walk through its index.
    """

    DIMENSIONS = 384

    question = models.OneToOneField(
        Question,
        models.CASCADE,
        primary_key=True,
        related_name="embedding",
        verbose_name=_("question"),
    )
    project = models.ForeignKey(
        Project, models.CASCADE, related_name="+", verbose_name=_("project")
    )
    vector = HalfVectorField(dimensions=DIMENSIONS)
    is_labelled = models.BooleanField(
        _("labelled"),
        default=False,
        help_text=_("Kept equal to the question's state by whoever writes its gold."),
    )

    class Meta:
        verbose_name = _("embedding")
        verbose_name_plural = _("embeddings")
        # Two graphs without overlap: a label takes a walk through one of them.
        indexes = [
            HnswIndex(
                fields=["vector"],
                opclasses=["halfvec_cosine_ops"],
                m=16,
                ef_construction=64,
                condition=Q(is_labelled=False),
                name="embedding_nearest_unlabelled",
            ),
            HnswIndex(
                fields=["vector"],
                opclasses=["halfvec_cosine_ops"],
                m=16,
                ef_construction=64,
                condition=Q(is_labelled=True),
                name="embedding_nearest_labelled",
            ),
        ]

    def __str__(self) -> str:
        return str(self.question_id)


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
