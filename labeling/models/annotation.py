"""Annotations, one annotator's verdicts; leases, who holds which question."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from labeling.models.history import BulkAction
from labeling.models.intent import Intent
from labeling.models.question import Question


class Queue(models.TextChoices):
    """What the queue hands out next; a lease and a verdict say which it came from."""

    PRIORITY = "priority", _("Priority")
    UNSURE = "unsure", _("Low confidence")
    NEWEST = "newest", _("Newest")
    PAIR = "pair", _("A or B?")
    INTENT = "intent", _("One intent")
    CONFLICT = "conflict", _("Rules against model")
    AUDIT = "audit", _("Random audit")
    DISPUTED = "disputed", _("Disputed")
    SUSPECT = "suspect", _("Likely label errors")
    BROKEN = "broken", _("Broken by a version")


class Annotation(models.Model):
    """One annotator's verdict on one question."""

    class Verdict(models.TextChoices):
        LABEL = "label", _("Labelled")
        SKIP = "skip", _("Skipped")

    question = models.ForeignKey(
        Question, models.CASCADE, related_name="annotations", verbose_name=_("question")
    )
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="annotations",
        verbose_name=_("annotator"),
    )
    verdict = models.CharField(_("verdict"), max_length=8, choices=Verdict.choices)
    intents = models.ManyToManyField(
        Intent, related_name="annotations", blank=True, verbose_name=_("intents")
    )
    comment = models.TextField(_("comment"), blank=True, default="")
    time_spent_ms = models.PositiveIntegerField(_("time spent in ms"), null=True)
    queue = models.CharField(
        _("queue"),
        max_length=10,
        choices=Queue.choices,
        blank=True,
        default="",
        db_default="",
    )
    is_blind = models.BooleanField(
        _("blind"),
        default=False,
        db_default=False,
        help_text=_("No suggestion was shown."),
    )
    suggested = models.CharField(
        _("suggested"),
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text=_("Code of the best suggestion at that time, shown or not."),
    )
    suggested_by = models.CharField(
        _("version"), max_length=20, blank=True, default="", db_default=""
    )
    bulk = models.ForeignKey(
        BulkAction,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="annotations",
        verbose_name=_("bulk action"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("annotation")
        verbose_name_plural = _("annotations")
        constraints = [
            models.UniqueConstraint(
                fields=["question", "annotator"], name="annotation_one_a_person"
            ),
            models.CheckConstraint(
                name="annotation_verdict_known",
                condition=Q(verdict__in=["label", "skip"]),
            ),
        ]
        indexes = [
            models.Index(
                fields=["annotator", "-updated_at"], name="annotation_by_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.annotator} on {self.question_id}: {self.verdict}"


class Lease(models.Model):
    """Who holds a question until when.

    A question has `overlap` slots; the unique constraint on (question, slot) is what
    keeps two annotators apart. The token grows with each claim: a submit with an older
    token is refused. An answered slot stays taken, without expiry, until the question
    is settled: so never more people are asked than the overlap says.
    """

    question = models.ForeignKey(
        Question, models.CASCADE, related_name="leases", verbose_name=_("question")
    )
    slot = models.PositiveSmallIntegerField(
        pgettext_lazy("of a lease", "slot"), default=0
    )
    holder = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="leases",
        verbose_name=_("held by"),
    )
    token = models.BigIntegerField(_("fencing token"), unique=True)
    queue = models.CharField(
        _("queue"),
        max_length=10,
        choices=Queue.choices,
        default=Queue.PRIORITY,
        db_default=Queue.PRIORITY,
    )
    is_returned = models.BooleanField(
        _("returned"),
        default=False,
        db_default=False,
        help_text=_("Handed back by an undo; it comes before what was held already."),
    )
    claimed_at = models.DateTimeField(_("claimed"))
    expires_at = models.DateTimeField(
        _("expires"),
        db_index=True,
        null=True,
        blank=True,
        help_text=_("Empty once answered; the slot waits for the other annotators."),
    )

    class Meta:
        verbose_name = _("lease")
        verbose_name_plural = _("leases")
        constraints = [
            models.UniqueConstraint(
                fields=["question", "slot"], name="lease_one_a_slot"
            ),
            models.UniqueConstraint(
                fields=["question", "holder"], name="lease_one_a_person"
            ),
            models.CheckConstraint(
                name="lease_slot_0_to_4", condition=Q(slot__range=(0, 4))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.question_id}/{self.slot} held by {self.holder}"
