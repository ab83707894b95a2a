"""Admin pages of what a worker does by itself: the progress, and a way to end it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST
from unfold.decorators import display

from labeling import access
from labeling.admin import cells
from labeling.admin.scoped import CappedPaginator, ReadOnlyAdmin, Role, signed_in

_KIND = {
    "queued": "",
    "running": "info",
    "succeeded": "good",
    "failed": "bad",
    "cancelled": "warn",
}


def badge(run: Any) -> SafeString:
    """The state of a run as a coloured word."""
    return cells.badge(run.get_state_display(), _KIND[run.state])


class RunAdmin(ReadOnlyAdmin):
    """Rows with a project, a person (`by`), a start and a state; the newest first."""

    role_to_view = Role.MANAGER
    list_select_related = ("project", "by")
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator

    page_template: str
    live_template: str
    """The part of the page that asks for itself again while the run is open."""

    def shown(self, run: Any) -> dict[str, Any]:
        """What the page and its live part show."""
        raise NotImplementedError

    def end(self, run: Any, *, by: User) -> str:
        """Cancels the run; what to say where it cannot be, empty where it can."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        own = [
            self.own_page("live", require_GET(self.live)),
            self.own_page("cancel", require_POST(self.cancel)),
        ]
        return [*own, *super().get_urls()]

    def own_page(self, name: str, view: Any) -> URLPattern:
        """An address below a run, named as the admin names its own."""
        guarded: Any = self.admin_site.admin_view(view)
        full = f"{self.opts.app_label}_{self.opts.model_name}_{name}"
        route: URLPattern = path(f"<int:run_id>/{name}/", guarded, name=full)
        return route

    @display(description=_("started"))
    def at(self, obj: Any) -> str:
        return cells.moment(obj.created_at)

    @display(description=_("state"))
    def status(self, obj: Any) -> str:
        return badge(obj)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The progress while it runs, and what came of it."""
        run = self.run_of(request, object_id)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": run,
            "title": str(run),
            **self.shown(run),
        }
        return TemplateResponse(request, self.page_template, context)

    def live(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """The part that changes; asks for the whole page at a new state."""
        run = self.run_of(request, run_id)
        if request.GET.get("state") != run.state:
            return HttpResponse(headers={"HX-Refresh": "true"})
        return render(request, self.live_template, self.shown(run))

    def cancel(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Ends a waiting one at once, a running one as soon as it looks."""
        run = self.run_of(request, run_id)
        if refusal := self.end(run, by=signed_in(request)):
            messages.error(request, refusal)
        page = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        return redirect(page, run.pk)

    def run_of(self, request: HttpRequest, run_id: int | str) -> Any:
        """The run, if the person is a manager of its project.

        Raises:
            Http404: There is none, or the person is no member and need not know.
            PermissionDenied: The person is a member, but no manager.
        """
        found = self.model._default_manager.select_related("project", "by")
        run: Any = found.filter(pk=run_id).first() if str(run_id).isdecimal() else None
        if run is None or access.role_in(request.user, run.project) is None:
            raise Http404
        access.require(request.user, run.project, Role.MANAGER)
        return run
