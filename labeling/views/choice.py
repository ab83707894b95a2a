"""Which queue a person works through; the page's address keeps the choice."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeling.models import Intent, Project, Queue
from labeling.queue.sources import REVIEW
from labeling.reports import progress
from labeling.taxonomy.labelset import LabelSet
from labeling.views.guard import Visit

_FIELDS = {Queue.PAIR: ("a", "b"), Queue.INTENT: ("intent",)}

ABOUT = {
    Queue.PRIORITY: gettext_lazy("What the model would learn most from, most first."),
    Queue.UNSURE: gettext_lazy("Answers below the low confidence, lowest first."),
    Queue.NEWEST: gettext_lazy("What came in last."),
    Queue.PAIR: gettext_lazy("Answers that waver between two intents."),
    Queue.INTENT: gettext_lazy("Answers that name one intent."),
    Queue.CONFLICT: gettext_lazy("A rule says one intent, the model another."),
    Queue.AUDIT: gettext_lazy("Drawn at random, without suggestions: to measure."),
    Queue.DISPUTED: gettext_lazy("Annotators disagree; lowest agreement first."),
    Queue.SUSPECT: gettext_lazy("Labels that the model finds hard to believe."),
    Queue.BROKEN: gettext_lazy("Test questions that a new version got wrong."),
}
"""One line on each queue, for who chooses."""


@dataclass(frozen=True)
class Choice:
    """A queue, and the intents that narrow it."""

    queue: str
    intents: tuple[Intent, ...] = ()

    @classmethod
    def read(cls, query: QueryDict, visit: Visit, labels: LabelSet) -> "Choice":
        """What an address asks for; the priority queue where it asks for nothing.

        Raises:
            PermissionDenied: A reviewers' queue, and the person is none.
        """
        queue = query.get("queue", "")
        if queue not in Queue.values:
            queue = Queue.PRIORITY
        if queue in REVIEW and not visit.is_reviewer:
            raise PermissionDenied(_("This queue is the reviewers'."))
        named = [query.get(field, "") for field in _FIELDS.get(Queue(queue), ())]
        return cls(Queue(queue), tuple(labels.named(named)))

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of its intents."""
        return tuple(intent.code for intent in self.intents)

    @property
    def is_complete(self) -> bool:
        """Whether a pair has its two intents, and one intent its one."""
        return len(self.intents) == len(_FIELDS.get(Queue(self.queue), ()))

    @property
    def is_review(self) -> bool:
        """Whether verdicts here are adjudications."""
        return self.queue in REVIEW

    @property
    def label(self) -> str:
        """Its name for people."""
        return str(Queue(self.queue).label)

    @property
    def query(self) -> str:
        """The address's query, `?queue=pair&a=…&b=…`; empty for the priority queue."""
        if self.queue == Queue.PRIORITY:
            return ""
        fields = zip(_FIELDS.get(Queue(self.queue), ()), self.codes, strict=False)
        return "?" + urlencode([("queue", str(self.queue)), *fields])


def pairs(project: Project, labels: LabelSet) -> list[tuple[Choice, int]]:
    """The pair queues that hold most, and how many questions; one bounded query."""
    return [
        (Choice(Queue.PAIR, (pair.a, pair.b)), pair.count)
        for pair in progress.confused_pairs(project, labels)
    ]
