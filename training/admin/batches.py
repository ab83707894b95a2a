"""The list of training batches; each has its own page outside the admin's forms."""

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from labeling.admin import cells
from labeling.admin.scoped import ProjectFilter, ReadOnlyAdmin, Role, project_ids
from labeling.models import Project
from training.models import TrainingBatch
from training.views.batch import duration, state_badge

_MAX_BUTTONS = 8
"""Projects with a button of their own above the list."""


@admin.register(TrainingBatch)
class TrainingBatchAdmin(ReadOnlyAdmin):
    """What was trained, how far it got, and the version that came of it."""

    role_to_view = Role.MANAGER
    list_display = (
        "number",
        "project",
        "preset",
        "status",
        "progress",
        "version_number",
        "took",
        "created_by",
        "created_at",
    )
    list_select_related = ("project", "version", "created_by")
    list_filter = (ProjectFilter, ("state", ChoicesDropdownFilter))
    ordering = ("-id",)
    sortable_by = ()
    list_before_template = "training/list_before.html"

    @display(description=_("batch"))
    def number(self, obj: TrainingBatch) -> str:
        return f"#{obj.pk}"

    @display(description=_("state"))
    def status(self, obj: TrainingBatch) -> str:
        return state_badge(obj)

    @display(description=_("progress"))
    def progress(self, obj: TrainingBatch) -> str:
        if obj.state == TrainingBatch.State.SUCCEEDED:
            return cells.bar(1.0)
        if not obj.total_steps:
            return cells.NOTHING
        return cells.bar(obj.step / obj.total_steps)

    @display(description=_("version"))
    def version_number(self, obj: TrainingBatch) -> str:
        return f"v{obj.version.number}" if obj.version else cells.NOTHING

    @display(description=_("time"))
    def took(self, obj: TrainingBatch) -> str:
        if obj.started_at is None or obj.finished_at is None:
            return cells.NOTHING
        took = duration((obj.finished_at - obj.started_at).total_seconds())
        return format_html('<span class="tl-moment">{}</span>', took)

    def get_queryset(self, request: HttpRequest) -> Any:
        # A log can be long; the list shows none.
        return super().get_queryset(request).defer("log", "metrics", "recipe")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with a way to the page that starts a training above it."""
        mine = Project.objects.filter(pk__in=project_ids(request, Role.MANAGER))
        extra = {**(extra_context or {}), "projects_to_train": mine[:_MAX_BUTTONS]}
        response: HttpResponse = super().changelist_view(request, extra)
        return response

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The batch's own page says 403 or 404 itself."""
        if not object_id.isdecimal():
            raise Http404
        return redirect("training:batch", int(object_id))
