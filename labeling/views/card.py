"""What a queue card shows, and what it sends back."""

from dataclasses import dataclass
from functools import cached_property

from django.contrib.auth.models import User
from django.http import QueryDict

from labeling import progress
from labeling.models import Intent, Project, Question
from labeling.progress import Progress
from labeling.queue import Claimed
from labeling.suggestions import Suggestion, suggest

MAX_COMMENT_CHARS = 2000
_MAX_SPENT_MS = 24 * 3600 * 1000
_MAX_HEARTBEAT_S = 60


def intents_of(project: Project) -> dict[str, Intent]:
    """The project's intents in use, by code, in the codes' order. One query."""
    intents = project.intents.filter(retired_at=None).order_by("code")
    return {intent.code: intent for intent in intents}


@dataclass
class Card:
    """One question for one person; `claimed` is None when nothing is left for them."""

    project: Project
    claimed: Claimed | None
    intents: dict[str, Intent]
    progress: Progress

    @classmethod
    def of(cls, project: Project, user: User, claimed: Claimed | None) -> "Card":
        """Reads what the card needs beside the question: about five queries."""
        return cls(project, claimed, intents_of(project), progress.of(project, user))

    @property
    def question(self) -> Question:
        """The question on the card; ask only if it is `claimed`."""
        assert self.claimed is not None
        return self.claimed.question

    @cached_property
    def suggestions(self) -> list[Suggestion]:
        """Intents on the keys 1 to 9."""
        return suggest(self.project, self.question, self.intents)

    @property
    def prediction(self) -> Suggestion | None:
        """The latest answer's first intent, if it is still in use."""
        first = next(iter(self.suggestions), None)
        return first if first and first.confidence is not None else None

    @property
    def is_unsure(self) -> bool:
        """Whether the latest answer is below the project's low confidence."""
        confidence = self.question.confidence
        return confidence is not None and confidence < self.project.low_confidence

    @property
    def fallback(self) -> Intent | None:
        """The intent on key 0."""
        return next((one for one in self.intents.values() if one.is_fallback), None)

    @property
    def heartbeat_s(self) -> int:
        """Seconds between two renewals: several within one lease."""
        return max(1, min(_MAX_HEARTBEAT_S, self.project.lease_s // 4))


@dataclass(frozen=True)
class Step:
    """What a card's form says."""

    question_id: int
    token: int
    intents: list[str]
    is_none: bool
    """None of the intents, on purpose; in multi-intent projects."""
    comment: str
    reason: str
    time_spent_ms: int | None

    @classmethod
    def read(cls, form: QueryDict) -> "Step | None":
        """None for a form that no card of ours sends."""
        question_id, token = (_number(form.get(name)) for name in ("question", "token"))
        if question_id is None or token is None:
            return None
        spent = _number(form.get("time_spent_ms"))
        return cls(
            question_id=question_id,
            token=token,
            intents=[_text(code) for code in form.getlist("intent") if code],
            is_none=form.get("none") == "1",
            comment=_text(form.get("comment", "")),
            reason=_text(form.get("reason", "")),
            time_spent_ms=None if spent is None else min(spent, _MAX_SPENT_MS),
        )


def _number(text: str | None) -> int | None:
    """A whole number that fits a bigint."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    return int(text)


def _text(text: str) -> str:
    return text.replace("\0", "").strip()[:MAX_COMMENT_CHARS]
