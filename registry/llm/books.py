"""What a project may still ask today, what it has asked before, and what it cost.

The database keeps the books: a budget holds for all processes together, and with the
database away nobody is asked. In a web process one thread reads and writes for all
requests, and none of them waits longer than `WAIT_S`.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from django.db import connection, transaction

from labeling.models import Project
from registry.llm import prompt as prompts
from registry.llm.prompt import Prompt
from registry.serving.lookup import Away, Lookup
from registry.serving.process import is_web

WAIT_S = 0.25
"""Longest that a request waits for the books; it goes on without the model."""
PROMPT_S = 600.0
"""How long a prompt is kept; a change of intents or rules renews it at once."""
KEPT_DAYS = 30
"""Answers that are older are asked for again."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """What the books say to the questions of one request."""

    prompt: Prompt
    known: Mapping[str, list[str]]
    """Codes of the questions that were answered before, by text."""
    granted: int
    """Calls that may be made now; they are counted already."""
    day: date | None
    """Whose budget they were taken from (UTC); None without any."""


@dataclass(slots=True)
class Spent:
    """What came of granted calls."""

    project_id: int
    day: date
    answered: int = 0
    failed: int = 0
    returned: int = 0
    """Granted and not made."""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    answers: dict[str, list[str]] = field(default_factory=dict)
    """Codes by `Prompt.key`."""


@dataclass(eq=False, slots=True)
class _Opening:
    """A request's wish to ask; compared by identity."""

    project_id: int
    revision: int
    is_multi: bool
    budget: int
    model: str
    texts: Sequence[str]
    wanted: int
    until: float
    """Nobody waits for it after this."""


def open_page(
    project: Project, texts: Sequence[str], *, model: str, wanted: int
) -> Page:
    """The prompt, the answers that are known, and leave for calls.

    Args:
        project: Its kind, revision and budget as of the request.
        texts: Distinct.
        model: Who would answer.
        wanted: Most calls that can be made now. They are taken from the day's budget by
            one conditional statement, so that it holds whoever else asks.

    Raises:
        Away: The database did not answer in time.

    Cost: two statements, and one every ten minutes for the prompt.
    """
    opening = _Opening(
        project.pk,
        project.serving_revision,
        project.is_multi_intent,
        project.llm_budget,
        model,
        texts,
        wanted,
        time.monotonic() + WAIT_S,
    )
    if not is_web():
        return _open(opening)
    page = _lookup.get([opening]).get(opening)
    if page is None:
        raise Away("llm")
    return page


def close_page(spent: Spent) -> None:
    """Writes down what came of the calls; in a web process as soon as it can be."""
    _unwritten.append(spent)
    if not is_web():
        _write()
        return
    try:
        _lookup.get([_Opening(0, 0, False, 0, "", (), 0, 0.0)])
    except Away:
        _logger.debug("the calls will be written down later")


# --- In the one thread, or the caller's own -----------------------------------------

_prompts: dict[int, tuple[int, float, Prompt]] = {}
"""Revision, moment and prompt by project id."""
_unwritten: deque[Spent] = deque()


def _serve(openings: Sequence[_Opening]) -> dict[_Opening, Page]:
    has_written = _write()
    now = time.monotonic()
    # Whoever has gone on without must not be charged.
    waiting = [opening for opening in openings if opening.until > now]
    if not waiting and not has_written:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")  # whether the database is back
    pages = {opening: _open(opening) for opening in waiting}
    for opening in [one for one in pages if one.until < time.monotonic()]:
        # The database was slow: what nobody waits for any more goes back.
        page = pages.pop(opening)
        if page.day is not None:
            _unwritten.append(
                Spent(opening.project_id, page.day, returned=page.granted)
            )
    return pages


_lookup: Lookup[_Opening, Page] = Lookup("llm", _serve, wait_s=WAIT_S)


def _open(opening: _Opening) -> Page:
    prompt = _prompt(opening)
    keys = {prompt.key(opening.model, text): text for text in opening.texts}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT key, codes FROM registry_llmanswer"
            " WHERE project_id = %s AND key = ANY(%s)"
            " AND created_at > now() - make_interval(days => %s)",
            [opening.project_id, list(keys), KEPT_DAYS],
        )
        # Django's connections leave JSON as it is written.
        known = {keys[key]: json.loads(codes) for key, codes in cursor.fetchall()}
    wanted = min(opening.wanted, len(opening.texts) - len(known))
    if not known and wanted <= 0:
        return Page(prompt, known, 0, None)
    granted, day = _take(opening, wanted=max(0, wanted), cached=len(known))
    return Page(prompt, known, granted, day)


