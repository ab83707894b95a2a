"""From what rules and model say to one answer. Pure: no database, no clock.

Confidence of an intent:

    confidence = sum(weight * score) / sum(weight)    over the sides that speak on it

With both sides speaking and weights that sum to 1 that is the design's formula,
`rule_weight * rule + model_weight * model`. Dividing by the weights that spoke keeps a
sure model answer sure where no rule has anything to say, instead of capping it at 0.7.

Who speaks on an intent:

- The model, when the intent is in its label set. A new intent that has rules and no
  training yet is answered by its rules alone.
- The rules, when one was found for the intent. In a single-intent project a rule for
  one intent also speaks against all others, with score 0: a model that disagrees with
  a rule becomes less sure, and the question goes to review. Where a question may have
  several intents, a rule for one says nothing of the others.
- A side with weight 0 never speaks beside the other. Alone, weights change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from registry.onnx.reading import DECIMALS, MULTI_THRESHOLD


class Method(StrEnum):
    """How an answer came about; stable words that clients and the log hold."""

    GOLD = "gold"
    """Exactly this text has a gold label."""
    MODEL = "model"
    """The model alone; no rule was found."""
    RULES = "rules"
    """Rules alone; there is no model, or it does not know the intent."""
    FUSED = "fused"
    """Rules and model."""
    LLM = "llm"
    """The language model; nothing else was sure enough."""
    FALLBACK = "fallback"
    """Nothing was sure enough."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An intent that could be the answer."""

    code: str
    confidence: float
    """0 to 1."""
    sources: Mapping[str, float]
    """What each side that speaks for it says: "rule", "model" or "gold" to 0..1."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is answered to one text."""

    intents: list[Candidate]
    """Single-intent: the answer, then the next best. Multi-intent: the answer. Empty
    when nothing was sure enough and the project has no fallback intent."""
    method: Method
    confidence: float
    """Of the answer, 0 to 1: in multi-intent projects its least sure intent's."""
    margin: float
    """How far the best that was not chosen lies below what was, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a decision goes by."""

    accept: float
    """Least confidence of a single-intent answer; below it the fallback is given."""
    top_k: int
    """Most intents that a single-intent answer lists."""
    fallback: str | None = None
    """Code of the project's fallback intent."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Least confidence of single intents, by code; multi-intent projects only."""


def fuse(
    rules: Mapping[str, float],
    model: Mapping[str, float] | None,
    *,
    rule_weight: float,
    model_weight: float,
    multi: bool,
) -> list[Candidate]:
    """The intents that either side speaks for, the surest first.

    Args:
        rules: Confidence of the rule that was found for each intent, by code.
        model: Probability of each intent in the label set; None without a model.
        rule_weight: 0 or more.
        model_weight: 0 or more.
        multi: Whether a question may have several intents.
    """
    if model is None:
        found = [Candidate(code, r, {"rule": r}) for code, r in rules.items()]
    else:
        if rule_weight <= 0:
            rules = {}
        elif model_weight <= 0 and rules:
            model = {}
        found = [
            _mean(code, rules, model, rule_weight, model_weight, multi)
            for code in {**model, **rules}
        ]
    # By code where equally sure, so that the same question has the same answer.
    return sorted(found, key=lambda c: (-c.confidence, c.code))


def _mean(
    code: str,
    rules: Mapping[str, float],
    model: Mapping[str, float],
    rule_weight: float,
    model_weight: float,
    multi: bool,
) -> Candidate:
    sources: dict[str, float] = {}
    total = weight = 0.0
    if code in model:
        sources["model"] = round(model[code], DECIMALS)
        total += model_weight * model[code]
        weight += model_weight
    if code in rules:
        sources["rule"] = round(rules[code], DECIMALS)
        total += rule_weight * rules[code]
        weight += rule_weight
    elif rules and not multi:
        weight += rule_weight
    # Both weights 0: the model alone, as it is.
    confidence = total / weight if weight else model[code]
    return Candidate(code, round(min(max(confidence, 0.0), 1.0), DECIMALS), sources)


def decide(candidates: list[Candidate], limits: Limits, *, multi: bool) -> Decision:
    """Chooses the answer among candidates from `fuse`."""
    if multi:
        return _decide_multi(candidates, limits)
    if not candidates or candidates[0].confidence < limits.accept:
        return _fall_back(candidates, limits)
    second = candidates[1].confidence if len(candidates) > 1 else 0.0
    best = candidates[0]
    return Decision(
        candidates[: limits.top_k],
        _method(candidates),
        best.confidence,
        round(best.confidence - second, DECIMALS),
    )


def _decide_multi(candidates: list[Candidate], limits: Limits) -> Decision:
    """Every intent above its threshold; the fallback only where it stands alone."""
    accepted = [
        c
        for c in candidates
        if c.confidence >= limits.thresholds.get(c.code, MULTI_THRESHOLD)
    ]
    if len(accepted) > 1:
        accepted = [c for c in accepted if c.code != limits.fallback]
    if not accepted:
        best = candidates[0].confidence if candidates else 0.0
        # No intent at all is the answer; it is as sure as the likeliest one is not.
        none = [Candidate(limits.fallback, 1.0 - best, {})] if limits.fallback else []
        sure = round(1.0 - best, DECIMALS) if candidates else 0.0
        return Decision(none, Method.FALLBACK, sure, sure)
    least = accepted[-1].confidence
    chosen = {limits.fallback, *(c.code for c in accepted)}
    next_best = max(
        (c.confidence for c in candidates if c.code not in chosen), default=0
    )
    margin = max(0.0, round(least - next_best, DECIMALS))
    return Decision(accepted, _method(candidates), least, margin)


def _fall_back(candidates: list[Candidate], limits: Limits) -> Decision:
    """The fallback intent, then what would have been next."""
    if limits.fallback is None:
        return Decision([], Method.FALLBACK, 0.0, 0.0)
    known = {c.code: c for c in candidates}
    fallback = known.pop(limits.fallback, Candidate(limits.fallback, 0.0, {}))
    intents = [fallback, *known.values()][: limits.top_k]
    return Decision(intents, Method.FALLBACK, fallback.confidence, 0.0)


def _method(candidates: list[Candidate]) -> Method:
    sides = {side for c in candidates for side in c.sources}
    if sides == {"rule"}:
        return Method.RULES
    return Method.FUSED if "rule" in sides else Method.MODEL
