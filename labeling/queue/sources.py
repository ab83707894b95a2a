"""What each queue hands out, in which order, as one SQL statement a queue."""

from dataclasses import dataclass

from labeling.models import Question, Queue

REVIEW = (Queue.DISPUTED, Queue.SUSPECT, Queue.BROKEN)
"""Only reviewers work through these; each verdict there is an adjudication."""


@dataclass(frozen=True)
class Source:
    """A queue's questions. Each walks one index from its start, so nothing is sorted,
    however many questions there are."""

    where: str
    """SQL on `labeling_question q`; it implies the condition of the queue's index."""
    order: str
    """The columns of that index."""
    state: str = Question.State.OPEN
    """Of its questions."""


# Test questions are handed out by the audit alone: blind, in an order that has nothing
# to do with what they say.
_OPEN = "q.state = 'open' AND q.split <> 'test'"
_FIRST, _SECOND = "(q.predicted #>> '{0,code}')", "(q.predicted #>> '{1,code}')"

SOURCES: dict[str, Source] = {
    Queue.PRIORITY: Source(_OPEN, "q.priority DESC, q.id"),
    Queue.UNSURE: Source(
        f"{_OPEN} AND q.confidence < %(low_confidence)s", "q.confidence, q.id"
    ),
    # A range and an order of one value: the index by state alone has this order. The
    # primary key, read backwards, would go through all that is labelled by now.
    Queue.NEWEST: Source(
        "q.state BETWEEN 'open' AND 'open' AND q.split <> 'test'",
        "q.state, q.id DESC",
    ),
    Queue.PAIR: Source(
        f"{_OPEN} AND {_FIRST} = ANY(%(codes)s) AND {_SECOND} = ANY(%(codes)s)",
        f"{_FIRST}, {_SECOND}",
    ),
    Queue.INTENT: Source(f"{_OPEN} AND {_FIRST} = ANY(%(codes)s)", _FIRST),
    Queue.CONFLICT: Source(f"{_OPEN} AND q.is_conflict", "q.priority DESC, q.id"),
    Queue.AUDIT: Source("q.state = 'open' AND q.split = 'test'", "q.text_hash"),
    Queue.DISPUTED: Source(
        "q.state = 'disputed'", "q.priority DESC, q.id", Question.State.DISPUTED
    ),
    Queue.SUSPECT: Source(
        "q.state = 'labelled' AND q.suspicion IS NOT NULL",
        "q.suspicion DESC, q.id",
        Question.State.LABELLED,
    ),
    # The newest version's first.
    Queue.BROKEN: Source(
        "q.state = 'labelled' AND q.broken_by IS NOT NULL",
        "q.broken_by DESC, q.id",
        Question.State.LABELLED,
    ),
}

# - `mine`: what the person holds of these queues already comes back, renewed: a
#   reloaded page shows the same questions.
# - `picked`: row locks keep concurrent claims apart; SKIP LOCKED keeps them from
#   queueing. Only when everything else is gone the claim waits for locked rows: else a
#   queue would look empty while its last questions are being claimed or answered.
#   A person who held a slot of the question before gets that slot, because
#   (question, holder) is unique too.
# - `taken`: a claim may have been committed after this statement's snapshot and freed
#   its row lock. Then the unique (question, slot) collides, the lease found there is
#   alive, and the WHERE yields no row: the caller tries again with a new snapshot. It
#   knows by the rows of nulls, one for each row of `picked`. Tokens grow in the order
#   of the queue.
# - `most` is a constant, so that the planner knows to expect few rows.
_CLAIM = """
WITH mine AS (
    UPDATE labeling_lease l SET expires_at = statement_timestamp() + %(lease)s
    FROM labeling_question q
    WHERE l.holder_id = %(user)s AND l.expires_at > statement_timestamp()
      AND l.queue = ANY(%(held)s)
      AND q.id = l.question_id AND q.project_id = %(project)s AND q.state = '{state}'
    RETURNING l.question_id, l.token, l.expires_at, l.queue, l.is_returned
), picked AS (
    SELECT q.id, free.slot
    FROM labeling_question q CROSS JOIN LATERAL (
        SELECT s.slot FROM generate_series(0, %(overlap)s - 1) AS s (slot)
        WHERE NOT EXISTS (
            SELECT FROM labeling_lease l
            WHERE l.question_id = q.id AND l.slot = s.slot
              AND (l.expires_at > statement_timestamp() OR l.expires_at IS NULL)
        )
        ORDER BY EXISTS (
            SELECT FROM labeling_lease l
            WHERE l.question_id = q.id AND l.slot = s.slot
              AND l.holder_id = %(user)s
        ) DESC, s.slot
        LIMIT 1
    ) free
    WHERE q.project_id = %(project)s AND {where}
      AND (SELECT count(*) FROM mine) < %(limit)s
      {unanswered}AND NOT EXISTS (
        SELECT FROM labeling_lease l
        WHERE l.question_id = q.id AND l.holder_id = %(user)s
          AND l.expires_at > statement_timestamp()
      )
    ORDER BY {order}
    LIMIT %(most)s
    FOR NO KEY UPDATE OF q {locked}
), taken AS (
    INSERT INTO labeling_lease AS l
        (question_id, slot, holder_id, token, queue, claimed_at, expires_at)
    SELECT id, slot, %(user)s, nextval('labeling_lease_token'), '{queue}',
        statement_timestamp(), statement_timestamp() + %(lease)s
    FROM picked
    LIMIT greatest(0, %(limit)s - (SELECT count(*) FROM mine))
    ON CONFLICT (question_id, slot) DO UPDATE SET
        holder_id = excluded.holder_id, token = excluded.token,
        queue = excluded.queue, is_returned = false,
        claimed_at = excluded.claimed_at, expires_at = excluded.expires_at
    WHERE l.expires_at <= statement_timestamp()
    RETURNING l.question_id, l.token, l.expires_at, l.queue, l.is_returned
)
SELECT question_id, token, expires_at, queue, is_returned FROM mine
UNION ALL
SELECT question_id, token, expires_at, queue, is_returned FROM taken
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL FROM picked
"""

# Whoever gave a verdict is not asked again. A reviewer may have been one of those who
# disagreed: in a small team there is nobody else.
_UNANSWERED = """AND NOT EXISTS (
        SELECT FROM labeling_annotation a
        WHERE a.question_id = q.id AND a.annotator_id = %(user)s
      )
      """


def claim_sql(queue: str, *, waits: bool = False) -> str:
    """The claim of a queue; `waits` for rows that somebody is just writing."""
    source = SOURCES[queue]
    return (
        _CLAIM.replace("{state}", source.state)
        .replace("{where}", source.where)
        .replace("{unanswered}", "" if queue in REVIEW else _UNANSWERED)
        .replace("{order}", source.order)
        .replace("{queue}", queue)
        .replace("{locked}", "" if waits else "SKIP LOCKED")
    )
