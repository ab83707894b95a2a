"""A project's running rollout at a request: who answers it, and who only listens."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Protocol, TypeVar
from uuid import UUID

from django.db import connection

from registry.models import Rollout
from registry.rollout import shadow as _shadow
from registry.rollout.shadow import Note, codes_of, shadow
from registry.serving import engine
from registry.serving.engine import Answer, Target
from registry.serving.fusion import Method
from registry.serving.process import is_web
from registry.serving.rollout import RolloutSpec
from registry.serving.runtime import Unavailable, runtime

_AGAIN_S = 30.0
"""Before a canary that could not be loaded is tried again."""

_logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Answered(Protocol):
    """An answer under its request id."""

    @property
    def request_id(self) -> UUID: ...

    @property
    def answer(self) -> Answer: ...


def is_chosen(spec: RolloutSpec, request_id: UUID) -> bool:
    """Whether a request is of the share; the same in every process, and once for all.

    Another rollout of the same share takes other requests.
    """
    if spec.share >= 1:
        return True
    digest = blake2b(request_id.bytes, digest_size=8, salt=spec.id.to_bytes(16))
    return int.from_bytes(digest.digest()) < spec.share * 2**64


def choose(target: Target, request_id: UUID) -> Target:
    """What a request is answered with: the active version, or the canary on its share.

    A canary that is not in memory yet, or can't be loaded, answers nobody: web
    processes load it aside and go on with the active version.
    """
    spec = target.rollout
    if (
        spec is None
        or spec.mode != Rollout.Mode.CANARY
        or spec.version_id == target.version_id
        or not is_chosen(spec, request_id)
        or not _is_loaded(spec.version_id)
    ):
        return target
    return replace(target, version_id=spec.version_id, number=spec.number)


def then(
    target: Target,
    texts: Sequence[str],
    begin: Callable[[list[Answer]], Callable[[], Result]],
    *,
    request_id: UUID,
    top_k: int,
) -> Result:
    """`engine.then` by whoever is chosen; no user is worse off for a canary.

    What a canary fails at is answered by the active version, and counted.

    Args:
        target: The project, its active version and its rollout.
        texts: See `engine.then`; all are answered by the same version.
        begin: See `engine.then`.
        request_id: Of the first of them.
        top_k: See `engine.then`.
    """
    chosen = choose(target, request_id)
    if chosen is target:
        return engine.then(target, texts, begin, top_k=top_k)
    answers = engine.classify(chosen, texts, top_k=top_k)
    if not any(answer.degraded for answer in answers):
        return begin(answers)()
    assert target.rollout is not None
    n = sum(answer.degraded for answer in answers)
    if is_web():
        shadow.note_failed(target.rollout.id, n)
    else:
        _shadow.write([], failed=Counter({target.rollout.id: n}))
    return engine.then(target, texts, begin, top_k=top_k)


def observe(target: Target, answered: Sequence[Answered], *, latency_ms: float) -> None:
    """Lets the version in shadow answer what was answered, on its share.

    Web processes do it behind the requests, see `registry.rollout.shadow`; others at
    once.

    Args:
        target: What answered.
        answered: Its answers. Gold labels are left out: no version is asked for them.
        latency_ms: Of one of the answers.

    Cost: nothing without a rollout in shadow; about 5 µs a text with one.
    """
    spec = target.rollout
    if spec is None or spec.mode != Rollout.Mode.SHADOW:
        return
    project = target.project
    notes = [
        Note(
            spec,
            project,
            one.request_id,
            one.answer.text,
            codes_of(one.answer, multi=project.is_multi_intent),
            one.answer.confidence,
            latency_ms,
        )
        for one in answered
        if one.answer.method != Method.GOLD and is_chosen(spec, one.request_id)
    ]
    if not notes:
        return
    if is_web():
        shadow.offer(notes)
        return
    compared, failed = _shadow.compare(notes)
    _shadow.write(compared, failed=failed)


def _is_loaded(version_id: int) -> bool:
    if runtime.holds(version_id):
        return True
    if is_web():
        _loading.begin(version_id)
        return False
    try:
        runtime.bundle(version_id)
    except Unavailable:
        return False
    return True


class _Loading:
    """Loads canaries aside, one at a time; a request never waits for one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[int, float] = {}

    def begin(self, version_id: int) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._begun.get(version_id, -_AGAIN_S) < _AGAIN_S:
                return
            self._begun[version_id] = now
        thread = threading.Thread(
            target=self._load, args=[version_id], name="tuneloop-canary", daemon=True
        )
        thread.start()

    @staticmethod
    def _load(version_id: int) -> None:
        try:
            runtime.bundle(version_id)
        except Unavailable:
            pass  # said in the log and on the process's row
        except Exception:
            _logger.exception("cannot load version %s", version_id)
        finally:
            connection.close()


_loading = _Loading()
