"""What a worker does with a paraphrasing, from its claim to its end."""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import translation
from django.utils.translation import gettext as _

from labeling import llm
from labeling.growth import keeping, nearness
from labeling.growth.keeping import LeftOut, New
from labeling.growth.paraphraser import Paraphraser
from labeling.growth.queueing import STALE_S
from labeling.models import (
    Intent,
    Paraphrasing,
    Question,
    SyntheticQuestion,
)

CHUNK = 10
"""Questions whose paraphrases are compared and kept at once; after a crash up to so
many are sent again."""

_TRIES = 2
"""Times that a question is sent whose answer can't be read."""

_PATIENCE = 3
"""Questions in a row without an answer after which the server counts as away."""

_PATIENCE_UNREADABLE = 10
"""The same for answers that can't be read: a small model fails now and then."""

State = Paraphrasing.State
_logger = logging.getLogger(__name__)


class Stopped(Exception):
    """It was cancelled, or somebody else has it: write nothing more."""


def run(run_id: int) -> bool:
    """Runs a paraphrasing to its end; False if somebody else has it or it is finished.

    One that was cut off goes on where its last chunk was kept.
    """
    claim = _Claim.take(run_id)
    if claim is None:
        return False
    todo = Paraphrasing.objects.select_related("project").get(pk=run_id)
    with translation.override(todo.language or None):
        error = ""
        try:
            _Run(todo, claim).to_its_end()
        except Stopped:
            return True
        except llm.LanguageModelError as refused:
            error = str(refused)
        except Exception as crash:
            _logger.exception("paraphrasing %s failed", run_id)
            error = f"{type(crash).__name__}: {crash}"[:2000]
        claim.end(State.FAILED if error else State.SUCCEEDED, error=error)
    return True


class _Claim:
    """The right to run one paraphrasing, for as long as nobody else takes it.

    `beat_at` is the claim: each write names the value that was written before.
    """

    def __init__(self, run_id: int, beat_at: datetime) -> None:
        self._run_id, self._beat_at = run_id, beat_at

    @classmethod
    def take(cls, run_id: int) -> "_Claim | None":
        """One conditional update: of many callers exactly one gets it."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE labeling_paraphrasing
                SET state = 'running', beat_at = clock_timestamp(), error = ''
                WHERE id = %s AND (
                    state = 'queued' OR state = 'running' AND (
                        beat_at IS NULL
                        OR beat_at < clock_timestamp() - make_interval(secs => %s)))
                RETURNING beat_at
                """,
                [run_id, STALE_S],
            )
            row = cursor.fetchone()
        return None if row is None else cls(run_id, row[0])

    def beat(self, **changes: Any) -> None:
        """Keeps the claim and writes `changes`; raises Stopped if it is lost."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (now,) = cursor.fetchone()
        if not self._mine().update(beat_at=now, **changes):
            raise Stopped
        self._beat_at = now

    def end(self, state: str, **changes: Any) -> None:
        """Ends the run, if it is still ours."""
        self._mine().update(state=state, finished_at=Now(), **changes)

    def _mine(self) -> Any:
        return Paraphrasing.objects.filter(
            pk=self._run_id, state=State.RUNNING, beat_at=self._beat_at
        )


class _Run:
    """One attempt, and how far it is."""

    def __init__(self, todo: Paraphrasing, claim: _Claim) -> None:
        self._todo, self._claim = todo, claim
        self._left_out = Counter(todo.left_out)
        self._made = todo.made
        self._silent = self._unreadable = 0

    def to_its_end(self) -> None:
        """Sends what is left to send, and keeps what comes back.

        Raises:
            Stopped: The claim is lost.
            LanguageModelError: The server is of no use; the message says why.
        """
        server = llm.configured()
        if server is None or (server.host[:200], server.model[:200]) != (
            self._todo.server,
            self._todo.model,
        ):
            # Who confirmed it was told another address.
            raise llm.LanguageModelError(
                _("The language model was set up anew meanwhile: start again.")
            )
        paraphraser = Paraphraser(server)
        ids: list[int] = self._todo.questions
        for start in range(self._todo.sent - self._todo.sent % CHUNK, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            new: list[New] = []
            for place, question_id in enumerate(chunk, start=start):
                new += self._ask(paraphraser, question_id)
                if place + 1 < start + len(chunk):
                    self._claim.beat(sent=place + 1)
            self._keep(new, sent=start + len(chunk))

    def _ask(self, paraphraser: Paraphraser, question_id: int) -> list[New]:
        """The paraphrases of one question; none where none could be had."""
        found = _to_be_sent(question_id)
        if found is None:
            self._left_out[LeftOut.NOT_SENT] += 1
            return []
        question, intent = found
        meaning = " – ".join(filter(None, [intent.name, intent.description]))
        why = ""
        for _try in range(_TRIES):
            try:
                texts = paraphraser.ask(
                    question.text,
                    intent=meaning or intent.code,
                    count=self._todo.per_question,
                )
            except llm.Unreadable as error:
                self._claim.beat()
                why = str(error)
                continue
            except llm.NoAnswer as error:
                self._claim.beat()
                self._silent += 1
                if self._silent >= _PATIENCE:
                    raise llm.LanguageModelError(str(error)) from error
                self._left_out[LeftOut.NO_ANSWER] += 1
                return []
            self._silent = self._unreadable = 0
            return [New(intent.pk, text, source_id=question.pk) for text in texts]
        self._left_out[LeftOut.UNREADABLE] += 1
        self._unreadable += 1
        if self._unreadable >= _PATIENCE_UNREADABLE:
            raise llm.LanguageModelError(why)
        return []

    def _keep(self, new: Sequence[New], *, sent: int) -> None:
        """Keeps what is near nothing that is there, and says so in one go."""
        project_id = self._todo.project_id
        left_out = self._left_out.copy()
        with transaction.atomic():
            keeping.take_turn(project_id)
            texts = nearness.Texts([one.text for one in new])
            taken = nearness.taken(project_id, texts)
            left_out[LeftOut.TAKEN] += len(taken)
            made = nearness.Apart(texts)
            chosen = []
            for place, one in enumerate(new):
                if place in taken:
                    continue
                if made.take(place):
                    chosen.append(one)
                else:
                    left_out[LeftOut.NEAR_MADE] += 1
            origin = SyntheticQuestion.Origin.PARAPHRASE
            kept = keeping.keep(project_id, chosen, origin).total()
            left_out[LeftOut.TAKEN] += len(chosen) - kept
            self._claim.beat(
                sent=sent,
                made=self._made + kept,
                left_out={str(reason): n for reason, n in left_out.items() if n},
            )
        self._made, self._left_out = self._made + kept, left_out


def _to_be_sent(question_id: int) -> tuple[Question, Intent] | None:
    """A question and its intent, if it may still leave this house. Two queries."""
    question = Question.objects.filter(
        pk=question_id, split=Question.Split.TRAIN, state=Question.State.LABELLED
    ).first()
    intents = list(Intent.objects.filter(gold_labels__question=question_id)[:2])
    if question is None or len(intents) != 1 or intents[0].retired_at is not None:
        return None
    return question, intents[0]
