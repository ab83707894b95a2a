"""Who may see evaluations, and the frame that their pages share."""

from typing import Any

from django.http import Http404, HttpRequest

from labeling import access
from labeling.models import Membership, Project
from registry.models import Evaluation, Version
from training.models import EvaluationRun
from training.views import pages


def evaluation_of(request: HttpRequest, evaluation_id: int) -> Evaluation:
    """An evaluation in a project that the person manages, as a version's page is.

    Raises:
        Http404: There is none, or the person is no member and need not know.
        PermissionDenied: The person is a member, but no manager.
    """
    rows = Evaluation.objects.select_related("version__project")
    evaluation = rows.filter(pk=evaluation_id).first()
    if evaluation is None:
        raise Http404
    _admit(request, evaluation.version.project)
    return evaluation


def version_of(request: HttpRequest, version_id: int) -> Version:
    """A version of a project that the person manages. Raises as `evaluation_of`."""
    version = Version.objects.select_related("project").filter(pk=version_id).first()
    if version is None:
        raise Http404
    _admit(request, version.project)
    return version


def run_of(request: HttpRequest, run_id: int) -> EvaluationRun:
    """A run in a project that the person manages. Raises as `evaluation_of`."""
    rows = EvaluationRun.objects.select_related("version__project", "evaluation", "by")
    run = rows.filter(pk=run_id).first()
    if run is None:
        raise Http404
    _admit(request, run.version.project)
    return run


def context(
    request: HttpRequest, version: Version, *, title: str, **more: Any
) -> dict[str, Any]:
    """The admin's frame; its header leads back to the version."""
    return pages.context(
        request,
        title=title,
        opts=Version._meta,
        original=version,
        version=version,
        project=version.project,
        **more,
    )


def _admit(request: HttpRequest, project: Project) -> None:
    person = pages.person(request)
    if access.role_in(person, project) is None:
        raise Http404
    access.require(person, project, Membership.Role.MANAGER)
