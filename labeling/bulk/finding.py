"""Questions to look at together: found by text, by meaning, by likeness or by filter.

Test questions are never among them: they are labelled blind, one at a time.
"""

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.db.models.fields.json import KT
from django.http import QueryDict
from django.utils.translation import gettext as _
from psycopg.errors import QueryCanceled

from labeling.bulk.fates import MOST
from labeling.models import Embedding, Project, Question
from labeling.search import clusters, similar, substrings
from labeling.taxonomy.labelset import LabelSet

SHOWN = 100
"""Questions that are shown at once."""
ALIKE = 0.9
"""Cosine below which a question is not shown as one that is like another."""
CLOSE = 0.95
"""Cosine from which such a question is chosen at first: in the sample project those
above have nearly always its intent, those below often a related one."""
COUNT_MS = 300
"""How long matches are counted; a filter that takes longer has "more than shown"."""
ANY = "any"
_NEAREST = 10
_MAX_TEXT = 200


@dataclass(frozen=True)
class Filter:
    """What to look for; each field that is set narrows it."""

    text: str = ""
    by_meaning: bool = False
    """Whether the text says what is meant, not what is written."""
    like: int | None = None
    """Id of a question: those that are like it."""
    cluster: int | None = None
    """Id of a question: its near-duplicates and itself."""
    state: str = Question.State.OPEN
    """A `Question.State`, or `ANY`."""
    predicted: str = ""
    """Code that the latest answer names first."""
    gold: str = ""
    """Code of a gold intent."""
    below: float | None = None
    """Confidence of the latest answer is below this, 0 to 1."""
    conflict: bool = False
    """The best rule and the model named different intents."""

    @classmethod
    def read(cls, query: QueryDict, labels: LabelSet) -> "Filter":
        """What an address asks for; what it says wrongly is left out."""
        state = query.get("state", "")
        return cls(
            text=query.get("q", "").replace("\0", "").strip()[:_MAX_TEXT],
            by_meaning=query.get("by") == "meaning",
            like=_number(query.get("like", "")),
            cluster=_number(query.get("cluster", "")),
            state=state
            if state in (*Question.State.values, ANY)
            else Question.State.OPEN,
            predicted=labels.current(query.get("predicted", "")) or "",
            gold=labels.current(query.get("gold", "")) or "",
            below=_share(query.get("below", "")),
            conflict=query.get("conflict") == "1",
        )

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names and values of the address, those that say something."""
        values = {
            "q": self.text,
            "by": "meaning" if self.text and self.by_meaning else "",
            "like": self.like,
            "cluster": self.cluster,
            "state": "" if self.state == Question.State.OPEN else self.state,
            "predicted": self.predicted,
            "gold": self.gold,
            "below": self.below_percent or "",
            "conflict": "1" if self.conflict else "",
        }
        return [(name, str(value)) for name, value in values.items() if value]

    @property
    def query(self) -> str:
        """The address's query, with its question mark; empty for the default."""
        return f"?{urlencode(self.pairs)}" if self.pairs else ""

    @property
    def below_percent(self) -> int | None:
        """`below` in percent."""
        return None if self.below is None else round(100 * self.below)

    @property
    def is_nearness(self) -> bool:
        """Whether it orders by likeness, and so has no "all matches"."""
        return bool(self.like or self.cluster or (self.text and self.by_meaning))

    @property
    def is_default(self) -> bool:
        """Whether it says nothing beyond "open questions"."""
        return not self.pairs

    @property
    def any_state(self) -> "Filter":
        """The same without the state."""
        return replace(self, state=ANY)

    def in_words(self) -> str:
        """What it looks for, for a list of bulk actions."""
        parts = []
        if self.cluster:
            parts.append(_("near-duplicates of question %(id)s") % {"id": self.cluster})
        if self.like:
            parts.append(_("like question %(id)s") % {"id": self.like})
        if self.text and self.by_meaning:
            parts.append(_("meaning “%(text)s”") % {"text": self.text})
        elif self.text:
            parts.append(_("with “%(text)s”") % {"text": self.text})
        if self.predicted:
            parts.append(_("predicted %(code)s") % {"code": self.predicted})
        if self.gold:
            parts.append(_("labelled %(code)s") % {"code": self.gold})
        if self.below is not None:
            share = f"{100 * self.below:.0f} %"
            parts.append(_("confidence below %(share)s") % {"share": share})
        if self.conflict:
            parts.append(_("rules against model"))
        if self.state == ANY:
            parts.append(_("in any state"))
        else:
            parts.append(str(Question.State(self.state).label).lower())
        return ", ".join(parts)

    def questions(self, project: Project) -> QuerySet[Question]:
        """The project's questions that pass, but for text and likeness; no query."""
        rows = Question.objects.of(project).exclude(split=Question.Split.TEST)
        if self.state != ANY:
            rows = rows.filter(state=self.state)
        if self.predicted:
            # The expression of the index `question_pair`.
            best = KT("predicted__0__code")
            rows = rows.alias(best=best).filter(best=self.predicted)
        if self.gold:
            rows = rows.filter(gold_labels__intent__code=self.gold)
        if self.below is not None:
            rows = rows.filter(confidence__lt=self.below)
        if self.conflict:
            rows = rows.filter(is_conflict=True)
        return rows

    def in_order(self, rows: QuerySet[Question]) -> QuerySet[Question]:
        """Ordered as an index has them: nothing is sorted among a million."""
        if self.state != Question.State.OPEN or self.text:
            return rows.order_by("-pk")
        if self.below is not None:
            return rows.order_by("confidence", "pk")
        return rows.order_by("-priority", "pk")


