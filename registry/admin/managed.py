"""The project or version that a page is about, if the signed-in person manages it."""

from django.http import Http404, HttpRequest

from labeling import access
from labeling.admin.scoped import Role, signed_in
from labeling.models import Project
from registry.models import Version

_MOST_BUTTONS = 8


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
    """Projects that the person manages, by name, as many as a row of buttons holds."""
    mine = access.projects_for(signed_in(request), role=Role.MANAGER)
    return list(mine.order_by("name")[:_MOST_BUTTONS])