def _prompt(opening: _Opening) -> Prompt:
    kept = _prompts.get(opening.project_id)
    if kept is not None:
        revision, at, prompt = kept
        is_fresh = time.monotonic() - at < PROMPT_S
        if is_fresh and (revision, prompt.is_multi) == (
            opening.revision,
            opening.is_multi,
        ):
            return prompt
    prompt = prompts.read(opening.project_id, is_multi=opening.is_multi)
    _prompts[opening.project_id] = (opening.revision, time.monotonic(), prompt)
    return prompt


_DAY = "(statement_timestamp() AT TIME ZONE 'UTC')::date"

_BEGIN_DAY = f"""
INSERT INTO registry_llmday (project_id, day, calls, answered, failed, cached,
    tokens_in, tokens_out, cost)
SELECT id, {_DAY}, 0, 0, 0, 0, 0, 0, 0 FROM labeling_project WHERE id = %(project)s
ON CONFLICT DO NOTHING
"""  # noqa: S608

# The inner SELECT locks the day: what it read is what the UPDATE changes.
_TAKE = f"""
UPDATE registry_llmday d SET
    calls = d.calls + greatest(0, least(%(wanted)s, %(budget)s - d.calls)),
    cached = d.cached + %(cached)s
FROM (
    SELECT id, calls FROM registry_llmday
    WHERE project_id = %(project)s AND day = {_DAY} FOR UPDATE
) before
WHERE d.id = before.id
RETURNING d.calls - before.calls, d.day
"""  # noqa: S608

_FORGET = """
DELETE FROM registry_llmanswer
WHERE project_id = %(project)s AND created_at < now() - make_interval(days => %(days)s)
"""


def _take(opening: _Opening, *, wanted: int, cached: int) -> tuple[int, date | None]:
    """Calls taken from today's budget, and which day that is."""
    values = {
        "project": opening.project_id,
        "wanted": wanted,
        "cached": cached,
        "budget": opening.budget,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, values)
        if (row := cursor.fetchone()) is None:
            cursor.execute(_BEGIN_DAY, values)
            if cursor.rowcount:  # once a day
                cursor.execute(_FORGET, {**values, "days": KEPT_DAYS})
            cursor.execute(_TAKE, values)
            row = cursor.fetchone()
    return (0, None) if row is None else (int(row[0]), row[1])


_SPEND = """
UPDATE registry_llmday SET
    calls = greatest(0, calls - %(returned)s), answered = answered + %(answered)s,
    failed = failed + %(failed)s, tokens_in = tokens_in + %(tokens_in)s,
    tokens_out = tokens_out + %(tokens_out)s, cost = cost + %(cost)s
WHERE project_id = %(project_id)s AND day = %(day)s
"""

_KEEP = """
INSERT INTO registry_llmanswer (project_id, key, codes, created_at)
SELECT p.id, kept.key, kept.codes::jsonb, now()
FROM labeling_project p, unnest(%(keys)s::text[], %(codes)s::text[])
    AS kept (key, codes)
WHERE p.id = %(project_id)s
ON CONFLICT (project_id, key) DO UPDATE SET
    codes = excluded.codes, created_at = excluded.created_at
"""


def _write() -> bool:
    """Writes what is not written yet; what fails stays for the next time.

    Returns:
        Whether there was anything.
    """
    has_written = bool(_unwritten)
    while _unwritten:
        spent = _unwritten.popleft()
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                sums: dict[str, Any] = asdict(spent)
                answers = sums.pop("answers")
                cursor.execute(_SPEND, sums)
                if answers:
                    values: dict[str, Any] = {
                        "project_id": spent.project_id,
                        "keys": list(answers),
                        "codes": [json.dumps(codes) for codes in answers.values()],
                    }
                    cursor.execute(_KEEP, values)
        except Exception:
            _unwritten.appendleft(spent)
            raise
    return has_written
