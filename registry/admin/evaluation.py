"""A version's measurements and origin, made ready for its page."""

from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from labeling.admin import cells
from registry import artifacts
from registry.models import Evaluation, Version

_CARD_CHARS = 50_000

SHOWN = 8
"""Intents, and pairs of them, that a version's page names of each measurement; the
measurement's own page has them all."""


def with_latest(versions: QuerySet[Version]) -> QuerySet[Version]:
    """Adds `accuracy` and `macro_f1` of each version's newest test measurement."""
    newest = Evaluation.objects.filter(
        version=OuterRef("pk"), kind=Evaluation.Kind.TEST
    ).order_by("-id")
    return versions.annotate(
        accuracy=Subquery(newest.values("accuracy")[:1]),
        macro_f1=Subquery(newest.values("macro_f1")[:1]),
    )


class Shown:
    """One measurement as the page shows it."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self.metrics: dict[str, Any] = evaluation.metrics

    @property
    def headline(self) -> list[tuple[str, str]]:
        """The few figures that say most, with their names."""
        metrics = self.metrics
        outside = metrics.get("out_of_scope") or {}
        calibration = metrics.get("calibration") or {}
        rows: list[tuple[str, float | None]] = [
            (_("Accuracy"), metrics.get("accuracy")),
            (_("Macro-F1"), metrics.get("macro_f1")),
            (_("Micro-F1"), metrics.get("micro_f1")),
            (_("In-scope accuracy"), metrics.get("in_scope_accuracy")),
            (_("Out-of-scope recall"), outside.get("recall")),
            (_("Out-of-scope AUROC"), outside.get("auroc")),
            (_("Calibration error"), calibration.get("ece")),
            (_("Commonest intent alone"), metrics.get("majority_accuracy")),
        ]
        return [(k, cells.percent(v, digits=1)) for k, v in rows if v is not None]

    @cached_property
    def intents(self) -> list[dict[str, Any]]:
        """The weakest intents; those without a question last."""
        per_intent: dict[str, dict[str, Any]] = self.metrics.get("per_intent") or {}
        rows = [
            {
                "code": code,
                "n": one["n"],
                "precision": cells.percent(one["precision"]),
                "recall": cells.percent(one["recall"]),
                "bar": cells.bar(one["f1"], low=0.7) if one["n"] else cells.NOTHING,
                "order": (not one["n"], one["f1"], code),
            }
            for code, one in per_intent.items()
        ]
        return sorted(rows, key=lambda row: row["order"])[:SHOWN]

    @property
    def confused(self) -> list[dict[str, Any]]:
        """The commonest mistakes: {intent, answered, n}, most first."""
        return (self.metrics.get("confusion") or [])[:SHOWN]


def provenance(version: Version) -> list[tuple[str, str]]:
    """Where a version comes from, as rows of name and value."""
    known = version.provenance
    dataset = known.get("dataset") or {}
    export = known.get("export") or {}
    fit = known.get("fit") or {}
    rows = [
        (_("Base model"), known.get("base")),
        (_("Trained from"), f"v{version.parent.number}" if version.parent else None),
        (_("Preset"), known.get("preset")),
        (_("Dataset"), str(dataset.get("digest", ""))[:16]),
        (
            _("Train and validation questions"),
            f"{dataset['train']} + {dataset['validation']}"
            if "train" in dataset
            else "",
        ),
        (_("Epoch kept"), fit.get("best_epoch")),
        (_("Trained in"), _seconds(fit.get("seconds"))),
        (_("Served file"), export.get("served")),
        (_("Intents"), len(version.label_set)),
        (_("Temperature"), f"{version.temperature:g}"),
        (_("Code revision"), known.get("code_revision")),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def _seconds(seconds: float | None) -> str:
    return _("%d s") % round(seconds) if seconds is not None else ""


def card(version: Version) -> str:
    """The model card's Markdown; empty when its file is missing or damaged."""
    if "card.md" not in version.manifest:
        return ""
    try:
        folder = artifacts.open_verified(version, only=["card.md"])
        return (folder / "card.md").read_text(encoding="utf-8")[:_CARD_CHARS]
    except (artifacts.ArtifactError, OSError):
        return ""
