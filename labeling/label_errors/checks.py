"""A search for likely label errors: asked for, run by a worker, written down."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from labeling import background
from labeling.models import Embedding, Intent, LabelCheck, Project

NEWEST = 50_000
"""Labels that a search examines: the newest ones; about 0.3 GB of memory."""
NEWEST_CELLS = 3_000_000
"""With several intents a question: at most so many labels times intents."""
EMBEDDED_SHARE = 0.9
"""Vectors are used where so many of the questions have one; the rest is left out."""
TIMEOUT_S = 3600
JOB = "labeling.jobs.find_label_errors"

# Confirmed labels teach the model like all others; they are not doubted again.
_LABELS = """
SELECT q.id, q.text, coalesce(leader.text_hash, q.text_hash), q.labelled_at,
    gold.intents, gold.is_confirmed, halfvec_send(e.vector)
FROM (
    SELECT id, text, text_hash, cluster_id, labelled_at FROM labeling_question
    WHERE project_id = %(project)s AND state = 'labelled'
    ORDER BY labelled_at DESC NULLS LAST, id DESC LIMIT %(newest)s
) q CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(intent_id), '{}') AS intents,
        coalesce(bool_or(source = 'adjudication'), false) AS is_confirmed
    FROM labeling_goldlabel WHERE question_id = q.id
) gold LEFT JOIN labeling_embedding e ON e.question_id = q.id
    LEFT JOIN labeling_question leader ON leader.id = q.cluster_id
"""

_LOCK = """
SELECT FROM labeling_question WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE
"""

# A label that was changed meanwhile was not examined.
_SUSPECT = """
UPDATE labeling_question q SET suspicion = found.suspicion
FROM unnest(%(ids)s::bigint[], %(suspicion)s::float8[], %(at)s::timestamptz[])
    AS found (id, suspicion, at)
WHERE q.id = found.id AND q.state = 'labelled'
    AND q.labelled_at IS NOT DISTINCT FROM found.at
    AND q.suspicion IS DISTINCT FROM found.suspicion
"""

_STANDING = """
SELECT id FROM labeling_question
WHERE project_id = %(project)s AND state = 'labelled' AND suspicion IS NOT NULL
"""


@dataclass(frozen=True)
class Label:
    """A labelled question as a search sees it."""

    id: int
    text: str
    group: str
    """Hash of the text that leads its near-duplicates: the same in each database."""
    labelled_at: datetime | None
    intents: tuple[int, ...]
    is_confirmed: bool
    vector: bytes | None


def last(project: Project) -> LabelCheck | None:
    """The newest search, finished or not. One query."""
    checks = LabelCheck.objects.filter(project=project).select_related("by")
    return checks.order_by("-id").first()


def is_under_way(check: LabelCheck | None) -> bool:
    """Whether it waits or runs; one that was asked for too long ago was lost."""
    if check is None or check.finished_at is not None:
        return False
    return check.asked_at > timezone.now() - timedelta(seconds=TIMEOUT_S)


@transaction.atomic
def ask(project: Project, *, by: User | None) -> LabelCheck:
    """Puts a search on the queue; returns the one under way if there is one.

    Raises:
        redis.exceptions.RedisError: The queue can't be reached; nothing was written.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    newest = last(project)
    if newest is not None and is_under_way(newest):
        return newest
    check = LabelCheck.objects.create(project=project, by=by)
    background.ping()  # says so now, not after the commit
    transaction.on_commit(partial(_enqueue, project.pk))
    return check


def find(project_id: int) -> LabelCheck:
    """Searches the project's newest labels and marks the doubtful ones.

    Writes `Question.suspicion` of the labels that are likely wrong, and takes it from
    those examined that are not. Test questions take part: they teach no version, but a
    wrong label among them falsifies each measurement. Labels that a reviewer settled
    are never doubted.

    Cost: `NEWEST` labels take a minute or two on two cores; a few statements.
    """
    project = Project.objects.get(pk=project_id)
    newest = last(project)
    check = newest if newest and is_under_way(newest) else LabelCheck(project=project)
    try:
        labels = _read(project)
        suspicion = _search(project, check, labels)
        _write(project, labels, suspicion)
        check.found = len(suspicion)
    except _Refused as refused:
        check.refusal = refused.why
    except BaseException:  # RQ's time limit, too
        check.refusal = LabelCheck.Refusal.FAILED
        raise
    finally:
        check.finished_at = timezone.now()
        check.save()
    return check


class _Refused(Exception):
    def __init__(self, why: LabelCheck.Refusal) -> None:
        self.why = why
        super().__init__(why)


def _search(
    project: Project, check: LabelCheck, labels: Sequence[Label]
) -> dict[int, float]:
    """Suspicion by question id; fills in what the check says about it."""
    from labeling.label_errors import finding

    if len(labels) < 2 * finding.MIN_LABELS:
        raise _Refused(LabelCheck.Refusal.FEW_LABELS)
    embedded = [label for label in labels if label.vector is not None]
    if len(embedded) >= EMBEDDED_SHARE * len(labels):
        labels = embedded
        check.features = LabelCheck.Features.VECTORS
        features = _vectors(labels)
    else:
        check.features = LabelCheck.Features.TEXTS
        features = finding.text_features([label.text for label in labels])
    try:
        doubts = finding.doubt(
            features,
            [label.intents for label in labels],
            [label.group for label in labels],
            is_multi=project.is_multi_intent,
        )
    except finding.TooFewIntents as error:
        raise _Refused(LabelCheck.Refusal.FEW_INTENTS) from error
    check.examined = doubts.examined
    intents = Intent.objects.filter(pk__in=doubts.left_out)
    check.left_out = list(intents.order_by("code").values_list("code", flat=True))
    return {
        labels[row].id: suspicion
        for row, suspicion in doubts.suspicion.items()
        if not labels[row].is_confirmed
    }


def _read(project: Project) -> list[Label]:
    newest = NEWEST
    if project.is_multi_intent:
        intents = Intent.objects.filter(project=project, retired_at=None).count()
        newest = min(newest, NEWEST_CELLS // max(1, intents))
    with connection.cursor() as cursor:
        cursor.execute(_LABELS, {"project": project.pk, "newest": newest})
        return [
            Label(pk, text, group, at, tuple(intents), is_confirmed, vector)
            for pk, text, group, at, intents, is_confirmed, vector in cursor
        ]


def _vectors(labels: Sequence[Label]) -> Any:
    """(N, 384) float32."""
    features = np.empty((len(labels), Embedding.DIMENSIONS), dtype=np.float32)
    for row, label in enumerate(labels):
        # Big-endian half floats after four bytes that say how many.
        features[row] = np.frombuffer(label.vector or b"", ">f2", offset=4)
    return features


@transaction.atomic
def _write(
    project: Project, labels: Sequence[Label], suspicion: dict[int, float]
) -> None:
    """Marks the doubtful ones and clears the others of `labels`. Three statements."""
    at = {label.id: label.labelled_at for label in labels}
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, {"project": project.pk})
        standing = {pk for (pk,) in cursor.fetchall()}
        ids = sorted(suspicion.keys() | (standing & at.keys()))
        cursor.execute(_LOCK, {"ids": ids})
        cursor.execute(
            _SUSPECT,
            {
                "ids": ids,
                "suspicion": [suspicion.get(pk) for pk in ids],
                "at": [at[pk] for pk in ids],
            },
        )


def _enqueue(project_id: int) -> None:
    background.put(
        JOB, project_id, job_id=f"label-errors-{project_id}", timeout_s=TIMEOUT_S
    )
