"""What each side said to a question: for the annotator who decides who was right."""

import heapq
from collections.abc import Mapping
from typing import Any

from registry.onnx.reading import DECIMALS, LEAST_OF_MANY, MULTI_THRESHOLD
from registry.serving.matcher import Hit

MODEL_SHOWN = 5
"""Intents of the model that a trace keeps."""

_ROUND = 4


def trace(
    model: Mapping[str, float] | None, hits: Mapping[str, Hit]
) -> dict[str, list[dict[str, Any]]]:
    """The decision trace, ready for JSON; see `labeling.models.Question.trace`.

    Args:
        model: Probability of each intent; None where no model answered.
        hits: The rule that speaks for each intent.

    Cost: about 0.02 ms with 150 intents.
    """
    best = heapq.nlargest(MODEL_SHOWN, model, key=model.__getitem__) if model else []
    rules = sorted(hits.items(), key=lambda hit: -hit[1].rule.boost)
    return {
        "model": [
            {"code": code, "confidence": round(model[code], _ROUND)}
            for code in best
            if model is not None
        ],
        "rules": [
            {"code": code, "pattern": hit.rule.pattern, "confidence": hit.rule.boost}
            for code, hit in rules
        ],
    }


def disagree(
    model: Mapping[str, float] | None,
    hits: Mapping[str, Hit],
    *,
    multi: bool,
    thresholds: Mapping[str, float],
) -> bool:
    """Whether the best rule names an intent that the model does not answer.

    Single-intent: the model's likeliest intent is another one. Multi-intent: the model
    knows the rule's intent and holds it for less likely than its threshold.
    """
    if not model or not hits:
        return False
    ruled = max(hits, key=lambda code: hits[code].rule.boost)
    if multi:
        return model.get(ruled, 1.0) < thresholds.get(ruled, MULTI_THRESHOLD)
    return max(model, key=model.__getitem__) != ruled


def scores(
    model: Mapping[str, float] | None,
    hits: Mapping[str, Hit],
    *,
    fallback: str | None,
    multi: bool,
) -> dict[str, Any]:
    """What each side said before weights and thresholds, for the log.

    Enough to decide again with others: see `registry.rollout.tuning`. The model's
    likeliest intents are kept, and each one that can win without being among them: what
    a rule speaks for, the fallback, and in multi-intent projects all that is not next
    to nothing.

    Args:
        model: Probability of each intent; None where no model answered.
        hits: The rule that speaks for each intent.
        fallback: Code of the project's fallback intent.
        multi: Whether a question may have several intents.

    Cost: about 0.01 ms with 150 intents.
    """
    rules = {code: round(hit.rule.boost, DECIMALS) for code, hit in hits.items()}
    if model is None:
        return {"model": None, "rules": rules}
    kept = heapq.nlargest(MODEL_SHOWN, model, key=model.__getitem__)
    kept += [code for code in rules if code in model]
    if fallback is not None and fallback in model:
        kept.append(fallback)
    if multi:
        kept += [code for code, p in model.items() if p >= LEAST_OF_MANY]
    return {
        "model": {code: round(model[code], DECIMALS) for code in kept},
        "rules": rules,
    }
