"""What a person decides on the queue page: label, adjudicate, skip, take back.

The page has gone on to its next card by the time that a verdict gets here. So a verdict
that fails answers with a notice, and the page shows that card again, as it was left.

Cost: five queries to get here and to know the project's questions, then the decision's.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from labeling import queue
from labeling.labels.annotations import CannotUndo, InvalidVerdict
from labeling.models import LabelChange, Question
from labeling.queue import StaleLease
from labeling.reports import progress
from labeling.taxonomy import UnknownIntent, labelset
from labeling.views.card import cards
from labeling.views.choice import Choice
from labeling.views.guard import Visit, for_annotators, notice
from labeling.views.queue import Hand, hand_context
from labeling.views.step import Step, held

Decision = Callable[[Visit, Step], object]


@require_POST
@for_annotators
def submit(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Label a question, and its near-duplicates if asked to."""

    def decide(visit: Visit, step: Step) -> object:
        _check(visit, step)
        return queue.submit(
            step.question_id,
            visit.user,
            token=step.token,
            intents=step.intents,
            comment=step.comment,
            time_spent_ms=step.time_spent_ms,
            with_duplicates=step.with_duplicates,
        )

    return _take(request, visit, decide)


@require_POST
@for_annotators
def adjudicate(request: HttpRequest, visit: Visit) -> HttpResponse:
    """A reviewer settles a question, with the reason for the error."""
    if not visit.is_reviewer:
        return notice(request, 403, "other", _("Only reviewers settle questions."))

    def decide(visit: Visit, step: Step) -> object:
        _check(visit, step)
        return queue.adjudicate(
            step.question_id,
            visit.user,
            token=step.token,
            intents=step.intents,
            reason=step.reason if step.reason in LabelChange.Reason.values else "",
            comment=step.comment,
        )

    return _take(request, visit, decide)


@require_POST
@for_annotators
def skip(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Pass on a question."""

    def decide(visit: Visit, step: Step) -> object:
        return queue.skip(
            step.question_id,
            visit.user,
            token=step.token,
            reason=step.reason or step.comment,
            time_spent_ms=step.time_spent_ms,
        )

    return _take(request, visit, decide)


@require_POST
@for_annotators
def undo(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Take the latest step back and show its question; a bulk action has none."""
    try:
        claimed = queue.undo(visit.project, visit.user)
    except CannotUndo as error:
        return notice(request, 409, "cannot_undo", str(error))
    if claimed is None:
        return notice(request, 200, "bulk_undone")
    labels = labelset.of(visit.project)
    hand = Hand(
        Choice(claimed.queue),
        cards(visit.project, visit.user, [claimed], labels),
        [claimed.question.pk],
    )
    context = hand_context(request, visit, labels, hand)
    return render(request, "labeling/hand.html", context)


@require_POST
@for_annotators
def renew(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The page's heartbeat: keep all questions for another lease.

    Cost: eight queries; one renews all, two count what is done and open.
    """
    tokens = held(request.POST)
    if tokens is None or not _are_of(visit, tokens):
        return notice(request, 400, "broken")
    done = progress.of(visit.project, visit.user)
    return JsonResponse(
        {
            "held": sorted(queue.renew(tokens, visit.user)),
            "done": done.done_today,
            "open": done.open.shown,
            "more": done.open.is_more,
        }
    )


@require_POST
@for_annotators
def leave(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The page is left: its questions are free again soon."""
    tokens = held(request.POST)
    if tokens is None or not _are_of(visit, tokens):
        return notice(request, 400, "broken")
    queue.leave(tokens, visit.user)
    return HttpResponse(status=204)


def _take(request: HttpRequest, visit: Visit, decide: Decision) -> HttpResponse:
    """Runs one decision; tells what is wrong with it, if anything is."""
    step = Step.read(request.POST)
    if step is None or not _are_of(visit, {step.question_id}):
        return notice(request, 400, "broken")
    try:
        decide(visit, step)
    except StaleLease as error:
        return notice(request, 409, "lost", str(error))
    except (UnknownIntent, InvalidVerdict) as error:
        return notice(request, 422, "invalid", str(error))
    return HttpResponse(status=204)


def _check(visit: Visit, step: Step) -> None:
    """Raises InvalidVerdict where nothing was chosen: "none" is said on purpose."""
    if visit.project.is_multi_intent and not step.intents and not step.is_none:
        raise InvalidVerdict(_("Choose an intent, or press 0 for none of them."))


def _are_of(visit: Visit, ids: "dict[int, int] | set[int]") -> bool:
    """Whether these questions are the project's: a token alone opens no door."""
    found = Question.objects.filter(pk__in=list(ids), project=visit.project).count()
    return found == len(ids)
