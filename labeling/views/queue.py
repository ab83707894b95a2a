"""The queue page: one question at a time, the next two already there.

`page` gives the whole page with the first cards; `next_cards` gives those that it still
wants while its person answers. What they answer goes to `labeling.views.verdicts`.
"""

import time
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from labeling import access, queue
from labeling.models import Queue
from labeling.queue import Claimed
from labeling.reports import progress
from labeling.taxonomy import labelset
from labeling.taxonomy.labelset import LabelSet
from labeling.views import guidelines
from labeling.views.card import Card, cards
from labeling.views.choice import Choice, pairs
from labeling.views.guard import Visit, for_annotators
from labeling.views.step import number, numbers

HAND = 3
"""Questions that a page holds: the one on screen and the next two."""
_MAX_HEARTBEAT_S = 60


@require_GET
def choose(request: HttpRequest) -> HttpResponse:
    """My projects with what is open in each; straight on where there is one."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    projects = list(access.projects_for(request.user).order_by("name"))
    if len(projects) == 1:
        return redirect("labeling:queue", projects[0].slug)
    counts = progress.open_counts(projects)
    context = {
        **admin.site.each_context(request),
        "title": _("Label"),
        "rows": [(project, counts[project.pk]) for project in projects],
        "may_add": request.user.has_perm("labeling.add_project"),
    }
    return render(request, "labeling/choose.html", context)


@require_GET
@ensure_csrf_cookie
@for_annotators
def page(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The queue of a project with its first questions, claimed.

    Cost: fourteen statements, and six for each card; the sidebar of the admin apart.
    """
    labels = labelset.of(visit.project)
    choice = Choice.read(request.GET, visit, labels)
    context = {
        **admin.site.each_context(request),
        **hand_context(request, visit, labels, deal(visit, labels, choice)),
        "title": visit.project.name,
        "choice": choice,
        "progress": progress.of(visit.project, visit.user),
        "labels": labels,
        "intents": labels.search_list,
        "guidelines": guidelines.render(visit.project.guidelines),
        "heartbeat_s": heartbeat_s(visit),
        "hand_size": HAND,
    }
    return render(request, "labeling/queue.html", context)


@require_GET
@for_annotators
def next_cards(request: HttpRequest, visit: Visit) -> HttpResponse:
    """`n` questions of the chosen queue, those that the page has (`have`) left out.

    Cost: ten statements, three of them the claim's, and six for each card that is new.
    """
    labels = labelset.of(visit.project)
    choice = Choice.read(request.GET, visit, labels)
    wanted = min(number(request.GET.get("n")) or HAND, queue.MAX_CLAIM)
    have = numbers(request.GET.get("have", ""))
    hand = deal(visit, labels, choice, wanted=wanted, have=have)
    context = hand_context(request, visit, labels, hand)
    response = render(request, "labeling/hand.html", context)
    response["Server-Timing"] = f"claim;dur={hand.claim_ms:.1f}"
    return response


@dataclass(frozen=True)
class Hand:
    """What a page gets: new cards, and what its person holds altogether."""

    choice: Choice
    cards: list[Card]
    held: list[int]
    claim_ms: float = 0
    """How long the claim took."""


def deal(
    visit: Visit,
    labels: LabelSet,
    choice: Choice,
    *,
    wanted: int = HAND,
    have: Set[int] = frozenset(),
) -> Hand:
    """Claims up to `wanted` questions; makes cards of those that the page has not."""
    claimed: list[Claimed] = []
    start = time.perf_counter()
    if labels.intents and choice.is_complete:
        claimed = queue.claim(
            visit.project,
            visit.user,
            queue=choice.queue,
            codes=choice.codes,
            limit=wanted,
        )
    claim_ms = (time.perf_counter() - start) * 1000
    fresh = [one for one in claimed if one.question.pk not in have]
    return Hand(
        choice,
        cards(visit.project, visit.user, fresh, labels),
        [one.question.pk for one in claimed],
        claim_ms,
    )


def hand_context(
    request: HttpRequest, visit: Visit, labels: LabelSet, hand: Hand
) -> dict[str, Any]:
    """What `labeling/hand.html` takes; two or three queries more on an empty hand."""
    context: dict[str, Any] = {
        "hand": hand,
        "project": visit.project,
        "labels": labels,
        "choice": hand.choice,
        "is_manager": visit.is_manager,
    }
    if not hand.held:
        others = access.projects_for(request.user).exclude(pk=visit.project.pk)
        context["has_other_projects"] = others.exists()
        counts = progress.open_counts([visit.project])
        context["open"] = counts[visit.project.pk]
        if hand.choice.queue == Queue.PAIR and not hand.choice.is_complete:
            context["pairs"] = pairs(visit.project, labels)
    return context


def heartbeat_s(visit: Visit) -> int:
    """Seconds between two renewals: several within one lease."""
    return max(1, min(_MAX_HEARTBEAT_S, visit.project.lease_s // 4))