@dataclass(frozen=True)
class Match:
    """A question that was found."""

    question: Question
    similarity: float | None = None
    """Cosine to what was looked for, where it was looked for by likeness."""
    is_chosen: bool = False
    """Whether it belongs to the others so clearly that it is chosen at first."""


@dataclass(frozen=True)
class Found:
    """What a filter found."""

    matches: list[Match]
    count: int | None = None
    """How many there are, at most `MOST`; None where that was not counted."""
    has_more: bool = False
    """Whether there are more than the matches."""
    is_capped: bool = False
    """Whether there are more than `count`."""
    is_cut: bool = False
    """Whether the text search ran out of time before the oldest questions."""
    elsewhere: int = 0
    """Of the cluster, but in another state than was asked for."""
    to_be_embedded: bool = False
    """Whether a question's likeness is not known yet."""
    source: Question | None = None
    """The question whose like, or whose near-duplicates, these are."""
    codes: list[str] = field(default_factory=list)
    """What the matches and the labelled questions near them are called, likeliest
    first."""


def find(project: Project, wanted: Filter) -> Found:
    """The first `SHOWN` questions, and how many there are.

    Cost: by filter three queries, each along an index, and the count bounded by
    `COUNT_MS`; by text a search; by likeness a walk through the graph of vectors.

    Raises:
        EncoderMissing: By meaning, and there is no encoder.
    """
    if wanted.cluster or wanted.like or (wanted.text and wanted.by_meaning):
        return _near(project, wanted)
    rows, is_capped, is_cut = _by_text(project, wanted)
    shown = list(wanted.in_order(_with_gold(rows))[: SHOWN + 1])
    count: int | None = len(shown)
    if len(shown) > SHOWN:
        count = _count(rows)
    return Found(
        [Match(question) for question in shown[:SHOWN]],
        count=None if count is None else min(count, MOST),
        has_more=len(shown) > SHOWN,
        is_capped=is_capped or (count or 0) > MOST,
        is_cut=is_cut,
        codes=_codes(shown[:SHOWN]),
    )


def matching_ids(project: Project, wanted: Filter, *, up_to: int) -> list[int]:
    """The first `MOST` questions that a filter finds.

    Args:
        up_to: Highest id: what came in later was not in the preview.
    """
    rows, _capped, _cut = _by_text(project, wanted)
    ids = wanted.in_order(rows.filter(pk__lte=up_to)).values_list("pk", flat=True)
    return list(ids[:MOST])


