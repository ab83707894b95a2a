"""The quality page: agreement, people, reviewers' reasons, likely label errors."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST
from redis.exceptions import RedisError

from labeling import label_errors
from labeling.label_errors import finding
from labeling.models import LabelChange, Queue
from labeling.reports import progress, quality
from labeling.views.guard import Visit, for_annotators

PAIRS_SHOWN = 50


@require_GET
@for_annotators
def page(request: HttpRequest, visit: Visit) -> HttpResponse:
    """How good the project's labels are; for reviewers and managers.

    Cost: about 12 queries, half of them remembered for a minute.
    """
    _for_reviewers(visit)
    report = quality.report(visit.project)
    waiting = progress.waiting(visit.project)
    check = label_errors.last(visit.project)
    words = dict(LabelChange.Reason.choices)
    context = {
        **admin.site.each_context(request),
        "title": _("Quality · %(project)s") % {"project": visit.project.name},
        "project": visit.project,
        "is_manager": visit.is_manager,
        "report": report,
        "pairs": report.pairs[:PAIRS_SHOWN],
        "more_pairs": max(0, len(report.pairs) - PAIRS_SHOWN),
        "reasons": [
            (words.get(LabelChange.Reason(key)) if key else _("No reason given"), n)
            for key, n in report.reasons.items()
        ],
        "adjudications": sum(report.reasons.values()),
        "disputed": waiting[Queue.DISPUTED],
        "suspect": waiting[Queue.SUSPECT],
        "broken": waiting[Queue.BROKEN],
        "check": check,
        "is_under_way": label_errors.is_under_way(check),
        "min_labels": finding.MIN_LABELS,
        "newest_labels": label_errors.NEWEST,
    }
    return render(request, "labeling/quality.html", context)


@require_POST
@for_annotators
def look(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Has a worker look for label errors."""
    _for_reviewers(visit)
    try:
        label_errors.ask(visit.project, by=visit.user)
    except RedisError:
        messages.error(request, _("The job queue can't be reached; try again later."))
    return redirect("labeling:quality", visit.project.slug)


def _for_reviewers(visit: Visit) -> None:
    if not visit.is_reviewer:
        raise PermissionDenied(_("This page is the reviewers'."))
