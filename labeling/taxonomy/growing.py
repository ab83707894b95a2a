"""Templates and synthetic questions of intents that are merged or split.

Retired intents keep theirs: `growth.fill` and datasets pass them by.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.db import connection

from labeling.models import Intent, SyntheticQuestion, Template
from labeling.normalise import normalise
from labeling.taxonomy.parts import Part, PartFinder

# Of templates that read the same the target's stays, else the oldest.
_RANKED = """
    SELECT id, first_value(id) OVER (
        PARTITION BY text ORDER BY intent_id <> %(target)s, id) AS kept
    FROM labeling_template
    WHERE intent_id = ANY(%(sources)s) OR intent_id = %(target)s
"""


def drop_double_templates(sources: list[int], target: int) -> None:
    """Keeps one of the templates with one text; what was made of the others is its."""
    values: dict[str, Any] = {"sources": sources, "target": target}
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE labeling_syntheticquestion s SET template_id = ranked.kept
            FROM ({_RANKED}) ranked
            WHERE s.template_id = ranked.id AND ranked.kept <> ranked.id
            """,  # noqa: S608 (constants of this module only)
            values,
        )
        cursor.execute(
            f"""
            DELETE FROM labeling_template t USING ({_RANKED}) ranked
            WHERE t.id = ranked.id AND ranked.kept <> ranked.id
            """,  # noqa: S608 (constants of this module only)
            values,
        )


def share_out(
    intent: Intent, parts: Sequence[Part], intents: dict[str, Intent], *, heir: str
) -> None:
    """Gives an intent's templates and synthetic questions to its parts, by keywords.

    What holds keywords of exactly one part goes there; what holds none goes to the part
    that takes the rest. All else stays with the heir; such synthetic questions are
    switched off, because nobody said that they belong there.

    Cost: two statements and two a part; about a second for 100,000 questions.
    """
    finder = PartFinder(parts)
    rest = next((part.code for part in parts if part.takes_rest), None)

    def part_of(text: str) -> str | None:
        found = finder.parts_of(normalise(text))
        return found.pop() if len(found) == 1 else (None if found else rest)

    templates = Template.objects.filter(intent=intent)
    questions = SyntheticQuestion.objects.filter(intent=intent).order_by()
    # Read before anything moves: the heir's own rows are the intent's.
    of_templates = [
        (pk, part_of(text)) for pk, text in templates.values_list("pk", "text")
    ]
    of_questions: dict[str | None, list[int]] = defaultdict(list)
    for pk, text in questions.values_list("pk", "text").iterator(chunk_size=5000):
        of_questions[part_of(text)].append(pk)
    for code, part in intents.items():
        if code != heir:
            ids = [pk for pk, of in of_templates if of == code]
            templates.filter(pk__in=ids).update(intent=part)
            _move(of_questions[code], part)
    _switch_off(of_questions[None])


def _move(question_ids: list[int], intent: Intent) -> None:
    # By hand: an array of 100,000 ids is one value, where `pk__in` would be as many.
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE labeling_syntheticquestion SET intent_id = %s WHERE id = ANY(%s)",
            [intent.pk, question_ids],
        )


def _switch_off(question_ids: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE labeling_syntheticquestion SET is_used = false"
            " WHERE id = ANY(%s) AND is_used",
            [question_ids],
        )
