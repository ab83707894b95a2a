"""How often each rule spoke, counted in memory and written once a second."""

import threading
from collections import Counter
from collections.abc import Iterable

from django.db import connection

# Locked in one order, so that two processes that write at once never block each other.
_ADD = """
WITH spoken AS (
    SELECT rule.id, counted.n
    FROM labeling_keywordrule rule
    JOIN unnest(%s::bigint[], %s::bigint[]) AS counted (id, n) ON counted.id = rule.id
    ORDER BY rule.id FOR UPDATE OF rule)
UPDATE labeling_keywordrule rule SET hits = rule.hits + spoken.n
FROM spoken WHERE spoken.id = rule.id
"""

_counts: Counter[int] = Counter()
_lock = threading.Lock()


def count(rule_ids: Iterable[int]) -> None:
    """Notes that these rules spoke on a question that was asked."""
    with _lock:
        _counts.update(rule_ids)


def flush() -> None:
    """Adds what was counted to the rules' rows; one statement, none without hits."""
    with _lock:
        counted = dict(_counts)
        _counts.clear()
    if not counted:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ADD, [list(counted), list(counted.values())])
    except BaseException:
        count_again = Counter(counted)
        with _lock:
            _counts.update(count_again)
        raise
