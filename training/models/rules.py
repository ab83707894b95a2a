"""What a project asks of a version before it may serve."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from labeling.models import Project

_SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class GateRules(models.Model):
    """The gate of one project; a project without a row goes by these defaults.

    Shares are 0 to 1: 0.01 is one point. A rule that is empty is not asked.
    """

    project = models.OneToOneField(
        Project, models.CASCADE, related_name="gate_rules", verbose_name=_("project")
    )
    min_test_questions = models.PositiveIntegerField(
        _("test questions at least"),
        default=20,
        help_text=_("Fewer say nothing: one mistake more or less would be 5 points."),
    )
    beats_floor = models.BooleanField(
        _("must beat the floor"),
        default=True,
        help_text=_(
            "Right more often than word counts with logistic regression, trained on the"
            " same dataset, and than always answering the commonest intent."
        ),
    )
    max_macro_f1_loss = models.FloatField(
        _("macro-F1 that may be lost"),
        default=0.0,
        validators=_SHARE,
        help_text=_("Against the active version, beyond what chance explains."),
    )
    max_intent_loss = models.FloatField(
        _("recall that an intent may lose"),
        default=0.1,
        null=True,
        blank=True,
        validators=_SHARE,
        help_text=_("Of an intent with enough test questions, if it is no accident."),
    )
    max_forgetting = models.FloatField(
        _("accuracy that old intents may lose"),
        default=0.01,
        null=True,
        blank=True,
        validators=_SHARE,
        help_text=_("All intents that the active version knew, together."),
    )
    max_calibration_loss = models.FloatField(
        _("calibration error that may be added"),
        default=0.02,
        null=True,
        blank=True,
        validators=_SHARE,
    )
    max_out_of_scope_loss = models.FloatField(
        _("out-of-scope F1 that may be lost"),
        default=0.02,
        null=True,
        blank=True,
        validators=_SHARE,
    )
    min_agreement = models.FloatField(
        _("agreement of the int8 model"),
        default=0.98,
        validators=_SHARE,
        help_text=_("Share of questions on which it answers like the exact model."),
    )

    class Meta:
        verbose_name = _("rules of the gate")
        verbose_name_plural = _("rules of the gate")
        constraints = [
            models.CheckConstraint(
                name="gate_rules_between_0_and_1",
                condition=Q(max_macro_f1_loss__range=(0, 1))
                & Q(min_agreement__range=(0, 1))
                & (Q(max_intent_loss=None) | Q(max_intent_loss__range=(0, 1)))
                & (Q(max_forgetting=None) | Q(max_forgetting__range=(0, 1)))
                & (Q(max_calibration_loss=None) | Q(max_calibration_loss__range=(0, 1)))
                & (
                    Q(max_out_of_scope_loss=None)
                    | Q(max_out_of_scope_loss__range=(0, 1))
                ),
            ),
        ]

    def __str__(self) -> str:
        return str(self.project)
