"""The parts that an intent is split into, and which questions belong to which."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.db import connection
from django.utils.translation import gettext as _

from labeling.models import Annotation, GoldLabel, Intent, IntentAlias, Question
from labeling.normalise import normalise
from labeling.rules import Matcher
from labeling.taxonomy.renaming import check_code

CLEARLY_NEARER = 0.02
"""How much more similar (cosine) a question must be to the mean of one part's seeds
than to the mean of any other's, so that nobody is asked. With five seeds a part and
the default encoder, pairs of neighbouring intents: CLINC150 76 % decided, 99.0 % of
them right; MASSIVE in Chinese 24 % and 97.1 %. Half the margin: 92 % and 98.6 %, 55 %
and 90.7 %."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one of the new intents is, and how its questions are told."""

    code: str
    name: str = ""
    keywords: tuple[str, ...] = ()
    """A question that holds one, as rules match, belongs to the part."""
    seeds: tuple[int, ...] = ()
    """Ids of labelled questions that belong to it; the others are compared with them.
    """
    takes_rest: bool = False
    """Whether questions that hold no part's keyword belong to it."""

    def patterns(self) -> set[str]:
        """The keywords as texts are matched with them."""
        return {pattern for word in self.keywords if (pattern := normalise(word))}


@dataclass(slots=True)
class Sorted:
    """Questions by the part that they belong to."""

    by_part: dict[str, list[int]] = field(default_factory=dict)
    """Question ids by the part's code."""
    ambiguous: list[int] = field(default_factory=list)
    """Ids of those that somebody has to look at."""


def check(intent: Intent, parts: Sequence[Part], heir: str) -> None:
    """Raises ValidationError, with all that is wrong, unless a split makes sense."""
    wrong = list(_problems(intent, parts, heir))
    if wrong:
        raise ValidationError(wrong)


def _problems(intent: Intent, parts: Sequence[Part], heir: str) -> Iterator[str]:
    codes = [part.code for part in parts]
    if len(parts) < 2:
        yield _("A split needs at least two parts.")
    for code in sorted({code for code in codes if codes.count(code) > 1}):
        yield _("Two parts have the code “%(code)s”.") % {"code": code}
    for part in parts:
        yield from _code_problems(intent, part.code)
        if not (part.patterns() or part.seeds or part.takes_rest):
            yield (
                _(
                    "Say how to tell the questions of “%(code)s”: by keywords or"
                    " examples."
                )
                % {"code": part.code}
            )
    if sum(part.takes_rest for part in parts) > 1:
        yield _("Only one part can take the rest.")
    if heir not in codes:
        yield _("Choose the part that the old code goes on meaning.")
    elif intent.code in codes and heir != intent.code:
        yield _("“%(code)s” stays a part, so its code goes on meaning it.") % {
            "code": intent.code
        }
    yield from _shared(parts)
    yield from _seed_problems(intent, parts)


def _code_problems(intent: Intent, code: str) -> Iterator[str]:
    if code == intent.code:
        return
    same = {"project_id": intent.project_id, "code": code}
    if IntentAlias.objects.filter(**same, intent=intent).exists():
        return  # an old code of this very intent: it comes to mean the part
    try:
        check_code(Intent(**same))
    except ValidationError as error:
        for message in error.messages:
            yield f"{code}: {message}" if code and code not in message else message


def _shared(parts: Sequence[Part]) -> Iterator[str]:
    for n, part in enumerate(parts):
        for other in parts[n + 1 :]:
            words = {"a": part.code, "b": other.code}
            for pattern in sorted(part.patterns() & other.patterns()):
                yield _("“%(a)s” and “%(b)s” share the keyword “%(keyword)s”.") % {
                    **words,
                    "keyword": pattern,
                }
            if set(part.seeds) & set(other.seeds):
                yield _("“%(a)s” and “%(b)s” share an example.") % words


def _seed_problems(intent: Intent, parts: Sequence[Part]) -> Iterator[str]:
    seeds = {seed for part in parts for seed in part.seeds}
    known = Question.objects.filter(
        pk__in=seeds, state=Question.State.LABELLED, gold_labels__intent=intent
    ).values_list("pk", flat=True)
    for seed in sorted(seeds - set(known)):
        yield _("Question %(id)d is not labelled “%(code)s”.") % {
            "id": seed,
            "code": intent.code,
        }


