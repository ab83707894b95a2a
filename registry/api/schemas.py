"""The registry's calls in the OpenAPI schema; nothing is validated with these."""

from typing import Any

from drf_spectacular.utils import (
    OpenApiExample,
    PolymorphicProxySerializer,
    extend_schema_serializer,
)
from rest_framework import serializers

from labeling.normalise import MAX_TEXT_CHARS
from registry.api.bodies import DEFAULT_TOP_K, MAX_REASON_CHARS, MAX_TEXTS, MAX_TOP_K
from registry.models import Activation, Feedback, Version
from registry.serving.fusion import Method

_Fields = serializers.Serializer[dict[str, Any]]


class ClassifyRequest(_Fields):
    """One `text` or many `texts`."""

    text = serializers.CharField(
        required=False, allow_null=True, max_length=MAX_TEXT_CHARS
    )
    texts = serializers.ListField(
        child=serializers.CharField(max_length=MAX_TEXT_CHARS),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=MAX_TEXTS,
    )
    top_k = serializers.IntegerField(
        default=DEFAULT_TOP_K,
        min_value=1,
        max_value=MAX_TOP_K,
        help_text="Most intents that a single-intent answer lists.",
    )
    request_id = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="With one `text`: sent again, it gets the same answer, counted once.",
    )


class AnsweredIntent(_Fields):
    """An intent of an answer."""

    code = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    confidence = serializers.FloatField(min_value=0, max_value=1)
    sources = serializers.DictField(
        child=serializers.FloatField(),
        help_text="What `gold`, `rule`, `model` and `llm` each say, where they do.",
    )


class SingleAnswer(_Fields):
    """The answer to one text."""

    request_id = serializers.UUIDField()
    intents = AnsweredIntent(
        many=True,
        help_text="The answer first, then the next best; in a multi-intent project "
        "the answer alone. Empty if nothing was sure enough and there is no fallback "
        "intent.",
    )
    confidence = serializers.FloatField(min_value=0, max_value=1)
    method = serializers.ChoiceField(choices=[str(method) for method in Method])
    version = serializers.CharField(
        allow_blank=True, help_text="Number of the version; empty for rules alone."
    )
    needs_review = serializers.BooleanField()
    degraded = serializers.BooleanField(
        help_text="The active version could not answer; rules alone did."
    )
    truncated = serializers.BooleanField(
        help_text="The text was longer than what the model reads."
    )


class ManyAnswers(_Fields):
    """The answers to `texts`, in their order."""

    results = SingleAnswer(many=True)


ClassifyAnswer = PolymorphicProxySerializer(
    component_name="ClassifyAnswer",
    serializers=[SingleAnswer, ManyAnswers],
    resource_type_field_name=None,
)

_ID = "6f1c2f6e-7f0e-4a5e-9a53-3d1f0a3b2c11"
_ANSWER = {
    "request_id": _ID,
    "intents": [
        {
            "code": "clock_in",
            "name": "打卡",
            "confidence": 0.93,
            "sources": {"model": 0.95, "rule": 0.9},
        }
    ],
    "confidence": 0.93,
    "method": "fused",
    "version": "3",
    "needs_review": False,
    "degraded": False,
    "truncated": False,
}
_UNSURE = {
    "request_id": "0b9ad1de-0a3c-4a77-b0c8-1c0f4c8c3f52",
    "intents": [{"code": "none", "name": "", "confidence": 0.0, "sources": {}}],
    "confidence": 0.0,
    "method": "fallback",
    "version": "3",
    "needs_review": True,
    "degraded": False,
    "truncated": False,
}
CLASSIFY_EXAMPLES = [
    OpenApiExample("one question", {"text": "忘记打卡了怎么办"}, request_only=True),
    OpenApiExample(
        "safe to repeat", {"text": "忘记打卡了", "request_id": _ID}, request_only=True
    ),
    OpenApiExample(
        "several",
        {"texts": ["忘记打卡了", "who is absent today?"], "top_k": 1},
        request_only=True,
    ),
    OpenApiExample("answer", _ANSWER, response_only=True, status_codes=["200"]),
    OpenApiExample(
        "answers to several",
        {"results": [_ANSWER, _UNSURE]},
        response_only=True,
        status_codes=["200"],
    ),
]


