"""Splits an intent: its questions go to the parts, and only doubtful ones are asked."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.admin.models import ADDITION
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils.translation import gettext as _

from labeling import revision
from labeling.labels import gold
from labeling.models import (
    GoldLabel,
    Intent,
    IntentAlias,
    KeywordRule,
    LabelChange,
    Project,
)
from labeling.normalise import normalise
from labeling.ranking import priority
from labeling.taxonomy import growing, repointing
from labeling.taxonomy.audit import note, still_there, take_turn
from labeling.taxonomy.parts import Part, PartFinder, check, match, sort

SAMPLES = 5
"""Questions shown of each part."""


@dataclass(frozen=True, slots=True)
class Share:
    """The questions that a part gets, or that are asked again."""

    count: int
    test: int
    """Those of them that measure versions."""
    samples: list[str]
    """Some of their texts; never a test question's."""
    rules: int = 0
    """Rules that speak for the part afterwards."""


@dataclass(frozen=True, slots=True)
class SplitPreview:
    """What a split would do."""

    intent: Intent
    parts: list[tuple[Part, Share]]
    ambiguous: Share
    heir: str


@dataclass(frozen=True, slots=True)
class Split:
    """What a split did."""

    intents: dict[str, Intent]
    """The parts by code; the heir's is the intent that was split."""
    labels: dict[str, int]
    """Labelled questions by part."""
    asked_again: int
    """Questions that are open again."""


def preview_split(intent: Intent, parts: Sequence[Part], *, heir: str) -> SplitPreview:
    """Decides what `split` would, and writes nothing.

    Raises:
        ValidationError: These parts make no sense; the messages are sentences.

    Cost: about ten queries; a second for 100,000 questions.
    """
    check(intent, parts, heir)
    found = sort(intent, parts)
    rules = _rules_by_part(intent, parts, heir)
    return SplitPreview(
        intent=intent,
        parts=[
            (part, _share(found.by_part[part.code], rules=len(rules[part.code])))
            for part in parts
        ],
        ambiguous=_share(found.ambiguous),
        heir=heir,
    )


@transaction.atomic
def split(
    intent: Intent,
    parts: Sequence[Part],
    *,
    heir: str,
    by: User | None,
    comment: str = "",
) -> Split:
    """Makes several intents of one, in one transaction.

    The heir is the part that the old code goes on meaning, for clients and for versions
    that learned it: it keeps the intent's row, with its rules, verdicts and children.
    If it has another code, the old one becomes its alias. The other parts are new
    intents beside it.

    Labelled questions go where `parts.sort` puts them, test questions too; who set such
    a label is whoever splits. The ambiguous ones lose label and verdicts and are asked
    again, at the head of the queue; test questions in the audit's. Rules go to the part
    whose keywords their own keyword holds, else to the heir; templates and synthetic
    questions as `growing.share_out` says.

    Args:
        intent: What is split.
        parts: At least two; one may have the intent's own code.
        heir: Code of the part that the old code goes on meaning.
        by: Who splits, for the audit.
        comment: Why, for the audit and the labels' history.

    Raises:
        ValidationError: These parts make no sense; the messages are sentences.
        TaxonomyChanged: The intent was merged away.

    Cost: about fifteen statements and six a part; a few seconds for 100,000 labels.
    """
    project = take_turn(intent.project_id)
    (intent,) = still_there([intent])
    check(intent, parts, heir)
    comment = comment.strip()
    repointing.lock_questions([intent.pk])
    found = sort(intent, parts)
    doubtful_verdicts = _unsettled(intent, parts)
    rules = _rules_by_part(intent, parts, heir)

    old_code = intent.code
    intents = _make(intent, parts, heir)
    for code, part in intents.items():
        if part.pk == intent.pk:
            continue
        _relabel(project, found.by_part[code], intent, part, by=by, comment=comment)
        _move_verdicts(found.by_part[code] + doubtful_verdicts[code], intent, part)
        KeywordRule.objects.filter(pk__in=rules[code]).update(intent=part)
    growing.share_out(intent, parts, intents, heir=heir)
    _ask_again(found.ambiguous, by=by, comment=comment)
    # Last: the history names the labels as they were.
    _rename(intent, next(part for part in parts if part.code == heir), by=by)

    result = Split(
        intents,
        {code: len(ids) for code, ids in found.by_part.items()},
        len(found.ambiguous),
    )
    _tell(project, intent, result, old_code=old_code, by=by, comment=comment)
    revision.bump(project.pk)
    return result


