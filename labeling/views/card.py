"""What a queue card shows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from django.contrib.auth.models import User
from django.utils.safestring import SafeString

from labeling import bulk
from labeling.models import Annotation, GoldLabel, Intent, Project, Question
from labeling.queue import Claimed
from labeling.queue.sources import REVIEW
from labeling.ranking.suggestions import Suggestion, Trace, suggest, trace
from labeling.search import similar
from labeling.taxonomy.labelset import LabelSet
from labeling.views import highlight

NEIGHBOURS = 5
MAX_DUPLICATES = 200
"""Near-duplicates that a card tells of."""
DUPLICATES_LISTED = 20
"""Near-duplicates that a card names; more are counted."""


@dataclass(frozen=True)
class Near:
    """A labelled question that is like the card's, and what it is labelled as."""

    question: Question
    similarity: float
    intents: list[Intent]


@dataclass(frozen=True)
class Card:
    """One question for one person, with what helps to judge it.

    On a blind card nothing helps: what a person sees there must be what they would
    have thought by themselves.
    """

    project: Project
    claimed: Claimed
    labels: LabelSet
    near: list[Near] = field(default_factory=list)
    duplicates: list[Question] = field(default_factory=list)
    verdicts: list[Annotation] = field(default_factory=list)
    """Of the others, for a reviewer."""
    gold: list[GoldLabel] = field(default_factory=list)
    """What it is labelled as, for a reviewer."""

    @property
    def question(self) -> Question:
        """The question on the card."""
        return self.claimed.question

    @property
    def is_review(self) -> bool:
        """Whether the verdict settles what others said."""
        return self.claimed.queue in REVIEW

    @property
    def is_blind(self) -> bool:
        """Whether suggestions are kept back."""
        return self.claimed.is_blind

    @cached_property
    def text(self) -> SafeString:
        """The question with what rules found in it marked."""
        return highlight.mark(
            self.question.text, [hit.pattern for hit in self.trace.rules]
        )

    @cached_property
    def suggestions(self) -> list[Suggestion]:
        """Intents on the keys 1 to 9; for a reviewer those at issue come first."""
        if self.is_blind:
            return []
        first = [gold.intent.code for gold in self.gold]
        for verdict in self.verdicts:
            first += [intent.code for intent in verdict.intents.all()]
        return suggest(
            self.project, self.question, self.labels, first=self.labels.named(first)
        )

    @cached_property
    def trace(self) -> Trace:
        """What each side said to the latest answer."""
        if self.is_blind:
            return Trace([], [], None, False)
        return trace(self.question, self.labels)

    @property
    def prediction(self) -> Suggestion | None:
        """The latest answer's best intent that is still in use."""
        answered = [one for one in self.suggestions if one.confidence is not None]
        return max(answered, key=lambda one: one.confidence or 0, default=None)

    @property
    def is_unsure(self) -> bool:
        """Whether the latest answer is below the project's low confidence."""
        confidence = self.question.confidence
        return confidence is not None and confidence < self.project.low_confidence

    @property
    def duplicates_listed(self) -> list[Question]:
        """The near-duplicates that are named."""
        return self.duplicates[:DUPLICATES_LISTED]

    @property
    def duplicates_left(self) -> int:
        """How many more there are."""
        return len(self.duplicates) - len(self.duplicates_listed)


def cards(
    project: Project, user: User, claimed: Sequence[Claimed], labels: LabelSet
) -> list[Card]:
    """Cards of questions that a person holds.

    Cost: for each card that is not blind a search for neighbours (three queries in a
    transaction), and one for duplicates if it has any; for all review cards together
    three queries.
    """
    review = [one.question.pk for one in claimed if one.queue in REVIEW]
    verdicts, gold = _verdicts(review), _gold(review)
    return [
        Card(
            project,
            one,
            labels,
            near=_near(one, labels),
            duplicates=_duplicates(one, user),
            verdicts=verdicts[one.question.pk],
            gold=gold[one.question.pk],
        )
        for one in claimed
    ]


def _near(claimed: Claimed, labels: LabelSet) -> list[Near]:
    if claimed.is_blind:
        return []
    return [
        Near(
            found.question,
            found.similarity,
            labels.named(intent.code for intent in found.question.gold.all()),
        )
        for found in similar.like(
            # A test question's gold must not guide the label of one to learn from.
            claimed.question,
            limit=NEIGHBOURS,
            labelled=True,
            without_test=True,
        )
    ]


def _duplicates(claimed: Claimed, user: User) -> list[Question]:
    question = claimed.question
    if claimed.is_blind or claimed.queue in REVIEW:
        return []
    return list(bulk.duplicates_of(question, user=user)[:MAX_DUPLICATES])


def _verdicts(ids: Sequence[int]) -> dict[int, list[Annotation]]:
    found: dict[int, list[Annotation]] = defaultdict(list)
    if ids:
        rows = Annotation.objects.filter(question__in=ids).select_related("annotator")
        for row in rows.prefetch_related("intents").order_by("updated_at"):
            found[row.question_id].append(row)
    return found


def _gold(ids: Sequence[int]) -> dict[int, list[GoldLabel]]:
    found: dict[int, list[GoldLabel]] = defaultdict(list)
    if ids:
        rows = GoldLabel.objects.filter(question__in=ids)
        for row in rows.select_related("intent", "set_by").order_by("intent__code"):
            found[row.question_id].append(row)
    return found
