"""Admin pages of paraphrasings: what was sent where, and how far it is."""

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from labeling import access, background, growth
from labeling.admin import cells
from labeling.admin.growing import reasons
from labeling.admin.scoped import CappedPaginator, ProjectFilter, ReadOnlyAdmin, Role
from labeling.models import Paraphrasing

State = Paraphrasing.State

_KIND = {
    State.QUEUED: "",
    State.RUNNING: "info",
    State.SUCCEEDED: "good",
    State.FAILED: "bad",
    State.CANCELLED: "warn",
}


@admin.register(Paraphrasing)
class ParaphrasingAdmin(ReadOnlyAdmin):
    """Who sent how many questions where, and what came of it."""

    role_to_view = Role.MANAGER
    list_display = ("at", "where", "project", "status", "sent_of", "made", "by")
    list_select_related = ("project", "by")
    list_filter = (ProjectFilter, ("state", ChoicesDropdownFilter))
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator
    list_before_template = "admin/labeling/growth/paraphrasings_before.html"

    def get_urls(self) -> list[URLPattern]:
        def page(name: str, view: Any) -> URLPattern:
            guarded: Any = self.admin_site.admin_view(view)
            route: URLPattern = path(
                f"<int:run_id>/{name}/", guarded, name=f"labeling_paraphrasing_{name}"
            )
            return route

        own = [
            page("live", require_GET(self.live)),
            page("cancel", require_POST(self.cancel)),
        ]
        return [*own, *super().get_urls()]

    @display(description=_("started"))
    def at(self, obj: Paraphrasing) -> str:
        return cells.moment(obj.created_at)

    @display(description=_("language model"))
    def where(self, obj: Paraphrasing) -> SafeString:
        return format_html(
            '{} <span class="tl-quiet">{}</span>', cells.codes([obj.model]), obj.server
        )

    @display(description=_("state"))
    def status(self, obj: Paraphrasing) -> SafeString:
        return _badge(obj)

    @display(description=_("questions sent"))
    def sent_of(self, obj: Paraphrasing) -> str:
        sent = number_format(obj.sent, force_grouping=True)
        return f"{sent} / {number_format(len(obj.questions), force_grouping=True)}"

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The progress while it runs, and what came of it."""
        run = self._run(request, object_id)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": run,
            "title": str(run),
            **_shown(run),
        }
        template = "admin/labeling/growth/paraphrasing.html"
        return TemplateResponse(request, template, context)

    def live(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """The part that changes; asks for the whole page at a new state."""
        run = self._run(request, run_id)
        if request.GET.get("state") != run.state:
            return HttpResponse(headers={"HX-Refresh": "true"})
        template = "admin/labeling/growth/paraphrasing_live.html"
        return render(request, template, _shown(run))

    def cancel(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Ends a waiting one at once, a running one after its next question."""
        run = self._run(request, run_id)
        try:
            growth.cancel(run)
        except growth.WrongState as error:
            messages.error(request, str(error))
        return redirect("admin:labeling_paraphrasing_change", run.pk)

    def _run(self, request: HttpRequest, run_id: int | str) -> Paraphrasing:
        """The paraphrasing, if the person is a manager of its project.

        Raises:
            Http404: There is none, or the person is no member and need not know.
            PermissionDenied: The person is a member, but no manager.
        """
        found = Paraphrasing.objects.select_related("project", "by")
        run = found.filter(pk=run_id).first() if str(run_id).isdecimal() else None
        if run is None or access.role_in(request.user, run.project) is None:
            raise Http404
        access.require(request.user, run.project, Role.MANAGER)
        return run


def _badge(run: Paraphrasing) -> SafeString:
    state = State(run.state)
    return cells.badge(state.label, _KIND[state])


def _shown(run: Paraphrasing) -> dict[str, Any]:
    """What the page and its live part show."""
    total = len(run.questions)
    return {
        "run": run,
        "status": _badge(run),
        "total": total,
        "share": 100 * run.sent / total if total else 0,
        "is_open": run.state in (State.QUEUED, State.RUNNING),
        "workers": background.workers() if run.state == State.QUEUED else 1,
        "left_out": reasons(run.left_out),
    }
