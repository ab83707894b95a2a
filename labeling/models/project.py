"""A project: one label set with its questions, rules, versions and members."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

_SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class Project(models.Model):
    """One label set with its own questions, rules, versions, thresholds and members."""

    slug = models.SlugField(
        _("slug"), unique=True, help_text=_("Names the project in commands and URLs.")
    )
    name = models.CharField(_("name"), max_length=120)
    description = models.TextField(_("description"), blank=True)
    guidelines = models.TextField(
        _("guidelines"),
        blank=True,
        help_text=_("Markdown, shown to annotators beside each question."),
    )
    is_multi_intent = models.BooleanField(
        _("several intents a question"), default=False
    )

    low_confidence = models.FloatField(
        _("low confidence"),
        default=0.7,
        validators=_SHARE,
        help_text=_("Answers below this are marked for review and labelled first."),
    )
    accept_threshold = models.FloatField(
        _("accept threshold with a model"), default=0.3, validators=_SHARE
    )
    accept_threshold_rules = models.FloatField(
        _("accept threshold without a model"), default=0.5, validators=_SHARE
    )
    rule_weight = models.FloatField(_("rule weight"), default=0.3, validators=_SHARE)
    model_weight = models.FloatField(_("model weight"), default=0.7, validators=_SHARE)

    min_labels_first = models.PositiveIntegerField(
        _("labels for a first training"), default=100
    )
    min_labels_next = models.PositiveIntegerField(
        _("new labels for the next training"), default=200
    )
    retrain_interval_days = models.PositiveIntegerField(
        _("days until a retraining is due"), default=30
    )
    overlap = models.PositiveSmallIntegerField(
        _("annotators a question"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(5)],
    )
    lease_s = models.PositiveIntegerField(
        _("lease in seconds"),
        default=300,
        help_text=_("How long a question is held for an annotator."),
    )
    test_share = models.FloatField(
        _("test share"),
        default=0.1,
        validators=_SHARE,
        help_text=_("Share of new questions kept out of training for measuring."),
    )
    validation_share = models.FloatField(
        _("validation share"), default=0.1, validators=_SHARE
    )

    audit_share = models.FloatField(
        _("audit share"),
        default=0.15,
        db_default=0.15,
        validators=_SHARE,
        help_text=_(
            "Share of the queue drawn at random from the test questions and labelled"
            " blind: it measures how right the answers in production are."
        ),
    )

    llm_fallback = models.BooleanField(
        _("ask the language model"),
        default=False,
        db_default=False,
        help_text=_(
            "Questions that neither rules nor model are sure of are sent to the"
            " configured language model. Their texts leave this house."
        ),
    )
    llm_budget = models.PositiveIntegerField(
        _("language model: calls a day"),
        default=1000,
        db_default=1000,
        help_text=_("No more are made on a day (UTC); the fallback intent answers."),
    )

    serving_revision = models.BigIntegerField(
        _("serving revision"),
        default=0,
        editable=False,
        help_text=_("Grows with each activation and each change of rules."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        constraints = [
            models.CheckConstraint(
                name="project_shares_between_0_and_1",
                condition=Q(low_confidence__range=(0, 1))
                & Q(accept_threshold__range=(0, 1))
                & Q(accept_threshold_rules__range=(0, 1))
                & Q(rule_weight__range=(0, 1))
                & Q(model_weight__range=(0, 1))
                & Q(test_share__range=(0, 1))
                & Q(audit_share__range=(0, 1))
                & Q(validation_share__range=(0, 1)),
            ),
            models.CheckConstraint(
                name="project_splits_leave_room_for_training",
                condition=Q(test_share__lt=1 - F("validation_share")),
                violation_error_message=_(
                    "Test and validation share together must stay below 1."
                ),
            ),
            models.CheckConstraint(
                name="project_overlap_1_to_5", condition=Q(overlap__range=(1, 5))
            ),
            models.CheckConstraint(
                name="project_lease_at_least_10_s", condition=Q(lease_s__gte=10)
            ),
        ]

    def __str__(self) -> str:
        return self.name