@extend_schema_serializer(
    examples=[
        OpenApiExample("it was right", {"request_id": _ID, "verdict": "right"}),
        OpenApiExample(
            "it was another intent",
            {"request_id": _ID, "verdict": "wrong", "intent": "clock_out"},
        ),
    ]
)
class FeedbackRequest(_Fields):
    """A word on an answer."""

    request_id = serializers.UUIDField()
    verdict = serializers.ChoiceField(choices=Feedback.Verdict.values)
    intent = serializers.CharField(
        required=False,
        allow_null=True,
        help_text="The code that would have been right.",
    )


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "kept", {"request_id": _ID, "verdict": "wrong", "intent": "clock_out"}
        ),
    ]
)
class FeedbackAnswer(_Fields):
    """The word that is kept."""

    request_id = serializers.UUIDField()
    verdict = serializers.ChoiceField(choices=Feedback.Verdict.values)
    intent = serializers.CharField(allow_null=True)


class VersionItem(_Fields):
    """A version."""

    number = serializers.IntegerField()
    state = serializers.ChoiceField(choices=Version.State.choices)
    gate = serializers.ChoiceField(choices=Version.Gate.choices)
    gate_reasons = serializers.ListField(child=serializers.DictField())
    accuracy = serializers.FloatField(allow_null=True)
    macro_f1 = serializers.FloatField(allow_null=True)
    intents = serializers.IntegerField(help_text="Size of its label set.")
    trained_from = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "two versions",
            {
                "versions": [
                    {
                        "number": 4,
                        "state": "candidate",
                        "gate": "refused",
                        "gate_reasons": [
                            {"code": "below_active", "passed": False, "values": {}}
                        ],
                        "accuracy": 0.902,
                        "macro_f1": 0.881,
                        "intents": 34,
                        "trained_from": 3,
                        "created_at": "2026-11-21T09:30:00+08:00",
                    },
                    {
                        "number": 3,
                        "state": "active",
                        "gate": "passed",
                        "gate_reasons": [],
                        "accuracy": 0.934,
                        "macro_f1": 0.921,
                        "intents": 34,
                        "trained_from": None,
                        "created_at": "2026-11-20T18:02:11+08:00",
                    },
                ]
            },
        ),
    ]
)
class VersionList(_Fields):
    """Versions, the newest first."""

    versions = VersionItem(many=True)


@extend_schema_serializer(
    examples=[
        OpenApiExample("with a reason", {"reason": "Mistakes leave for sick leave."}),
    ]
)
class RollBackRequest(_Fields):
    """Why, if you want to say."""

    reason = serializers.CharField(required=False, max_length=MAX_REASON_CHARS)


@extend_schema_serializer(
    examples=[
        OpenApiExample("a version that passed the gate", {}),
        OpenApiExample(
            "against the gate",
            {"force": True, "reason": "The test set is out of date."},
        ),
    ]
)
class ActivateRequest(RollBackRequest):
    """Against the gate: both."""

    force = serializers.BooleanField(default=False)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "a line of the audit",
            {
                "version": 4,
                "previous": 3,
                "kind": "activate",
                "forced": False,
                "reason": "",
                "at": "2026-11-21T09:41:07.120394+08:00",
            },
        ),
    ]
)
class ActivationAnswer(_Fields):
    """A line of the audit."""

    version = serializers.IntegerField()
    previous = serializers.IntegerField(allow_null=True)
    kind = serializers.ChoiceField(choices=Activation.Kind.values)
    forced = serializers.BooleanField()
    reason = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField()