def _by_text(project: Project, wanted: Filter) -> tuple[QuerySet[Question], bool, bool]:
    rows = wanted.questions(project)
    if not wanted.text:
        return rows, False, False
    found = substrings.find(rows, wanted.text, projects=[project.pk])
    return found.questions, found.is_capped, found.is_cut


def _near(project: Project, wanted: Filter) -> Found:
    source = None
    if pk := wanted.cluster or wanted.like:
        source = _with_gold(Question.objects.of(project)).filter(pk=pk).first()
        if source is None:
            return Found([])
    likeness: dict[int, float | None] = {}
    labelled: list[Question] = []
    if wanted.cluster and source is not None:
        members = clusters.members(source).filter(project=project).order_by("pk")
        likeness = dict.fromkeys(members.values_list("pk", flat=True)[:MOST])
    else:
        near, labelled = _neighbours(project, wanted, source)
        likeness = {one.question.pk: one.similarity for one in near}
        if source is not None:
            likeness = {source.pk: 1.0, **likeness}
    every = wanted.any_state.questions(project)
    passing = every.filter(pk__in=list(likeness))
    rows = passing if wanted.state == ANY else passing.filter(state=wanted.state)
    found = {question.pk: question for question in _with_gold(rows)}
    shown = [found[pk] for pk in likeness if pk in found][:SHOWN]
    return Found(
        [_match(wanted, question, likeness[question.pk]) for question in shown],
        count=len(found),
        has_more=len(found) > SHOWN,
        elsewhere=passing.count() - len(found) if wanted.cluster else 0,
        to_be_embedded=bool(wanted.like) and not _has_vector(source),
        source=source,
        codes=_codes([*labelled, *shown]),
    )


def _neighbours(
    project: Project, wanted: Filter, source: Question | None
) -> tuple[list[similar.Neighbour], list[Question]]:
    """Those of the state, some more than are shown; and the nearest labelled ones."""
    state = None if wanted.state == ANY else wanted.state == Question.State.LABELLED
    many: dict[str, Any] = {"limit": 3 * SHOWN, "labelled": state}
    few: dict[str, Any] = {"limit": _NEAREST, "labelled": True}
    if source is None:
        [vector] = similar.encode([wanted.text])
        near, known = (
            similar.nearest(project, vector, without_test=True, **options)
            for options in (many, few)
        )
    else:
        near, known = (
            similar.like(source, without_test=True, **options)
            for options in (many, few)
        )
        near = [one for one in near if one.similarity >= ALIKE]
    ids = [one.question.pk for one in known]
    return near, list(_with_gold(Question.objects.filter(pk__in=ids)))


def _match(wanted: Filter, question: Question, similarity: float | None) -> Match:
    is_close = bool(wanted.like) and (similarity or 0.0) >= CLOSE
    return Match(question, similarity, is_chosen=bool(wanted.cluster) or is_close)


def _has_vector(question: Question | None) -> bool:
    return Embedding.objects.filter(pk=question).exists()


def _with_gold(rows: QuerySet[Question]) -> QuerySet[Question]:
    return rows.defer("trace").prefetch_related("gold_labels__intent")


def _codes(questions: list[Question]) -> list[str]:
    """A gold label counts once, an answer by its confidence."""
    weights: dict[str, float] = {}
    for question in questions:
        said = {label.intent.code: 1.0 for label in question.gold_labels.all()}
        for one in () if said else (question.predicted or ())[:1]:
            said[one["code"]] = question.confidence or 0.0
        for code, weight in said.items():
            weights[code] = weights.get(code, 0.0) + weight
    likely = (code for code, weight in weights.items() if weight > 0)
    return sorted(likely, key=lambda code: -weights[code])


def _count(rows: QuerySet[Any]) -> int | None:
    """How many, at most one more than `MOST`; None if it takes too long."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {COUNT_MS}")
            count = rows.order_by().values("pk")[: MOST + 1].count()
            cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
            return count
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            return None
        raise


def _number(text: str) -> int | None:
    """A whole number that fits a bigint."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _share(text: str) -> float | None:
    """A share from a percentage between 1 and 100."""
    number = _number(text)
    return number / 100 if number is not None and 1 <= number <= 100 else None
