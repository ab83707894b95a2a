"""Answers questions: gold label, then rules and model, else the fallback intent."""

import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from labeling.models import Project
from labeling.normalise import normalise, text_hash
from registry.models import Version
from registry.onnx.reading import Columns
from registry.serving import gold, measures
from registry.serving.bundle import Bundle, ModelFailed, Said
from registry.serving.fusion import (
    Candidate,
    Decision,
    Limits,
    Method,
    decide,
    fuse,
)
from registry.serving.process import is_web
from registry.serving.rollout import RolloutSpec
from registry.serving.rulebook import Rulebook
from registry.serving.runtime import Unavailable, runtime
from registry.serving.tracing import MODEL_SHOWN, disagree, scores, trace

_logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Target:
    """What one request is answered with, read from the database in one query.

    Each answer is given by exactly this version: it was active when the request came.
    """

    project: Project
    """Its thresholds, weights and serving revision as of the request."""
    version_id: int | None = None
    """The active version's id; None without one."""
    number: int | None = None
    """The active version's number."""
    rollout: RolloutSpec | None = None
    """The version that runs beside it on a share of the requests."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered to one text."""

    text: str
    intents: list[dict[str, Any]]
    """[{code, name, confidence, sources}]. Single-intent: the answer, then the next
    best. Multi-intent: the answer. Empty when nothing was sure enough and the project
    has no fallback intent."""
    confidence: float
    """Of the answer, 0 to 1."""
    margin: float
    """How far the best that was not chosen lies below, 0 to 1."""
    method: Method
    version: str
    """Number of the active version; "" without one, or when it could not answer."""
    needs_review: bool
    """Whether the confidence is below the project's `low_confidence`."""
    degraded: bool = False
    """The active version could not answer; rules alone did."""
    truncated: bool = False
    """The text was longer than what the model reads; its end was not looked at."""
    rule_ids: tuple[int, ...] = ()
    """The rules that spoke."""
    trace: dict[str, Any] | None = None
    """What each side said, for annotators: see `labeling.models.Question.trace`. None
    where nobody was asked, because exactly this text has a gold label."""
    is_conflict: bool = False
    """The best rule names an intent that the model does not answer."""
    scores: dict[str, Any] | None = None
    """What each side said before weights and thresholds: see `tracing.scores`."""

    def as_json(self, request_id: object) -> dict[str, Any]:
        """The REST answer."""
        return {
            "request_id": None if request_id is None else str(request_id),
            "intents": self.intents,
            "confidence": self.confidence,
            "method": str(self.method),
            "version": self.version,
            "needs_review": self.needs_review,
            "degraded": self.degraded,
            "truncated": self.truncated,
        }


def target_of(project: Project) -> Target:
    """What serves a project now: one query. Requests read it with their API key."""
    active = project.versions.filter(state=Version.State.ACTIVE)
    row = active.values_list("id", "number").first()
    return Target(project, *row) if row else Target(project)


def classify(
    target: Target, texts: Sequence[str], *, top_k: int = 3, use_gold: bool = True
) -> list[Answer]:
    """One answer a text, in their order; see `then`."""
    return then(
        target, texts, lambda said: lambda: said, top_k=top_k, use_gold=use_gold
    )


def then(
    target: Target,
    texts: Sequence[str],
    begin: Callable[[list[Answer]], Callable[[], Result]],
    *,
    top_k: int,
    use_gold: bool = True,
) -> Result:
    """What follows one answer a text, in their order.

    A version that can't be loaded or fails at a question never fails the call: rules
    alone answer, and the answers say `degraded`.

    Args:
        target: The project and the version to answer with.
        texts: Texts without a `labeling.intake.text_problem`.
        begin: The first half of what follows; called in the thread that ran the model,
            for all requests of a batch before anybody's second half: see
            `registry.serving.batcher.Batcher.then`.
        top_k: Most intents that a single-intent answer lists, at least 1.
        use_gold: Whether a text that has a gold label is answered by it.

    Cost: one query for the gold labels; five more when the rules have changed since
    the last call, and the load of the version when it is not in memory.
    """
    project = target.project
    book = runtime.rulebook(project.pk, project.serving_revision)
    hashes = [text_hash(text) for text in texts]
    look = gold.begin(project.pk, hashes) if use_gold else dict
    # In a web process the model runs while the database is asked. What turns out to be
    # labelled has run in vain then, but once: the bundle remembers it.
    known: Container[str] = () if is_web() else look()
    asked = [t for t, hash_ in zip(texts, hashes, strict=True) if hash_ not in known]

    def fuse(found: Sequence[Said | None], columns: Columns | None) -> list[Answer]:
        rest = iter(found)
        said = [None if hash_ in known else next(rest) for hash_ in hashes]
        labelled = look()
        call = _Call(target, book, columns, top_k)
        with measures.stage("fuse"):
            return [
                call.by_gold(text, labelled[hash_])
                if hash_ in labelled
                else call.by_sides(text, one)
                for text, hash_, one in zip(texts, hashes, said, strict=True)
            ]

    bundle = _bundle(target) if asked else None
    if bundle is not None:
        columns = bundle.columns(book)
        try:
            return bundle.then(asked, lambda found: begin(fuse(found, columns)))
        # A question that the model fails at is answered by rules, never by a 500.
        except ModelFailed as error:
            _logger.exception("version %s fails at a question", target.version_id)
            runtime.note_failure(bundle, error)
    return begin(fuse([None] * len(asked), None))()


