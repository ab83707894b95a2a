"""Fills templates: what is made of a project's templates, and what is left out."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils.translation import gettext as _

from labeling.growth import keeping, nearness, templating
from labeling.growth.choosing import Candidate, choose, draw, pool
from labeling.growth.keeping import LeftOut, New
from labeling.growth.templating import Parsed
from labeling.models import Intent, Project, SyntheticQuestion, Template
from labeling.taxonomy.audit import note

MOST = 10_000
"""Texts that one call makes."""

MOST_AN_INTENT = 1_000
"""More questions of one intent from templates teach how they were made."""

EXAMPLES = 20
"""Texts that a preview shows."""

_FEW = 8
"""With fewer real questions than this an intent's lengths say nothing."""

_LENGTHS = """
SELECT g.intent_id, percentile_disc(ARRAY[0, 0.25, 0.5, 0.75, 1])
    WITHIN GROUP (ORDER BY length(q.text))
FROM labeling_question q JOIN labeling_goldlabel g ON g.question_id = q.id
WHERE q.project_id = %s AND q.state = 'labelled' AND q.split = 'train'
    AND g.intent_id = ANY(%s)
GROUP BY g.intent_id HAVING count(*) >= %s
"""


@dataclass(frozen=True, slots=True)
class Filled:
    """What was made of templates, or would be."""

    made: int
    left_out: dict[str, int]
    """Texts that were looked at and not made, by `LeftOut`."""
    by_intent: dict[str, int]
    """Made ones by the intent's code; an intent that got none has 0."""


@dataclass(frozen=True, slots=True)
class Example:
    """A text that would be made."""

    code: str
    text: str
    template: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What a call of `fill` would do."""

    filled: Filled
    examples: list[Example]
    """At most `EXAMPLES`, of all intents in turn."""


def fill(
    project: Project,
    *,
    intents: Collection[Intent] | None = None,
    per_intent: int = 50,
    seed: int = 1,
    by: User | None,
) -> Filled:
    """Makes synthetic questions of a project's templates.

    The same templates, slots, questions and seed make the same texts. Templates take
    turns, and so do the values of each slot and, where an intent has at least eight
    real train questions, the quarters of their lengths. Left out is what nearly says
    what a question of the project says, whatever its split, or another synthetic
    question (`nearness`); so a second call with the same seed finds little.

    Args:
        project: Whose templates.
        intents: Only theirs; all in use by default.
        per_intent: At most so many an intent, up to `MOST_AN_INTENT`.
        seed: Another one makes other texts.
        by: Who makes them, for the project's history.

    Raises:
        ValidationError: A template can't be filled, there is none, or too much is asked
            for; the message names it.

    Cost: seven statements, two of them streams of the project's texts, each
    compared (`nearness.taken`). In a project of 100,000 questions 3 s of CPU for 1,000
    texts, 13 s for `MOST`. Two at once in a project take turns.
    """
    with transaction.atomic():
        keeping.take_turn(project.pk)
        plan = _plan(project, intents, per_intent, seed)
        kept = keeping.keep(project.pk, plan.new, SyntheticQuestion.Origin.TEMPLATE)
        plan.left_out[LeftOut.TAKEN] += len(plan.new) - sum(kept.values())
        filled = plan.filled(kept)
        note(
            project,
            by,
            _("Made %(n)d synthetic questions from templates.") % {"n": filled.made},
        )
    return filled


def preview(
    project: Project,
    *,
    intents: Collection[Intent] | None = None,
    per_intent: int = 50,
    seed: int = 1,
) -> Preview:
    """What `fill` would make, without writing it.

    Raises:
        ValidationError: As `fill`.

    Cost: that of `fill` without its writing.
    """
    plan = _plan(project, intents, per_intent, seed)
    by_intent: dict[int, list[New]] = {}
    for new in plan.new:
        by_intent.setdefault(new.intent_id, []).append(new)
    turns = chain.from_iterable(zip_longest(*by_intent.values()))
    return Preview(
        plan.filled(Counter(new.intent_id for new in plan.new)),
        [
            Example(
                plan.codes[new.intent_id], new.text, plan.templates[new.template_id]
            )
            for new in islice((new for new in turns if new is not None), EXAMPLES)
        ],
    )


def count(template: Template) -> int:
    """How many fillings a template has; 0 where it can't be filled. One query."""
    values = templating.slots_of(template.intent.project)
    try:
        return templating.check(template.text, values).count(values)
    except ValidationError:
        return 0


