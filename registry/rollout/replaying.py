"""A challenger answers what was asked lately: request, execute, sweep.

Both versions answer each text of the log under today's rules, weights and thresholds;
labels answer nothing here, so that they can tell who is right. The row decides who may
run a replay. `attempts` is the fence: whoever claims it raises it, and a former owner's
next write finds no row and stops.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext as _

from labeling import background
from labeling.models import GoldLabel, Project, Question
from registry import versions
from registry.models import Flip, Replay, Version
from registry.rollout.shadow import codes_of
from registry.serving import engine
from registry.serving.engine import Answer, Target
from registry.serving.fusion import Method
from registry.serving.runtime import runtime

JOB = "registry.jobs.replay"
TIMEOUT_S = 3600
SIZES = (1_000, 10_000, 50_000)
"""Requests that may be replayed, the newest; 50,000 different texts take the default
base some ten minutes on one core."""
_AT_ONCE = 128
_STALE = timedelta(seconds=120)
_LOST = timedelta(seconds=30)
_MOST_ATTEMPTS = 3

State = Replay.State
_logger = logging.getLogger(__name__)


class ReplayError(Exception):
    """What was asked for can't be replayed; the message is a sentence."""


class _Lost(Exception):
    """Somebody else has the replay: write nothing more."""


def request(version: Version, *, requests: int, by: User | None) -> Replay:
    """Has a worker replay a version over the newest requests of its project.

    One that is under way already is returned as it is.

    Raises:
        ReplayError: The version is active, or nothing was asked yet.
    """
    project = version.project
    baseline = versions.active(project)
    if baseline == version:
        raise ReplayError(_("%(version)s is active already.") % {"version": version})
    if not project.classifications.exists():
        raise ReplayError(_("Nobody has asked anything yet."))
    try:
        with transaction.atomic():
            replay = Replay.objects.create(
                project=project,
                version=version,
                baseline=baseline,
                requests=requests,
                by=by,
            )
            transaction.on_commit(partial(_put, replay.pk, 0))
            return replay
    except IntegrityError as error:
        if "replay_one_open_a_version" not in str(error):
            raise
        under_way = Q(state=State.QUEUED) | Q(state=State.RUNNING)
        return version.replays.get(under_way)


def execute(replay_id: int) -> bool:
    """Runs a replay to its end; False if somebody else has it or it is finished."""
    with transaction.atomic():
        free = Replay.objects.filter(
            Q(state=State.QUEUED) | Q(_stale(), state=State.RUNNING), pk=replay_id
        )
        if not free.update(
            state=State.RUNNING, attempts=F("attempts") + 1, beat_at=Now(), done=0
        ):
            return False
        replay = Replay.objects.select_related("project", "version", "baseline").get(
            pk=replay_id
        )
    mine = Replay.objects.filter(
        pk=replay_id, state=State.RUNNING, attempts=replay.attempts
    )
    try:
        _Run(replay, mine).work()
    except _Lost:
        return False
    except ReplayError as error:
        mine.update(state=State.FAILED, message=str(error), finished_at=Now())
    return True


def sweep() -> list[int]:
    """Takes up what crashed workers and a lost queue left; ids that were enqueued."""
    moved = []
    for replay in Replay.objects.filter(_stale(), state=State.RUNNING):
        rows = Replay.objects.filter(
            _stale(), pk=replay.pk, attempts=replay.attempts, state=State.RUNNING
        )
        if replay.attempts >= _MOST_ATTEMPTS:
            message = _("Given up: its process died %(count)d times.")
            rows.update(
                state=State.FAILED,
                message=message % {"count": replay.attempts},
                finished_at=Now(),
            )
        elif rows.update(state=State.QUEUED, beat_at=Now()):
            moved.append(replay.pk)
            _put(replay.pk, replay.attempts)
    waiting = Replay.objects.annotate(touched=Coalesce("beat_at", "created_at")).filter(
        state=State.QUEUED, touched__lt=Now() - _LOST
    )
    for replay in waiting:
        if not background.is_waiting(_job_id(replay.pk, replay.attempts)):
            moved.append(replay.pk)
            _put(replay.pk, replay.attempts)
    return moved


class _Text(NamedTuple):
    """A text of the log."""

    text: str
    question_id: int | None
    requests: int


