"""Admin page "Serving": which web process holds which versions, as it says itself."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from labeling.admin import cells
from labeling.admin.scoped import ReadOnlyAdmin, Role, project_ids
from labeling.models import Project
from registry.models import ServingProcess

LOST_AFTER = timedelta(seconds=10)
"""A process writes its row once a second."""


@admin.register(ServingProcess)
class ServingProcessAdmin(ReadOnlyAdmin):
    """Processes serve all projects; a person sees what they say of their own."""

    role_to_view = Role.MANAGER
    list_display = ("name", "status", "versions", "memory", "started_at", "seen_at")
    fields = (("name", "status"), "versions", ("memory", "started_at", "seen_at"))
    ordering = ("-seen_at",)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        self._name_projects(request, page.result_list)
        return page

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> ServingProcess | None:
        process: ServingProcess | None = super().get_object(
            request, object_id, from_field
        )
        self._name_projects(request, [process] if process else [])
        return process

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServingProcess]:
        return ServingProcess.objects.all()

    def _name_projects(
        self, request: HttpRequest, processes: Iterable[ServingProcess]
    ) -> None:
        """Leaves on each row what it says of the person's projects, by their names."""
        mine = Project.objects.filter(pk__in=project_ids(request, self.role_to_view))
        names = {str(pk): name for pk, name in mine.values_list("pk", "name")}
        for process in processes:
            shown = [
                (names[project_id], entry)
                for project_id, entry in process.serving.items()
                if project_id in names
            ]
            process.__dict__["shown"] = sorted(shown, key=lambda one: one[0])

    def has_role(self, request: HttpRequest, role: str, obj: Any = None) -> bool:
        return super().has_role(request, role)  # in any project

    @display(description=gettext_lazy("process"))
    def name(self, obj: ServingProcess) -> str:
        return str(obj)

    @display(description=gettext_lazy("state"))
    def status(self, obj: ServingProcess) -> str:
        if timezone.now() - obj.seen_at > LOST_AFTER:
            return cells.badge(_("Gone"))
        if any(entry.get("error") for _name, entry in obj.__dict__.get("shown", ())):
            return cells.badge(_("Degraded"), "bad")
        return cells.badge(_("Alive"), "good")

    @display(description=gettext_lazy("memory"))
    def memory(self, obj: ServingProcess) -> str:
        return f"{obj.rss_mb:.0f} MB" if obj.rss_mb else "–"

    @display(description=gettext_lazy("serving"))
    def versions(self, obj: ServingProcess) -> SafeString:
        """One line a project: what is served, what else is loaded, what is wrong."""
        lines = [(_line(*one),) for one in obj.__dict__.get("shown", ())]
        return format_html_join("", "<div>{}</div>", lines) or cells.NOTHING


def _line(project: str, entry: dict[str, Any]) -> SafeString:
    version = entry.get("version")
    serves = (
        _("version %(version)s") % {"version": version} if version else _("rules only")
    )
    others = [str(n) for n in entry.get("ready", ()) if str(n) != str(version)]
    loaded = _("also loaded: %(versions)s") % {"versions": ", ".join(others)}
    return format_html(
        '{} · <strong>{}</strong> <span class="tl-quiet">{}</span> {}',
        project,
        serves,
        loaded if others else "",
        cells.badge(entry["error"], "bad") if entry.get("error") else "",
    )
