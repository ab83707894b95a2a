"""What managers' pages share: their own addresses, and whose project they are about."""

from collections.abc import Callable
from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path

from labeling import access
from labeling.admin.scoped import Role, signed_in
from labeling.models import Project
from registry.models import Version

_MOST = 500


def project(request: HttpRequest, slug: str) -> Project:
    """A project by its slug.

    Raises:
        Http404: There is none, or the person is no member and need not know.
        PermissionDenied: The person is a member, but no manager.
    """
    found = access.projects_for(signed_in(request)).filter(slug=slug).first()
    if found is None:
        raise Http404
    access.require(signed_in(request), found, Role.MANAGER)
    return found


def version(request: HttpRequest, version_id: int) -> Version:
    """A version by its id. Raises as `project`."""
    found = Version.objects.select_related("project").filter(pk=version_id).first()
    if found is None or access.role_in(signed_in(request), found.project) is None:
        raise Http404
    access.require(signed_in(request), found.project, Role.MANAGER)
    return found


def projects(request: HttpRequest) -> list[Project]:
    """Projects that the person manages, by name, as many as a menu holds."""
    mine = access.projects_for(signed_in(request), role=Role.MANAGER)
    return list(mine.order_by("name")[:_MOST])


Page = tuple[str, Callable[..., HttpResponse], str]
"""Route below the model's own address, view, and the end of the address's name."""


def urls(admin: "ModelAdmin[Any]", *pages: Page) -> list[URLPattern]:
    """Addresses of pages beside a model's list and forms, for staff alone.

    They come first: the forms' own addresses would swallow them.
    """
    options = admin.model._meta
    return [
        path(
            route,
            admin.admin_site.admin_view(view),
            name=f"{options.app_label}_{options.model_name}_{name}",
        )
        for route, view, name in pages
    ]


class WithMenu:
    """A list with a menu of the projects that the person manages."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may: bool = self.has_view_permission(request)  # type: ignore[attr-defined]
        shown = {**(extra_context or {}), "managed": projects(request) if may else []}
        page: HttpResponse = super().changelist_view(request, shown)  # type: ignore[misc]
        return page
