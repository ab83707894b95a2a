"""Which questions are alike: vectors of questions, stored and searched.

Vectors lie in `Embedding`, indexed by two HNSW graphs (pgvector): one of all, one of
the labelled ones alone. A search walks a graph from near to far and drops what the
filters refuse, until it has enough (`hnsw.iterative_scan`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from labeling.models import Embedding, Project, Question

Vectors = npt.NDArray[np.float32]
"""(N, 384), rows of unit length."""

CHUNK = 64
"""Questions that are encoded and stored at once: about half a second of work."""


class EncoderMissing(Exception):
    """No encoder can be used here; the message is a sentence that says what to do."""


@dataclass(frozen=True)
class Neighbour:
    """A question near another one."""

    question: Question
    """With its gold intents prefetched (`question.gold.all()` costs no query)."""

    similarity: float
    """Cosine: 1 for the same direction. Of two unrelated questions about 0.8."""


def encode(texts: Sequence[str]) -> Vectors:
    """Unit vectors (N, 384), float32, by the function that `LABELING_ENCODER` names.

    Raises:
        EncoderMissing: It can't be used here; the message says what to do.
    """
    embed: Callable[[Sequence[str]], Vectors] = import_string(settings.LABELING_ENCODER)
    return embed(texts)


def pending(project_id: int, limit: int) -> list[tuple[int, str]]:
    """Questions without a vector: labelled ones first, then by priority.

    Cost: one statement that looks at every question of the project (0.2 s for 100,000,
    however many are missing), so ask for thousands at a time.

    Args:
        project_id: The project.
        limit: At most so many.

    Returns:
        (question id, text).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT q.id, q.text FROM labeling_question q
            WHERE q.project_id = %s AND NOT EXISTS (
                SELECT FROM labeling_embedding e WHERE e.question_id = q.id)
            ORDER BY (q.state = 'labelled') DESC, q.priority DESC, q.id
            LIMIT %s
            """,
            [project_id, limit],
        )
        return [(question_id, text) for question_id, text in cursor.fetchall()]


def store(project_id: int, vectors: Mapping[int, Sequence[float]]) -> int:
    """Keeps the vectors of questions; one that has a vector keeps the one it has.

    Cost: two statements; 4 to 8 ms a vector, the more the more there are and twice for
    labelled questions, which stand in both graphs. Safe beside another `store` and
    beside labelling.

    Args:
        project_id: Questions of other projects, or deleted ones, are left out.
        vectors: Unit vectors (384,) by question id.

    Returns:
        How many were new.
    """
    ids = sorted(vectors)
    values = [_text(vectors[question_id]) for question_id in ids]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO labeling_embedding
                (question_id, project_id, vector, is_labelled)
            SELECT q.id, q.project_id, v.vector::halfvec, q.state = 'labelled'
            FROM unnest(%s::bigint[], %s::text[]) v (id, vector)
            JOIN labeling_question q ON q.id = v.id
            WHERE q.project_id = %s
            ORDER BY q.id
            ON CONFLICT (question_id) DO NOTHING
            RETURNING question_id
            """,
            [ids, values, project_id],
        )
        new = [question_id for (question_id,) in cursor.fetchall()]
        # A label that was written meanwhile did not see these rows yet. Its question is
        # locked until then; whoever locks it after us finds them.
        cursor.execute(
            """
            WITH now AS MATERIALIZED (
                SELECT id, state = 'labelled' AS is_labelled FROM labeling_question
                WHERE id = ANY(%s) ORDER BY id FOR SHARE)
            UPDATE labeling_embedding e SET is_labelled = now.is_labelled FROM now
            WHERE e.question_id = now.id AND e.is_labelled <> now.is_labelled
            """,
            [new],
        )
    return len(new)


def catch_up(project_id: int, *, limit: int) -> list[int]:
    """Encodes and stores what is missing, `CHUNK` questions a transaction.

    Cost: `pending`, then about 10 ms a short question, most of it `store`.

    Args:
        project_id: The project.
        limit: At most so many questions.

    Returns:
        Ids of the questions that are searchable now.

    Raises:
        EncoderMissing: There is no encoder.
    """
    missing = pending(project_id, limit)
    for start in range(0, len(missing), CHUNK):
        ids, texts = zip(*missing[start : start + CHUNK], strict=True)
        store(project_id, dict(zip(ids, encode(texts), strict=True)))
    return [question_id for question_id, _text in missing]


