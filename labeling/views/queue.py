"""The queue page: one question at a time, answered by keyboard or touch.

`page` gives the whole page or, to htmx, the card alone. The other views take one step
and answer with the next card; a step that fails answers with a notice that is shown
beside the card, so that nothing chosen or typed is lost.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import reswap, retarget

from labeling import access, guidelines, progress, queue
from labeling.annotations import CannotUndo, InvalidVerdict
from labeling.models import Annotation, Membership, Project, Question
from labeling.queue import Claimed, StaleLease
from labeling.taxonomy import UnknownIntent
from labeling.views.card import Card, Step, intents_of

Page = Callable[Concatenate[HttpRequest, Project, ...], HttpResponse]


def _for_annotators(view: Page) -> Callable[..., HttpResponse]:
    """Signed in, and a member of the project with this slug; others get a 404."""

    @wraps(view)
    def guarded(request: HttpRequest, slug: str) -> HttpResponse:
        if not request.user.is_authenticated:
            if request.headers.get("HX-Request"):
                return _notice(request, 401, "signed_out", "")
            return redirect_to_login(request.get_full_path())
        project = get_object_or_404(access.projects_for(request.user), slug=slug)
        access.require(request.user, project, Membership.Role.ANNOTATOR)
        return never_cache(view)(request, project)

    return guarded


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
@_for_annotators
def page(request: HttpRequest, project: Project) -> HttpResponse:
    """The queue of a project with the next question, claimed."""
    if request.headers.get("HX-Request"):
        return _next_card(request, project)
    card = Card.of(project, _user(request), _claim(request, project))
    context = {
        **admin.site.each_context(request),
        **_card_context(request, card),
        "title": project.name,
        "intents": [
            {"code": one.code, "name": one.name, "description": one.description}
            for one in intents_of(project).values()
        ],
        "guidelines": guidelines.render(project.guidelines),
        "is_full_page": True,
    }
    return render(request, "labeling/queue.html", context)


@require_POST
@_for_annotators
def submit(request: HttpRequest, project: Project) -> HttpResponse:
    """Label the question on screen and show the next."""
    step = Step.read(request.POST)
    if step is None or not _is_of(project, step):
        return _notice(request, 400, "broken", "")
    if project.is_multi_intent and not step.intents and not step.is_none:
        return _notice(
            request, 422, "invalid", _("Choose an intent, or press 0 for none of them.")
        )
    try:
        annotation = queue.submit(
            step.question_id,
            _user(request),
            token=step.token,
            intents=step.intents,
            comment=step.comment,
            time_spent_ms=step.time_spent_ms,
        )
    except StaleLease as error:
        return _notice(request, 409, "lost", str(error))
    except (UnknownIntent, InvalidVerdict) as error:
        return _notice(request, 422, "invalid", str(error))
    return _next_card(request, project, done=annotation)


@require_POST
@_for_annotators
def skip(request: HttpRequest, project: Project) -> HttpResponse:
    """Pass on the question on screen and show the next."""
    step = Step.read(request.POST)
    if step is None or not _is_of(project, step):
        return _notice(request, 400, "broken", "")
    try:
        annotation = queue.skip(
            step.question_id,
            _user(request),
            token=step.token,
            reason=step.reason or step.comment,
            time_spent_ms=step.time_spent_ms,
        )
    except StaleLease as error:
        return _notice(request, 409, "lost", str(error))
    return _next_card(request, project, done=annotation)


@require_POST
@_for_annotators
def undo(request: HttpRequest, project: Project) -> HttpResponse:
    """Take the latest verdict back and show its question."""
    try:
        claimed = queue.undo(project, _user(request))
    except CannotUndo as error:
        return _notice(request, 409, "cannot_undo", str(error))
    card = Card.of(project, _user(request), claimed)
    return render(
        request, "labeling/card.html", {**_card_context(request, card), "undone": True}
    )


@require_POST
@_for_annotators
def renew(request: HttpRequest, project: Project) -> HttpResponse:
    """The card's heartbeat: keep the question for another lease."""
    step = Step.read(request.POST)
    if step is None or not _is_of(project, step):
        return _notice(request, 400, "broken", "")
    try:
        queue.renew(step.question_id, _user(request), token=step.token)
    except StaleLease as error:
        return _notice(request, 409, "lost", str(error))
    return HttpResponse(status=204)


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # `_for_annotators` lets nobody else in
    return request.user


def _is_of(project: Project, step: Step) -> bool:
    """Whether the step's question is the project's: a token alone opens no door."""
    return Question.objects.filter(pk=step.question_id, project=project).exists()


def _claim(request: HttpRequest, project: Project) -> Claimed | None:
    return next(iter(queue.claim(project, _user(request))), None)


def _card_context(request: HttpRequest, card: Card) -> dict[str, Any]:
    role = access.role_in(request.user, card.project)
    context: dict[str, Any] = {
        "card": card,
        "is_manager": role == Membership.Role.MANAGER,
    }
    if card.claimed is None:
        others = access.projects_for(request.user).exclude(pk=card.project.pk)
        context["has_other_projects"] = others.exists()
    return context


def _next_card(
    request: HttpRequest, project: Project, *, done: Annotation | None = None
) -> HttpResponse:
    card = Card.of(project, _user(request), _claim(request, project))
    context = {**_card_context(request, card), "done": done}
    return render(request, "labeling/card.html", context)


def _notice(request: HttpRequest, status: int, kind: str, why: str) -> HttpResponse:
    """What went wrong and what to do; it leaves the card as it is."""
    context = {"kind": kind, "why": why, "login_url": reverse("admin:login")}
    response = render(request, "labeling/notice.html", context, status=status)
    retarget(response, "#queue-notice")
    reswap(response, "innerHTML")
    return response