def sort(intent: Intent, parts: Sequence[Part]) -> Sorted:
    """Decides for each labelled question of an intent which part it belongs to.

    A seed belongs to its part, and a question that holds keywords of exactly one part
    to that one. Others are compared with the seeds of the parts in question (those
    whose keywords they hold; all, when they hold none): by `CLEARLY_NEARER`, and only
    if each of these parts has seeds with an embedding. What holds no keyword and is
    not decided then goes to the part that takes the rest. All else is ambiguous.

    Cost: two queries, streamed; about a second for 100,000 questions.
    """
    matched = dict(match(intent, parts))
    undecided = [pk for pk, found in matched.items() if len(found) != 1]
    likeness = _likeness(undecided, parts)
    seeds = {seed: part.code for part in parts for seed in part.seeds}
    rest = next((part.code for part in parts if part.takes_rest), None)
    result = Sorted({part.code: [] for part in parts})
    for pk, found in matched.items():
        code = seeds.get(pk)
        if code is None and len(found) == 1:
            (code,) = found
        if code is None:
            code = _nearest(likeness.get(pk, {}), found or set(result.by_part))
        if code is None and not found:
            code = rest
        (result.ambiguous if code is None else result.by_part[code]).append(pk)
    return result


def match(
    intent: Intent, parts: Sequence[Part], *, labelled: bool = True
) -> Iterator[tuple[int, set[str]]]:
    """Each question of the intent, with the codes of the parts whose keywords it holds.

    Args:
        labelled: Those with this gold label; else those that are not settled and have
            a verdict for the intent.
    """
    finder = PartFinder(parts)
    if labelled:
        questions = Question.objects.filter(
            pk__in=GoldLabel.objects.filter(intent=intent).values("question"),
            state=Question.State.LABELLED,
        )
    else:
        questions = Question.objects.filter(
            pk__in=Annotation.objects.filter(intents=intent).values("question")
        ).exclude(state=Question.State.LABELLED)
    rows = questions.order_by("pk").values_list("pk", "text")
    for pk, text in rows.iterator(chunk_size=5000):
        yield pk, finder.parts_of(normalise(text))


class PartFinder:
    """Finds the parts whose keywords a normalised text holds."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._codes = {
            pattern: part.code for part in parts for pattern in part.patterns()
        }
        self._matcher = Matcher(self._codes)

    def parts_of(self, text: str) -> set[str]:
        """Codes of the parts; empty when the text holds no keyword."""
        return {self._codes[pattern] for pattern in self._matcher.found(text)}


def _likeness(
    question_ids: Sequence[int], parts: Sequence[Part]
) -> dict[int, dict[str, float]]:
    """Cosine of each embedded question with the mean of each part's seeds, by code."""
    pairs = [(n, seed) for n, part in enumerate(parts) for seed in part.seeds]
    if not pairs or not question_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH mean AS (
                SELECT s.part, avg(e.vector) AS vector
                FROM unnest(%(parts)s::int[], %(seeds)s::bigint[]) AS s (part, question)
                JOIN labeling_embedding e ON e.question_id = s.question
                GROUP BY s.part
            )
            SELECT e.question_id, array_agg(mean.part ORDER BY mean.part),
                array_agg(1 - (e.vector <=> mean.vector) ORDER BY mean.part)
            FROM labeling_embedding e CROSS JOIN mean
            WHERE e.question_id = ANY(%(ids)s)
            GROUP BY e.question_id
            """,
            {
                "parts": [n for n, _seed in pairs],
                "seeds": [seed for _n, seed in pairs],
                "ids": list(question_ids),
            },
        )
        return {
            pk: {parts[n].code: p for n, p in zip(numbers, cosines, strict=True)}
            for pk, numbers, cosines in cursor.fetchall()
        }


def _nearest(cosines: dict[str, float], candidates: set[str]) -> str | None:
    """The candidate that a question is clearly nearest to; None if it can't be told."""
    if not candidates <= set(cosines):
        return None
    first, second = sorted(candidates, key=lambda code: -cosines[code])[:2]
    return first if cosines[first] - cosines[second] >= CLEARLY_NEARER else None
