"""What the queue page looks up on demand: queues, guidelines, a label's history."""

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from labeling.models import Annotation, LabelChange, Question, Queue
from labeling.queue.sources import REVIEW
from labeling.reports import progress
from labeling.taxonomy import labelset
from labeling.views import guidelines
from labeling.views.choice import ABOUT, Choice, pairs
from labeling.views.guard import Visit, for_annotators
from labeling.views.step import number

CHANGES = 20
"""Changes of a label that its history shows."""


@require_GET
@for_annotators
def queues(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The queues to choose from, with what waits in each. Seven bounded queries."""
    labels = labelset.of(visit.project)
    choice = Choice.read(request.GET, visit, labels)
    counts = progress.waiting(visit.project)
    offered = [one for one in Queue if visit.is_reviewer or one not in REVIEW]
    context = {
        "choice": choice,
        "project": visit.project,
        "labels": labels,
        "queues": [
            (Choice(one), ABOUT[one], counts[one])
            for one in offered
            if one not in (Queue.PAIR, Queue.INTENT)
        ],
        "pairs": pairs(visit.project, labels),
    }
    return render(request, "labeling/queues.html", context)


@require_GET
@for_annotators
def history(request: HttpRequest, visit: Visit) -> HttpResponse:
    """How a question's label came to be, as far as this person may know. Eight queries.

    Nobody who is still to judge a question learns what others said to it: an open test
    question shows nothing, and an annotator sees only their own part of a question that
    several people are asked.
    """
    pk = number(request.GET.get("question"))
    question = get_object_or_404(visit.project.questions, pk=pk or 0)
    is_open = question.state == Question.State.OPEN
    is_blind = is_open and question.split == Question.Split.TEST
    seen = Q()
    if is_open and visit.project.overlap > 1 and not visit.is_reviewer:
        seen = Q(by=visit.user)
    changes = question.changes.none()
    verdicts = question.annotations.none()
    if not is_blind:
        changes = LabelChange.objects.filter(seen, question=question)
        verdicts = Annotation.objects.filter(question=question)
        if seen:
            verdicts = verdicts.filter(annotator=visit.user)
    context = {
        "question": question,
        "is_blind": is_blind,
        "is_partial": bool(seen),
        "changes": changes.select_related("by")[:CHANGES],
        "verdicts": verdicts.select_related("annotator")
        .prefetch_related("intents")
        .order_by("-updated_at"),
    }
    return render(request, "labeling/history.html", context)


@require_GET
@for_annotators
def guideline(request: HttpRequest, visit: Visit) -> HttpResponse:
    """One intent's guidelines as HTML; five queries, rendered once a process."""
    labels = labelset.of(visit.project)
    found = labels.named([request.GET.get("intent", "")])
    context = {
        "intent": found[0] if found else None,
        "guidelines": guidelines.render(found[0].guidelines) if found else "",
    }
    return render(request, "labeling/guideline.html", context)


@require_GET
@for_annotators
def intents(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The type-ahead's list, for a page whose label set was edited meanwhile."""
    labels = labelset.of(visit.project)
    return JsonResponse({"key": labels.key, "intents": labels.search_list})