class _Run:
    """One replay by whoever claimed it."""

    def __init__(self, replay: Replay, mine: QuerySet[Replay]) -> None:
        self.replay, self.mine = replay, mine
        project = replay.project
        book = runtime.rulebook(project.pk, project.serving_revision)
        self.fallback = book.fallback
        baseline = replay.baseline
        self.before = (
            Target(project, baseline.pk, baseline.number)
            if baseline
            else Target(project)
        )
        self.after = Target(project, replay.version.pk, replay.version.number)
        self.figures: Counter[str] = Counter()
        self.seconds = {"loading": 0.0, "before": 0.0, "after": 0.0}

    def work(self) -> None:
        replay = self.replay
        replay.flips.all().delete()  # of an attempt that died
        for side in (self.before, self.after):
            self._answer("loading", side, ["?"])
        texts = _texts(replay.project, replay.requests)
        self._note(texts=len(texts), flipped=0)
        flipped = 0
        for start in range(0, len(texts), _AT_ONCE):
            chunk = texts[start : start + _AT_ONCE]
            flips = list(self._flips(chunk))
            with transaction.atomic():
                Flip.objects.bulk_create(flips)
                flipped += len(flips)
                self._note(done=start + len(chunk), flipped=flipped)
        each = max(len(texts), 1)
        figures = {
            **self.figures,
            "ms_before": 1000 * self.seconds["before"] / each,
            "ms_after": 1000 * self.seconds["after"] / each,
        }
        self._note(state=State.DONE, figures=figures, finished_at=Now())

    def _note(self, **values: object) -> None:
        if not self.mine.update(beat_at=Now(), **values):
            raise _Lost

    def _flips(self, chunk: Sequence[_Text]) -> Iterator[Flip]:
        multi = self.replay.project.is_multi_intent
        wanted = _wanted(chunk, self.fallback)
        texts = [one.text for one in chunk]
        before = self._answer("before", self.before, texts)
        after = self._answer("after", self.after, texts)
        for one, old, new in zip(chunk, before, after, strict=True):
            codes_old, codes_new = (
                codes_of(old, multi=multi),
                codes_of(new, multi=multi),
            )
            right = None if one.question_id is None else wanted.get(one.question_id)
            self._count(one.requests, "before", old, codes_old, right)
            self._count(one.requests, "after", new, codes_new, right)
            self.figures["requests"] += one.requests
            self.figures["labelled"] += one.requests * (right is not None)
            if codes_old != codes_new:
                self.figures["flipped"] += one.requests
                yield Flip(
                    replay=self.replay,
                    question_id=one.question_id,
                    text=one.text,
                    requests=one.requests,
                    before=codes_old,
                    after=codes_new,
                    confidence_before=old.confidence,
                    confidence_after=new.confidence,
                    wanted=right,
                )

    def _answer(self, side: str, target: Target, texts: Sequence[str]) -> list[Answer]:
        began = time.perf_counter()
        answers = engine.classify(target, texts, top_k=1, use_gold=False)
        self.seconds[side] += time.perf_counter() - began
        if any(answer.degraded for answer in answers):
            raise ReplayError(_("v%(n)s cannot answer.") % {"n": target.number})
        return answers

    def _count(
        self,
        requests: int,
        side: str,
        answer: Answer,
        codes: list[str],
        wanted: list[str] | None,
    ) -> None:
        self.figures[f"low_{side}"] += requests * answer.needs_review
        is_fallback = answer.method == Method.FALLBACK
        self.figures[f"fallback_{side}"] += requests * is_fallback
        self.figures[f"right_{side}"] += requests * (codes == wanted)


_TEXTS = """
SELECT min(text), question_id, count(*) FROM (
    SELECT text, question_id FROM registry_classificationlog
    WHERE project_id = %s ORDER BY created_at DESC LIMIT %s) AS newest
GROUP BY question_id, CASE WHEN question_id IS NULL THEN text END
ORDER BY count(*) DESC, min(text)
"""


def _texts(project: Project, requests: int) -> list[_Text]:
    with connection.cursor() as cursor:
        cursor.execute(_TEXTS, [project.pk, requests])
        return [_Text(*row) for row in cursor.fetchall()]


def _wanted(chunk: Sequence[_Text], fallback: str | None) -> dict[int, list[str]]:
    """The right intents of labelled questions, sorted; two queries."""
    ids = [one.question_id for one in chunk if one.question_id is not None]
    labelled = Question.objects.filter(pk__in=ids, state=Question.State.LABELLED)
    wanted: dict[int, list[str]] = {
        pk: [] for pk in labelled.values_list("pk", flat=True)
    }
    gold = GoldLabel.objects.filter(question__in=wanted).order_by("intent__code")
    rows = gold.values_list("question_id", "intent__code", "intent__retired_at")
    for question_id, code, retired_at in rows:
        if retired_at is not None:
            wanted.pop(question_id, None)  # the label names what is answered no more
        elif question_id in wanted:
            wanted[question_id].append(code)
    none = [] if fallback is None else [fallback]
    return {pk: codes or none for pk, codes in wanted.items()}


def _stale() -> Q:
    return Q(beat_at=None) | Q(beat_at__lt=Now() - _STALE)


def _put(replay_id: int, attempt: int) -> None:
    """Enqueues a replay; where the queue is away, `sweep` does it later."""
    background.put(
        JOB,
        replay_id,
        job_id=_job_id(replay_id, attempt),
        timeout_s=TIMEOUT_S,
        may_wait=True,
    )


def _job_id(replay_id: int, attempt: int) -> str:
    return f"replay-{replay_id}-{attempt}"
