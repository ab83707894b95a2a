"""Bodies of the labeling API: what calls take and give."""

from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from labeling.api import fields
from labeling.models import KeywordRule, Question
from labeling.queue import MAX_CLAIM, Claimed

_Fields = serializers.Serializer[Any]
MAX_INTENTS = 50
"""Most intents that one label may name."""
MAX_COMMENT_CHARS = 2000
MAX_SPENT_MS = 24 * 3600 * 1000
"""A day; more is a clock gone wrong."""


class PredictedIntent(_Fields):
    """One intent of a question's latest answer."""

    code = serializers.CharField()
    confidence = serializers.FloatField(min_value=0, max_value=1)


class QuestionCounts(_Fields):
    """Questions by state."""

    open = serializers.IntegerField()
    labelled = serializers.IntegerField()
    skipped = serializers.IntegerField()
    disputed = serializers.IntegerField()
    total = serializers.IntegerField()


class Stats(_Fields):
    """Where a project stands in the loop."""

    project = serializers.SlugField()
    questions = QuestionCounts()
    labels_until_training = serializers.IntegerField(
        help_text="New labels missing until the next training; 0: enough."
    )


class UnlabeledQuery(_Fields):
    """Query of `questions/unlabeled`."""

    limit = serializers.IntegerField(
        default=10,
        min_value=1,
        max_value=MAX_CLAIM,
        help_text="Most questions to hold at once, those held already included.",
    )


class UnlabeledQuestion(_Fields):
    """A question that the caller holds until `expires_at`."""

    id = serializers.IntegerField()
    text = serializers.CharField()
    occurrences = serializers.IntegerField(help_text="How often it was asked.")
    last_seen = serializers.DateTimeField()
    predicted = PredictedIntent(many=True, help_text="Empty where `blind`.")
    blind = serializers.BooleanField(
        help_text="Drawn at random to measure: judge it without any suggestion."
    )
    confidence = serializers.FloatField(allow_null=True)
    version = serializers.CharField(
        allow_blank=True, help_text="Version that predicted; empty for rules alone."
    )
    token = serializers.IntegerField(help_text="Send it back with the label.")
    expires_at = serializers.DateTimeField(
        help_text="From then on somebody else may get the question."
    )

    def to_representation(self, instance: Claimed) -> dict[str, Any]:
        question = instance.question
        return {
            "id": question.pk,
            "text": question.text,
            "occurrences": question.occurrences,
            "last_seen": question.last_seen.isoformat(),
            "predicted": [] if instance.is_blind else question.predicted or [],
            "confidence": None if instance.is_blind else question.confidence,
            "version": "" if instance.is_blind else question.predicted_by,
            "blind": instance.is_blind,
            "token": instance.token,
            "expires_at": instance.expires_at.isoformat(),
        }


class Unlabeled(_Fields):
    """Questions to label, the most pressing first."""

    results = UnlabeledQuestion(many=True)


class LabelRequest(_Fields):
    """A label: `intent`, or `intents` in a multi-intent project."""

    intent = fields.Text(required=False, max_length=100)
    intents = serializers.ListField(
        child=fields.Text(max_length=100),
        required=False,
        max_length=MAX_INTENTS,
        help_text="May be empty in a multi-intent project: none of them applies.",
    )
    token = fields.Whole(min_value=1)
    comment = fields.Text(
        required=False, default="", allow_blank=True, max_length=MAX_COMMENT_CHARS
    )
    time_spent_ms = fields.Whole(
        required=False,
        default=None,
        allow_null=True,
        min_value=0,
        max_value=MAX_SPENT_MS,
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("intent" in attrs) == ("intents" in attrs):
            raise serializers.ValidationError(
                _("Send either “intent” or “intents”."), code="required"
            )
        if "intent" in attrs:
            attrs["intents"] = [attrs.pop("intent")]
        return attrs


class Labelled(_Fields):
    """What became of a question with the label."""

    id = serializers.IntegerField()
    state = serializers.ChoiceField(
        choices=Question.State.choices,
        help_text="`open` while other annotators are asked as well.",
    )
    intents = serializers.ListField(child=serializers.CharField())


class ExtractRequest(_Fields):
    """How often a keyword must occur."""

    min_support = fields.Whole(
        default=3, min_value=1, max_value=1_000_000, help_text="Labelled questions."
    )


class Keyword(serializers.ModelSerializer[KeywordRule]):
    """A keyword that a manager may approve."""

    intent = serializers.CharField(source="intent.code")

    class Meta:
        model = KeywordRule
        fields = (
            "id",
            "pattern",
            "intent",
            "support",
            "success_rate",
            "success_low",
            "boost",
            "state",
        )


class Keywords(_Fields):
    """The candidates after a mining, the surest first."""

    results = Keyword(many=True)
