"""The grid: questions that belong together, labelled in one action.

`page` finds and shows them, `preview` says what an action would change, `label` does
it, `undo` takes one back; `everything` is the page for all matches of a filter. htmx
swaps the grid's body; refusals are told beside it, so that nothing chosen is lost.
"""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import reswap, retarget

from labeling import bulk
from labeling.bulk import finding
from labeling.bulk.finding import SHOWN, Filter
from labeling.labels.annotations import CannotUndo, InvalidVerdict
from labeling.models import BulkAction, Question
from labeling.search.similar import EncoderMissing
from labeling.taxonomy import UnknownIntent, labelset
from labeling.taxonomy.labelset import LabelSet
from labeling.views.guard import Visit, for_annotators

RECENT = 8
"""Bulk actions that are listed."""
BOUNDS = (30, 50, 70, 90)
"""Confidences that the page offers to look below, in percent."""
_OFFERED = 5
"""Intents that are offered beside the picker."""


@require_GET
@ensure_csrf_cookie
@for_annotators
def page(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The grid with what the address asks for; its body alone for htmx."""
    labels = labelset.of(visit.project)
    wanted = Filter.read(request.GET, labels)
    context = _body(visit, labels, wanted)
    if done := _action(visit, request.GET.get("done", "")):
        context["done"] = done
    if request.headers.get("HX-Request"):
        return render(request, "labeling/grid_body.html", context)
    context |= {
        **admin.site.each_context(request),
        "title": _("Find and label · %(project)s") % {"project": visit.project.name},
        "bounds": BOUNDS,
        "states": [(finding.ANY, _("Any state")), *Question.State.choices],
    }
    return render(request, "labeling/grid.html", context)


@require_GET
@ensure_csrf_cookie
@for_annotators
def everything(request: HttpRequest, visit: Visit) -> HttpResponse:
    """All matches of a filter, to be labelled in one step after a look at them."""
    labels = labelset.of(visit.project)
    wanted = Filter.read(request.GET, labels)
    if wanted.is_nearness:
        return redirect(_address(visit, wanted))
    newest = visit.project.questions.order_by("-pk").values_list("pk", flat=True)
    context = {
        **admin.site.each_context(request),
        **_body(visit, labels, wanted),
        "title": _("Label all matches · %(project)s") % {"project": visit.project.name},
        "newest": newest.first() or 0,
    }
    return render(request, "labeling/grid_all.html", context)


@require_POST
@for_annotators
def preview(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What labelling the chosen questions would change: the dialog's content."""
    labels = labelset.of(visit.project)
    wanted = Filter.read(request.POST, labels)
    try:
        seen = bulk.preview(
            visit.project,
            visit.user,
            question_ids=_chosen(request, visit, wanted),
            codes=_codes(request),
        )
    except (UnknownIntent, InvalidVerdict, bulk.TooMany) as error:
        return _notice(request, 422, str(error))
    return _preview(request, visit, seen)


@require_POST
@for_annotators
def label(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Label the chosen questions and show what is left, with an undo."""
    labels = labelset.of(visit.project)
    wanted = Filter.read(request.POST, labels)
    is_all = "all" in request.POST
    kinds = BulkAction.Kind
    try:
        action = bulk.label(
            visit.project,
            visit.user,
            question_ids=_chosen(request, visit, wanted),
            codes=_codes(request),
            kind=kinds.FILTER
            if is_all
            else kinds.CLUSTER
            if wanted.cluster
            else kinds.SELECTION,
            description=wanted.in_words(),
        )
    except bulk.NothingToLabel as error:
        # Others were quicker: the dialog says so.
        response = _preview(request, visit, error.preview)
        retarget(response, "#grid-dialog-content")
        reswap(response, "innerHTML")
        return response
    except (UnknownIntent, InvalidVerdict, bulk.TooMany) as error:
        return _notice(request, 422, str(error))
    if is_all:
        response = HttpResponse(status=204)
        query = wanted.query
        mark = f"{query}&done={action.pk}" if query else f"?done={action.pk}"
        response["HX-Redirect"] = _grid_url(visit) + mark
        return response
    context = {**_body(visit, labels, wanted), "done": action}
    return render(request, "labeling/grid_body.html", context)


@require_POST
@for_annotators
def undo(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Take one bulk action back."""
    labels = labelset.of(visit.project)
    wanted = Filter.read(request.POST, labels)
    action = get_object_or_404(_actions(visit), pk=_number(request.POST.get("action")))
    try:
        undone = bulk.undo(action, by=visit.user)
    except CannotUndo as error:
        return _notice(request, 409, str(error))
    except PermissionDenied:
        return _notice(request, 403, _("Only reviewers take back what others did."))
    context = {**_body(visit, labels, wanted), "undone": undone}
    return render(request, "labeling/grid_body.html", context)


def _body(visit: Visit, labels: LabelSet, wanted: Filter) -> dict[str, Any]:
    """What the grid's body shows. About ten queries."""
    problem = ""
    try:
        found = finding.find(visit.project, wanted)
    except EncoderMissing as error:
        found = finding.Found([])
        problem = str(error)
    actions = list(_actions(visit)[:RECENT])
    has_questions = bool(found.matches) or visit.project.questions.exists()
    return {
        "visit": visit,
        "project": visit.project,
        "labels": labels,
        "wanted": wanted,
        "found": found,
        "problem": problem,
        "shown": SHOWN,
        "most": bulk.MOST,
        "offered": labels.named(found.codes)[:_OFFERED],
        "actions": [(one, _may_undo(visit, one)) for one in actions],
        "has_questions": has_questions,
    }


def _preview(request: HttpRequest, visit: Visit, seen: bulk.Preview) -> HttpResponse:
    context = {
        "preview": seen,
        "project": visit.project,
        "is_one_of_several": visit.project.overlap > 1 and not visit.is_reviewer,
    }
    return render(request, "labeling/grid_preview.html", context)


def _actions(visit: Visit) -> Any:
    actions = BulkAction.objects.filter(project=visit.project)
    return actions.select_related("by", "undone_by").order_by("-pk")


def _action(visit: Visit, text: str) -> BulkAction | None:
    """The person's own action that an address speaks of."""
    actions: Any = _actions(visit).filter(by=visit.user, undone_at=None)
    found: BulkAction | None = actions.filter(pk=_number(text)).first()
    return found


def _may_undo(visit: Visit, action: BulkAction) -> bool:
    return action.undone_at is None and (
        visit.is_reviewer or action.by_id == visit.user.pk
    )


def _chosen(request: HttpRequest, visit: Visit, wanted: Filter) -> list[int]:
    """Ids that the form names, or all that its filter finds."""
    if "all" in request.POST:
        up_to = _number(request.POST.get("newest"))
        return finding.matching_ids(visit.project, wanted, up_to=up_to)
    return [pk for pk in map(_number, request.POST.getlist("id")) if pk]


def _codes(request: HttpRequest) -> list[str]:
    codes = [code for code in request.POST.getlist("intent") if code]
    if not codes:  # in a multi-intent project it would mean "none of them"
        raise InvalidVerdict(_("Choose an intent."))
    return codes


def _number(text: str | None) -> int:
    """A whole number that fits a bigint; 0, which is no id, for anything else."""
    is_number = text and text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if text and is_number else 0


def _grid_url(visit: Visit) -> str:
    return reverse("labeling:grid", args=[visit.project.slug])


def _address(visit: Visit, wanted: Filter) -> str:
    return _grid_url(visit) + wanted.query


def _notice(request: HttpRequest, status: int, why: str) -> HttpResponse:
    """What went wrong; the page shows it above the grid."""
    return render(request, "labeling/grid_notice.html", {"why": why}, status=status)
