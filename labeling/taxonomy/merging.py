"""Merges intents: everything that named one of them names the target afterwards."""

import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import (
    IntegrityError,
    OperationalError,
    connection,
    transaction,
)
from django.utils.translation import gettext as _
from psycopg.errors import DeadlockDetected, LockNotAvailable

from labeling import revision
from labeling.labels import gold
from labeling.models import GoldLabel, Intent, IntentAlias, LabelChange
from labeling.taxonomy import growing, repointing
from labeling.taxonomy.audit import TaxonomyChanged, note, still_there, take_turn
from labeling.taxonomy.impact import Impact, impact_of

_TRIES = 6
_PATIENCE_MS = 400
"""How long a merge that holds its intents waits for a question. Shorter than the second
after which PostgreSQL looks for deadlocks: it is the merge that steps back and tries
again, never an annotator's submit that fails."""


@dataclass(frozen=True, slots=True)
class MergePreview:
    """What a merge would do."""

    sources: list[Intent]
    target: Intent
    moved: Impact
    """What hangs on the sources."""
    both: int
    """Labelled questions that have several of the intents and will have one."""
    doubles: int
    """Rules with a keyword that another of the intents has, too: the better one stays.
    """
    agreed: int
    """Disputed questions whose verdicts will be the same: they are settled."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did."""

    target: Intent
    codes: list[str]
    """The sources' codes, aliases of the target now."""
    labels: int
    """Questions whose gold label changed."""
    rules: int
    """Rules that speak for the target now."""
    dropped_rules: int
    settled: int
    """Disputed questions whose verdicts agree now."""


def preview_merge(sources: Sequence[Intent], target: Intent) -> MergePreview:
    """Counts what `merge` would do, and writes nothing.

    Raises:
        ValidationError: These intents can't be merged.

    Cost: twelve queries, one pass over the sources' labels and the disputed questions.
    """
    check(sources, target)
    ids = [intent.pk for intent in sources]
    return MergePreview(
        sources=list(sources),
        target=target,
        moved=impact_of(sources),
        both=repointing.count_both(ids, target.pk),
        doubles=repointing.count_double_rules(ids, target.pk),
        agreed=len(repointing.agreed(target.project_id, ids, target.pk)),
    )


def check(sources: Sequence[Intent], target: Intent) -> None:
    """Raises ValidationError unless the sources can be merged into the target."""
    if not sources:
        raise ValidationError(_("Choose at least one intent to merge."))
    if any(one.project_id != target.project_id for one in sources):
        raise ValidationError(_("Only intents of one project can be merged."))
    if target.pk in {one.pk for one in sources}:
        raise ValidationError(_("An intent can't be merged into itself."))
    if target.retired_at is not None:
        raise ValidationError(
            _("“%(code)s” is retired; take it back into use first.")
            % {"code": target.code}
        )
    for one in sources:
        if one.is_fallback:
            raise ValidationError(
                _(
                    "“%(code)s” is the project's fallback and can't be merged away."
                    " Merge the others into it, or make another intent the fallback."
                )
                % {"code": one.code}
            )


def merge(
    sources: Iterable[Intent], target: Intent, *, by: User | None, comment: str = ""
) -> Merged:
    """Makes several intents one, in one transaction.

    Gold labels, verdicts, rules, templates, synthetic questions, children, old codes
    and what other apps point at the sources with are the target's afterwards; the
    sources' codes are its aliases, and the sources are gone. Who labelled a question
    and when stays as it was, and so does what versions have learned: their old codes
    mean the target. Disputed questions whose verdicts agree now are labelled.
    Guidelines of the sources are appended to the target's.

    Whoever labels a question with a source meanwhile waits, and labels it with the
    target then: see `again_if_merged`.

    Args:
        sources: Intents of the target's project, the target not among them.
        target: An intent in use.
        by: Who merges, for the audit.
        comment: Why, for the audit and the labels' history.

    Raises:
        ValidationError: These intents can't be merged.
        TaxonomyChanged: One of them is gone, or the project is too busy.

    Cost: about thirty statements; 100,000 labels take a few seconds.
    """
    sources = list({intent.pk: intent for intent in sources}.values())
    check(sources, target)
    for attempt in range(_TRIES):
        try:
            with transaction.atomic():
                merged = _merge(sources, target, by=by, comment=comment.strip())
                connection.check_constraints()
                return merged
        except IntegrityError:
            pass  # somebody wrote what we had counted on
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                raise
        time.sleep(random.uniform(0.05, 0.1) * (attempt + 1))  # noqa: S311
    raise TaxonomyChanged(
        _("Many people are labelling these very questions. Try again in a moment.")
    )