def _share(question_ids: Sequence[int], *, rules: int = 0) -> Share:
    # By hand: an array of 100,000 ids is one value, where `pk__in` would be as many.
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT
                (SELECT count(*) FROM labeling_question
                    WHERE id = ANY(%(ids)s) AND split = 'test'),
                ARRAY(SELECT text FROM labeling_question
                    WHERE id = ANY(%(ids)s) AND split <> 'test'
                    ORDER BY occurrences DESC, id LIMIT %(samples)s)
            """,
            {"ids": list(question_ids), "samples": SAMPLES},
        )
        row = cursor.fetchone()
    assert row is not None
    test, texts = row
    return Share(len(question_ids), test, texts, rules)


def _rules_by_part(
    intent: Intent, parts: Sequence[Part], heir: str
) -> dict[str, list[int]]:
    """Ids of the intent's rules by the code of the part that gets them."""
    finder = PartFinder(parts)
    found: dict[str, list[int]] = {part.code: [] for part in parts}
    for pk, pattern in intent.rules.order_by("pk").values_list("pk", "pattern"):
        codes = finder.parts_of(normalise(pattern))
        found[codes.pop() if len(codes) == 1 else heir].append(pk)
    return found


def _unsettled(intent: Intent, parts: Sequence[Part]) -> dict[str, list[int]]:
    """Open and disputed questions with a verdict for the intent, by their one part."""
    found: dict[str, list[int]] = {part.code: [] for part in parts}
    for pk, codes in match(intent, parts, labelled=False):
        if len(codes) == 1:
            found[codes.pop()].append(pk)
    return found


def _make(intent: Intent, parts: Sequence[Part], heir: str) -> dict[str, Intent]:
    """The parts' intents by code; the heir's is `intent` itself, not yet renamed."""
    # Old codes of the intent that become a part's own.
    intent.aliases.filter(code__in=[part.code for part in parts]).delete()
    return {
        part.code: intent
        if part.code == heir
        else Intent.objects.create(
            project_id=intent.project_id,
            code=part.code,
            name=part.name,
            parent_id=intent.parent_id,
        )
        for part in parts
    }


def _rename(intent: Intent, heir: Part, *, by: User | None) -> None:
    """Makes the intent the heir; an alias keeps its old code known."""
    old_code, intent.code = intent.code, heir.code
    intent.name = heir.name or intent.name
    intent.save(update_fields=["code", "name"])
    if old_code != intent.code:
        IntentAlias.objects.create(
            project_id=intent.project_id, code=old_code, intent=intent, created_by=by
        )


def _relabel(
    project: Project,
    question_ids: list[int],
    old: Intent,
    new: Intent,
    *,
    by: User | None,
    comment: str,
) -> None:
    """Puts the part in the place of the intent; other gold intents stay."""
    by_others: dict[tuple[int, ...], list[int]] = {(): question_ids}
    if project.is_multi_intent:
        others: dict[int, list[int]] = {pk: [] for pk in question_ids}
        labels = GoldLabel.objects.filter(question__in=question_ids).exclude(intent=old)
        for pk, intent_id in labels.order_by("intent").values_list(
            "question", "intent"
        ):
            others[pk].append(intent_id)
        by_others = defaultdict(list)
        for pk, kept in others.items():
            by_others[tuple(kept)].append(pk)
    for kept_ids, ids in by_others.items():
        gold.set_gold(
            ids,
            [new, *Intent.objects.filter(pk__in=kept_ids)],
            source=GoldLabel.Source.ADJUDICATION,
            by=by,
            kind=LabelChange.Kind.SPLIT,
            comment=comment,
        )


def _move_verdicts(question_ids: Iterable[int], old: Intent, new: Intent) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE labeling_annotation_intents ai SET intent_id = %(new)s
            FROM labeling_annotation a
            WHERE a.id = ai.annotation_id AND ai.intent_id = %(old)s
                AND a.question_id = ANY(%(ids)s)
            """,
            {"new": new.pk, "old": old.pk, "ids": list(question_ids)},
        )


def _ask_again(question_ids: list[int], *, by: User | None, comment: str) -> None:
    gold.clear(
        question_ids, by=by, kind=LabelChange.Kind.SPLIT, comment=comment, anew=True
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE labeling_question SET priority = %(priority)s"
            " WHERE id = ANY(%(ids)s)",
            {"priority": priority.RAISED, "ids": question_ids},
        )


def _tell(
    project: Project,
    intent: Intent,
    result: Split,
    *,
    old_code: str,
    by: User | None,
    comment: str,
) -> None:
    shares = ", ".join(f"{code} ({n})" for code, n in result.labels.items())
    message = _(
        "Split %(code)s into %(parts)s; %(asked)d questions are asked again. The old"
        " code means %(heir)s."
    ) % {
        "code": old_code,
        "parts": shares,
        "asked": result.asked_again,
        "heir": intent.code,
    }
    message = f"{message} {comment}".strip()
    note(project, by, message)
    for part in result.intents.values():
        if part.pk == intent.pk:
            note(part, by, message)
        else:
            note(part, by, message, flag=ADDITION)
