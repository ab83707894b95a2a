"""An evaluation as one JSON document, for whoever reads it without Tuneloop."""

from typing import Any

from registry.models import Evaluation
from training.reports.figures import Metrics

FORMAT = "tuneloop-evaluation"
FORMAT_VERSION = 1
"""Grows when a key changes its meaning; new keys don't count."""

KEYS = {
    "n": "questions that were measured",
    "accuracy": "share answered exactly right; of several intents, all and none more",
    "macro_f1": "mean F1 of the intents that were asked for",
    "micro_f1": "F1 of all decisions together; multi-intent projects",
    "example_f1": "mean over questions of their F1; multi-intent projects",
    "exact_match": "the same as accuracy; multi-intent projects",
    "in_scope_accuracy": "accuracy without the out-of-scope questions",
    "majority_accuracy": "accuracy of always answering the commonest intent",
    "intervals": "95 % bootstrap intervals [low, high] by name of the figure",
    "per_intent": "{code: {precision, recall, f1, n, interval of f1}}",
    "out_of_scope": "{n, precision, recall, f1, auroc} of the fallback intent",
    "calibration": (
        "{ece, bins: [{low, high, n, confidence, accuracy}], before: {ece, bins}};"
        " before: without the temperature that calibration found"
    ),
    "confusion": "[{intent, answered, n}], the commonest mistakes first",
    "matrix": "{codes, cells: [[right, answered, n]]}, indices into codes",
    "unknown": "{code: n}: right intents that the version cannot answer",
    "floor": (
        "TF-IDF with logistic regression, trained on the version's dataset: the same"
        " figures, and difference: the version's less the floor's, with intervals"
    ),
    "floor_missing": "why there is no floor",
    "rules": "the keyword rules without a model: {accuracy, macro_f1, answered}",
    "compared": (
        "against the version that was active: {version, n, fixed, broken, p (McNemar),"
        " accuracy, macro_f1, micro_f1, in_scope_accuracy (differences) and their"
        " intervals, per_intent, forgetting {intents, n, before, after, difference,"
        " interval, backward_transfer}, out_of_scope, calibration}"
    ),
    "model_file": "the file that answered, which is the one that is served",
}
"""What each key of `metrics` means. Shares are 0 to 1, differences new less old."""


def document(evaluation: Evaluation) -> dict[str, Any]:
    """All that is known of an evaluation and of where its version comes from.

    Returns:
        format, format_version, project {slug, name, multi_intent}, version {number,
        state, gate {verdict, reasons}, label_set, temperature, thresholds,
        out_of_scope, parent, provenance, created_at}, evaluation {id, kind, source, n,
        measured_at}, metrics (those of `KEYS` that were measured; more may come), keys
        (`KEYS`). No question's text is in it: a report may go to anybody.
    """
    version = evaluation.version
    project = version.project
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "project": {
            "slug": project.slug,
            "name": project.name,
            "multi_intent": project.is_multi_intent,
        },
        "version": {
            "number": version.number,
            "state": version.state,
            "gate": {"verdict": version.gate, "reasons": version.gate_reasons},
            "label_set": version.label_set,
            "temperature": version.temperature,
            "thresholds": version.thresholds,
            "out_of_scope": version.out_of_scope,
            "parent": version.parent.number if version.parent else None,
            "provenance": version.provenance,
            "created_at": version.created_at.isoformat(),
        },
        "evaluation": {
            "id": evaluation.pk,
            "kind": evaluation.kind,
            "source": evaluation.source,
            "n": evaluation.n,
            "measured_at": evaluation.created_at.isoformat(),
        },
        "metrics": _ordered(evaluation.metrics),
        "keys": KEYS,
    }


def _ordered(metrics: Metrics) -> dict[str, Any]:
    """In the order of `KEYS`; what PostgreSQL keeps has none of its own."""
    order = {key: place for place, key in enumerate(KEYS)}
    keys = sorted(metrics, key=lambda key: (order.get(key, len(order)), key))
    return {key: metrics[key] for key in keys}
