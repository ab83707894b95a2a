"""Who gets to an annotator's page, and how a refusal is told."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache

from labeling import access
from labeling.models import Membership, Project

ASKED_BY_SCRIPT = "X-Tuneloop"
"""Header of what the page's scripts ask for: they show a notice, not a login page."""


@dataclass(frozen=True)
class Visit:
    """A member of a project at work."""

    project: Project
    user: User
    role: str

    @property
    def is_manager(self) -> bool:
        """Whether they manage the project."""
        return self.role == Membership.Role.MANAGER

    @property
    def is_reviewer(self) -> bool:
        """Whether they may settle what others disagree about."""
        return self.role in (Membership.Role.REVIEWER, Membership.Role.MANAGER)


View = Callable[Concatenate[HttpRequest, Visit, ...], HttpResponse]


def for_annotators(view: View) -> Callable[..., HttpResponse]:
    """Signed in, and a member of the project with this slug; others get a 404.

    The answer says in its `Server-Timing` header how long the server took for it.
    """

    @wraps(view)
    def guarded(request: HttpRequest, slug: str) -> HttpResponse:
        start = time.perf_counter()
        user = request.user
        if not user.is_authenticated:
            if request.headers.get(ASKED_BY_SCRIPT):
                return notice(request, 401, "signed_out")
            return redirect_to_login(request.get_full_path())
        project = get_object_or_404(access.projects_for(user), slug=slug)
        role = access.role_in(user, project)
        if role is None:
            raise PermissionDenied
        response = never_cache(view)(request, Visit(project, user, role))
        took_ms = (time.perf_counter() - start) * 1000
        parts = [response.get("Server-Timing"), f"app;dur={took_ms:.1f}"]
        response["Server-Timing"] = ", ".join(filter(None, parts))
        return response

    return guarded


def notice(request: HttpRequest, status: int, kind: str, why: str = "") -> HttpResponse:
    """What went wrong and what to do; the page shows it beside the card."""
    context = {"kind": kind, "why": why, "login_url": reverse("admin:login")}
    return render(request, "labeling/notice.html", context, status=status)