def _bundle(target: Target) -> Bundle | None:
    """The version; None without one, or where it can't be loaded."""
    version_id = target.version_id
    if version_id is None:
        return None
    # A web process tries again in the listener, not while somebody waits.
    if is_web() and not runtime.holds(version_id) and version_id in runtime.failed():
        return None
    try:
        return runtime.bundle(version_id)
    except Unavailable:
        return None


@dataclass(frozen=True, slots=True)
class _Call:
    """What all texts of one call are answered with."""

    target: Target
    book: Rulebook
    columns: Columns | None
    """What the version answers; None where there is none, or none that can answer."""
    top_k: int

    def by_gold(self, text: str, codes: list[str]) -> Answer:
        """The answer of a text that is labelled."""
        if not codes and self.book.fallback is not None:
            codes = [self.book.fallback]  # labelled as having no intent
        intents = [Candidate(code, 1.0, {"gold": 1.0}) for code in codes]
        return self._answer(text, Decision(intents, Method.GOLD, 1.0, 1.0))

    def by_sides(self, text: str, said: Said | None) -> Answer:
        """The answer from what the rules and the model say."""
        project, columns = self.target.project, self.columns
        with measures.stage("rules"):
            hits = self.book.matcher.match(normalise(text))
        model: dict[str, float] | None = None
        multi, accept = project.is_multi_intent, project.accept_threshold_rules
        thresholds: dict[str, float] = {}
        if said is not None and columns is not None:
            p = columns.join(said.probabilities)
            also = hits if self.book.fallback is None else {*hits, self.book.fallback}
            model = columns.likeliest(p, max(self.top_k + 1, MODEL_SHOWN), also)
            multi, accept = columns.multi, project.accept_threshold
            thresholds = columns.thresholds
        candidates = fuse(
            {code: hit.rule.boost for code, hit in hits.items()},
            model,
            rule_weight=project.rule_weight,
            model_weight=project.model_weight,
            multi=multi,
        )
        limits = Limits(accept, self.top_k, self.book.fallback, thresholds)
        return self._answer(
            text,
            decide(candidates, limits, multi=multi),
            is_degraded=said is None and self.target.version_id is not None,
            is_cut=said is not None and said.was_cut,
            rule_ids=tuple(hit.rule.id for hit in hits.values()),
            traced=trace(model, hits),
            scored=scores(model, hits, fallback=self.book.fallback, multi=multi),
            is_conflict=disagree(model, hits, multi=multi, thresholds=thresholds),
        )

    def _answer(
        self,
        text: str,
        decision: Decision,
        *,
        is_degraded: bool = False,
        is_cut: bool = False,
        rule_ids: tuple[int, ...] = (),
        traced: dict[str, Any] | None = None,
        is_conflict: bool = False,
        scored: dict[str, Any] | None = None,
    ) -> Answer:
        is_known = self.target.number is not None and not is_degraded
        return Answer(
            text=text,
            intents=[
                {
                    "code": c.code,
                    "name": self.book.names.get(c.code, ""),
                    "confidence": c.confidence,
                    "sources": dict(c.sources),
                }
                for c in decision.intents
            ],
            confidence=decision.confidence,
            margin=decision.margin,
            method=decision.method,
            version=str(self.target.number) if is_known else "",
            needs_review=decision.confidence < self.target.project.low_confidence,
            degraded=is_degraded,
            truncated=is_cut,
            rule_ids=rule_ids,
            trace=traced,
            is_conflict=is_conflict,
            scores=scored,
        )
