"""What the training pages share: who may see them, and the admin around them."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from labeling import access
from labeling.models import Membership, Project
from training.models import TrainingBatch

# Attributes of the buttons that open and close the pages' dialogs; unfold's button
# component takes them as a dictionary.
_DIALOG = {
    "close_attrs": {"type": "button", "data-closes": ""},
    **{
        f"{name}_attrs": {"type": "button", "data-opens": f"{name}-dialog"}
        for name in ("train", "cancel", "retry")
    },
}


def person(request: HttpRequest) -> User:
    """Who is signed in; the views let nobody else through."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def project_of(request: HttpRequest, slug: str) -> Project:
    """A project that the person manages.

    Raises:
        Http404: There is none, or the person is no member and need not know.
        PermissionDenied: The person is a member, but no manager.
    """
    project = get_object_or_404(access.projects_for(person(request)), slug=slug)
    access.require(person(request), project, Membership.Role.MANAGER)
    return project


def batch_of(request: HttpRequest, batch_id: int) -> TrainingBatch:
    """A batch of a project that the person manages. Raises as `project_of`."""
    batch = (
        TrainingBatch.objects.select_related(
            "project", "dataset", "parent", "version", "created_by"
        )
        .filter(pk=batch_id)
        .first()
    )
    if batch is None or access.role_in(person(request), batch.project) is None:
        raise Http404
    access.require(person(request), batch.project, Membership.Role.MANAGER)
    return batch


def context(request: HttpRequest, *, title: str, **more: Any) -> dict[str, Any]:
    """The admin's own context with a page's title."""
    return {**admin.site.each_context(request), "title": title, **_DIALOG, **more}
