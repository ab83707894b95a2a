"""What training's API calls take and answer."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from labeling.api import fields
from registry.models import Evaluation
from training.models import TrainingBatch
from training.recipe import PRESETS


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


class BatchDetailSerializer(BatchSerializer):
    """A batch with its curves and its log."""

    steps = StepSerializer(many=True, read_only=True)

    class Meta(BatchSerializer.Meta):
        fields = [*BatchSerializer.Meta.fields, "steps", "log"]
        read_only_fields = fields


class BatchListSerializer(serializers.Serializer[Any]):
    """Batches, newest first."""

    results = BatchSerializer(many=True)


class EvaluationSerializer(serializers.ModelSerializer[Evaluation]):
    """What a version was measured at on the test questions."""

    version = serializers.IntegerField(source="version.number")

    class Meta:
        model = Evaluation
        fields = ["version", "n", "accuracy", "macro_f1", "metrics", "created_at"]


class AcceptedSerializer(serializers.Serializer[Any]):
    """Work that a worker does now."""

    version = serializers.IntegerField()
    state = serializers.CharField(default="queued")