def nearest(
    project: Project,
    vector: Sequence[float],
    *,
    limit: int = 5,
    labelled: bool | None = None,
    without_test: bool = False,
    exclude: Collection[int] = (),
) -> list[Neighbour]:
    """The project's questions nearest to a vector, nearest first.

    Cost: one search (1 ms among 100,000 in memory), two for `labelled=None`, and two
    reads, 5 to 10 ms in all on a busy machine. The graphs are approximate: a few true
    neighbours in a hundred are missed.

    Args:
        project: Whose questions.
        vector: (384,), from `encode`.
        limit: At most so many.
        labelled: Only those with gold intents, only those without, or any.
        without_test: Leave test questions out.
        exclude: Ids to leave out.
    """
    found = _search(
        project.pk,
        "%(vector)s::halfvec",
        {"vector": _text(vector)},
        limit=limit,
        labelled=labelled,
        without_test=without_test,
        exclude=exclude,
    )
    return _neighbours(found)


def like(
    question: Question,
    *,
    limit: int = 5,
    labelled: bool | None = None,
    without_test: bool = False,
) -> list[Neighbour]:
    """The questions nearest to a question, without itself; [] if it has no vector yet.

    Cost and arguments: as `nearest`.
    """
    found = _search(
        question.project_id,
        "(SELECT vector FROM labeling_embedding WHERE question_id = %(question)s)",
        {"question": question.pk},
        limit=limit,
        labelled=labelled,
        without_test=without_test,
        exclude=[question.pk],
    )
    return _neighbours(found)


def set_up_search(*, max_scan: int = 20_000) -> None:
    """Makes searches of this transaction go on until enough rows pass the filters.

    Args:
        max_scan: Give up after so many rows; 20,000 is pgvector's default.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('hnsw.iterative_scan', 'strict_order', true),"
            " set_config('hnsw.max_scan_tuples', %s, true)",
            [str(max_scan)],
        )


def _search(
    project_id: int,
    vector: str,
    params: dict[str, Any],
    *,
    limit: int,
    labelled: bool | None,
    without_test: bool,
    exclude: Collection[int],
) -> list[tuple[int, float]]:
    """(question id, similarity) of the nearest, nearest first."""
    if labelled is None:  # labelled ones and others have a graph each
        found = [
            one
            for among in (True, False)
            for one in _search(
                project_id,
                vector,
                params,
                limit=limit,
                labelled=among,
                without_test=without_test,
                exclude=exclude,
            )
        ]
        return sorted(found, key=lambda one: -one[1])[:limit]
    conditions = [
        "e.is_labelled" if labelled else "NOT e.is_labelled",
        "e.project_id = %(project)s",
        "e.question_id <> ALL(%(exclude)s)",
    ]
    join = ""
    if without_test:
        join = "JOIN labeling_question q ON q.id = e.question_id AND q.split <> 'test'"
    params |= {"project": project_id, "exclude": list(exclude), "limit": limit}
    with transaction.atomic(), connection.cursor() as cursor:
        set_up_search()
        cursor.execute(
            # Only literals of this module are put together here.
            f"""
            SELECT e.question_id, 1 - (e.vector <=> {vector})
            FROM labeling_embedding e {join}
            WHERE {" AND ".join(conditions)}
            ORDER BY e.vector <=> {vector}
            LIMIT %(limit)s
            """,  # noqa: S608
            params,
        )
        # Without a vector every distance is null.
        return [(pk, value) for pk, value in cursor.fetchall() if value is not None]


def _neighbours(found: Sequence[tuple[int, float]]) -> list[Neighbour]:
    questions = Question.objects.prefetch_related("gold").in_bulk(
        [pk for pk, _ in found]
    )
    return [
        Neighbour(questions[pk], similarity)
        for pk, similarity in found
        if pk in questions
    ]


def _text(vector: Sequence[float]) -> str:
    """A vector as PostgreSQL reads it."""
    values = np.asarray(vector, np.float32)
    if values.shape != (Embedding.DIMENSIONS,) or not np.isfinite(values).all():
        raise ValueError(f"not a vector of {Embedding.DIMENSIONS} numbers")
    return "[" + ",".join(f"{value:.6g}" for value in values.tolist()) + "]"
