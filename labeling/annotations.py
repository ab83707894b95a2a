"""Verdicts of annotators, and the gold labels that they add up to."""

from collections.abc import Sequence

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.models import Annotation, GoldLabel, Intent, Lease, Project, Question


class InvalidVerdict(ValueError):
    """A verdict that the project's kind does not allow; the message says why."""


class CannotUndo(RuntimeError):
    """There is nothing to take back, or somebody else built on it."""


def lock(question_id: int) -> Question:
    """The question with its project, locked against verdicts and claims.

    Call it inside a transaction. Does not block readers or foreign keys.

    Raises:
        Question.DoesNotExist: There is no such question.
    """
    return (
        Question.objects.select_related("project")
        .select_for_update(of=("self",), no_key=True)
        .get(pk=question_id)
    )


@transaction.atomic
def record(
    question: Question,
    annotator: User,
    *,
    verdict: str,
    intents: Sequence[Intent] = (),
    comment: str = "",
    time_spent_ms: int | None = None,
) -> Annotation:
    """Writes one annotator's verdict and settles the question when it was the last.

    The caller holds the question's `lock`. Settled means: as many verdicts as the
    project's overlap. All the same label: gold; all skipped: skipped; else disputed.

    Raises:
        InvalidVerdict: Not exactly one intent in a single-intent project.
    """
    if verdict == Annotation.Verdict.LABEL:
        check_intents(question.project, intents)
    annotation, _created = Annotation.objects.update_or_create(
        question=question,
        annotator=annotator,
        defaults={
            "verdict": verdict,
            "comment": comment,
            "time_spent_ms": time_spent_ms,
        },
    )
    annotation.intents.set(intents)
    _settle(question, by=annotator)
    return annotation


def check_intents(project: Project, intents: Sequence[Intent]) -> None:
    """Raises InvalidVerdict unless the project takes that many intents a question."""
    if not project.is_multi_intent and len(intents) != 1:
        raise InvalidVerdict(_("This project takes exactly one intent a question."))


def _settle(question: Question, *, by: User) -> None:
    annotations = Annotation.objects.filter(question=question).prefetch_related(
        "intents"
    )
    verdicts = [
        (annotation.verdict, frozenset(annotation.intents.all()))
        for annotation in annotations
    ]
    if len(verdicts) < question.project.overlap:
        return
    verdict, intents = verdicts[0]
    if any(other != (verdict, intents) for other in verdicts):
        _leave_queue(question, Question.State.DISPUTED)
    elif verdict == Annotation.Verdict.SKIP:
        _leave_queue(question, Question.State.SKIPPED)
    else:
        set_gold(
            question,
            sorted(intents, key=lambda intent: intent.pk),
            source=GoldLabel.Source.ANNOTATION,
            by=by,
        )


@transaction.atomic
def set_gold(
    question: Question,
    intents: Sequence[Intent],
    *,
    source: str,
    by: User | None,
) -> None:
    """Makes these intents the question's gold labels and the question labelled.

    The one place that writes a single question's gold. A changed label counts as not
    yet learned by any version; leases end, because the question leaves the queue.
    """
    before = lock(question.pk)
    wanted = {intent.pk: intent for intent in intents}
    current = GoldLabel.objects.filter(question=question)
    known = set(current.values_list("intent_id", flat=True))
    now = timezone.now()
    current.exclude(intent_id__in=wanted).delete()
    GoldLabel.objects.bulk_create(
        GoldLabel(
            question=question, intent=intent, source=source, set_by=by, set_at=now
        )
        for pk, intent in wanted.items()
        if pk not in known
    )
    # The same label confirmed: who vouches for it changes, what was learned does not.
    current.filter(intent_id__in=known).update(source=source, set_by=by, set_at=now)
    question.labelled_at = now
    same = before.state == Question.State.LABELLED and known == set(wanted)
    question.trained_in = before.trained_in if same else ""
    _leave_queue(question, Question.State.LABELLED)


def _leave_queue(question: Question, state: Question.State) -> None:
    question.state = state
    question.save(update_fields=["state", "labelled_at", "trained_in"])
    Lease.objects.filter(question=question).delete()


@transaction.atomic
def withdraw(annotation: Annotation) -> Question:
    """Takes a verdict back: the annotation goes, its question is open again.

    Raises:
        CannotUndo: Somebody else judged or relabelled the question since.
    """
    question = lock(annotation.question_id)
    mine = annotation.annotator_id
    others_verdict = (
        Annotation.objects.filter(question=question)
        .exclude(annotator_id=mine)
        .filter(updated_at__gt=annotation.updated_at)
    )
    others_gold = GoldLabel.objects.filter(question=question).exclude(
        set_by_id=mine, source=GoldLabel.Source.ANNOTATION
    )
    if others_gold.exists() or (
        question.state != Question.State.OPEN and others_verdict.exists()
    ):
        raise CannotUndo(
            _("Somebody else has changed “%(question)s” since. Ask a reviewer.")
            % {"question": question}
        )
    annotation.delete()
    GoldLabel.objects.filter(question=question).delete()
    question.state = Question.State.OPEN
    question.labelled_at = None
    question.trained_in = ""
    question.save(update_fields=["state", "labelled_at", "trained_in"])
    _take_slots_again(question)
    return question


def _take_slots_again(question: Question) -> None:
    """Gives the verdicts that remain on a reopened question their slots back.

    Leases end when a question is settled; without this, more people than the overlap
    would be asked.
    """
    leases = Lease.objects.filter(question=question)
    without = (
        Annotation.objects.filter(question=question)
        .exclude(annotator__in=leases.values("holder"))
        .order_by("created_at")
    )
    busy = set(leases.values_list("slot", flat=True))
    free = (slot for slot in range(question.project.overlap) if slot not in busy)
    now = timezone.now()
    Lease.objects.bulk_create(
        Lease(
            question=question,
            slot=slot,
            holder_id=annotation.annotator_id,
            token=next_token(),
            claimed_at=now,
            expires_at=None,
        )
        for slot, annotation in zip(free, without, strict=False)
    )


def next_token() -> int:
    """A fencing token larger than all before it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('labeling_lease_token')")
        return int(cursor.fetchone()[0])