def _merge(
    sources: list[Intent], target: Intent, *, by: User | None, comment: str
) -> Merged:
    project = take_turn(target.project_id)
    *sources, target = still_there([*sources, target])
    check(sources, target)
    ids = [intent.pk for intent in sources]
    codes = [intent.code for intent in sources]
    _hold(ids)

    _move_parents(sources, target)
    labels = repointing.labels(ids, target.pk, by=by, comment=comment)
    repointing.verdicts(ids, target.pk)
    dropped = repointing.drop_double_rules(ids, target.pk)
    rules = repointing.rules(ids, target.pk)
    growing.drop_double_templates(ids, target.pk)
    repointing.others(ids, target.pk)
    IntentAlias.objects.filter(intent__in=ids).update(intent=target)
    IntentAlias.objects.bulk_create(
        IntentAlias(project=project, code=code, intent=target, created_by=by)
        for code in codes
    )
    _append_guidelines(sources, target)
    repointing.delete_intents(ids)
    settled = _settle(project.pk, target, by=by, comment=comment)

    merged = Merged(target, codes, labels, rules, dropped, settled)
    message = _sentence(merged, comment)
    note(target, by, message)
    note(project, by, message)
    revision.bump(project.pk)
    return merged


def _hold(ids: list[int]) -> None:
    """Locks what a merge changes: questions, then intents, then late questions.

    A submit locks its question, then (by foreign key) the intent that it names. In the
    same order here, most waits are queues and not cycles; the rest end with
    `_PATIENCE_MS`. Once the intents are locked, nothing new can name them.
    """
    repointing.lock_questions(ids)
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {_PATIENCE_MS}")
    list(Intent.objects.filter(pk__in=ids).order_by("pk").select_for_update())
    repointing.lock_questions(ids)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout TO DEFAULT")


def _move_parents(sources: list[Intent], target: Intent) -> None:
    """Puts the sources' children below the target, and the target out of the sources.

    A target below a source takes the place of the topmost such source.
    """
    gone = {intent.pk for intent in sources}
    parents = dict(
        Intent.objects.filter(project=target.project_id).values_list("pk", "parent_id")
    )
    above: list[int] = []
    parent = target.parent_id
    while parent is not None and parent not in above:
        above.append(parent)
        parent = parents[parent]
    merged_above = [n for n, pk in enumerate(above) if pk in gone]
    if merged_above:
        place = above[merged_above[-1] + 1 :]
        target.parent_id = place[0] if place else None
        target.save(update_fields=["parent"])
    Intent.objects.filter(parent__in=gone).exclude(pk__in=[target.pk, *gone]).update(
        parent=target
    )


def _append_guidelines(sources: list[Intent], target: Intent) -> None:
    texts = [target.guidelines] if target.guidelines.strip() else []
    texts += [
        f"### {intent.code}\n\n{intent.guidelines.strip()}"
        for intent in sources
        if intent.guidelines.strip()
    ]
    text = "\n\n".join(texts)
    if text != target.guidelines:
        target.guidelines = text
        target.save(update_fields=["guidelines"])


def _settle(project_id: int, target: Intent, *, by: User | None, comment: str) -> int:
    by_label: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for question_id, intents in repointing.agreed(project_id, [], target.pk):
        by_label[intents].append(question_id)
    for intents, question_ids in by_label.items():
        gold.set_gold(
            question_ids,
            list(Intent.objects.filter(pk__in=intents)),
            source=GoldLabel.Source.ANNOTATION,
            by=by,
            kind=LabelChange.Kind.MERGE,
            comment=comment,
        )
    return sum(len(ids) for ids in by_label.values())


def _sentence(merged: Merged, comment: str) -> str:
    words = {
        "codes": ", ".join(merged.codes),
        "target": merged.target.code,
        "labels": merged.labels,
        "rules": merged.rules,
        "settled": merged.settled,
    }
    message = (
        _(
            "Merged %(codes)s into %(target)s: %(labels)d labels, %(rules)d rules,"
            " %(settled)d disputes settled."
        )
        % words
    )
    return f"{message} {comment}".strip()