def samples(template: Template, *, most: int = 10, seed: int = 1) -> list[str]:
    """Some fillings of a template, whether or not `fill` would keep them. One query.

    Raises:
        ValidationError: It can't be filled; the message says why.
    """
    values = templating.slots_of(template.intent.project)
    parsed = templating.check(template.text, values)
    return list(islice(draw(parsed, values, seed=f"{seed}"), most))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be made."""

    new: list[New]
    left_out: Counter[str]
    codes: dict[int, str]
    """By the intent's id."""
    templates: dict[int | None, str]
    """Texts by id."""

    def filled(self, made: Counter[int]) -> Filled:
        """The result, given how many of each intent were made."""
        return Filled(
            sum(made.values()),
            {str(reason): n for reason, n in self.left_out.items() if n},
            {code: made[pk] for pk, code in self.codes.items()},
        )


def _plan(
    project: Project, intents: Collection[Intent] | None, per_intent: int, seed: int
) -> _Plan:
    by_intent: dict[int, list[tuple[Template, Parsed]]] = {}
    codes: dict[int, str] = {}
    values = templating.slots_of(project)
    for template in _templates(project, intents):
        codes[template.intent_id] = template.intent.code
        parsed = templating.check(template.text, values)
        by_intent.setdefault(template.intent_id, []).append((template, parsed))
    _check_amount(len(by_intent), per_intent)
    lengths = _lengths(project.pk, list(by_intent))
    left_out: Counter[str] = Counter()
    drawn: list[tuple[int, Candidate]] = []
    for intent_id, templates in by_intent.items():
        found, unfit = pool(
            templates,
            values,
            wanted=per_intent,
            seed=seed,
            lengths=lengths.get(intent_id, ()),
        )
        drawn += [(intent_id, one) for one in found]
        left_out += unfit
    texts = nearness.Texts([one.text for _intent, one in drawn])
    taken = nearness.taken(project.pk, texts)
    left_out[LeftOut.TAKEN] += len(taken)
    made = nearness.Apart(texts)
    new: list[New] = []
    for intent_id in by_intent:
        free = {
            number: one
            for number, (of, one) in enumerate(drawn)
            if of == intent_id and number not in taken
        }
        chosen, near = choose(free, per_intent, made)
        left_out[LeftOut.NEAR_MADE] += near
        new += [New(intent_id, one.text, one.template_id) for one in chosen]
    return _Plan(
        new,
        left_out,
        codes,
        {
            template.pk: template.text
            for templates in by_intent.values()
            for template, _parsed in templates
        },
    )


def _templates(project: Project, intents: Collection[Intent] | None) -> list[Template]:
    found = Template.objects.filter(
        intent__project=project, intent__retired_at=None
    ).select_related("intent")
    if intents is not None:
        found = found.filter(intent__in=intents)
    templates = list(found.order_by("intent__code", "pk"))
    if not templates:
        raise ValidationError(_("There are no templates to fill: write some first."))
    return templates


def _check_amount(intents: int, per_intent: int) -> None:
    if not 1 <= per_intent <= MOST_AN_INTENT:
        raise ValidationError(
            _("Between 1 and %(most)d an intent, not %(n)d.")
            % {"most": MOST_AN_INTENT, "n": per_intent}
        )
    if intents * per_intent > MOST:
        raise ValidationError(
            _(
                "%(intents)d intents with %(n)d each are more than the %(most)d that"
                " are made at once: choose fewer intents, or fewer of each."
            )
            % {"intents": intents, "n": per_intent, "most": MOST}
        )


def _lengths(project_id: int, intent_ids: list[int]) -> dict[int, list[int]]:
    """Characters of the shortest real question, at the quarters, and of the longest."""
    with connection.cursor() as cursor:
        cursor.execute(_LENGTHS, [project_id, intent_ids, _FEW])
        return dict(cursor.fetchall())
