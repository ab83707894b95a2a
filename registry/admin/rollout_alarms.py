"""Admin pages of the guard's alarms: what became worse, and what was done."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from labeling.admin import cells
from labeling.admin.scoped import ProjectFilter, ReadOnlyAdmin, Role, signed_in
from registry.models import Alarm
from registry.rollout import alarms


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    """Every rollback by itself and every canary that was ended by itself."""

    role_to_view = Role.MANAGER
    list_display = ("at", "project", "what", "why", "rates", "read")
    list_select_related = (
        *("project", "activation__version", "rollback__version"),
        *("rollout__version", "read_by"),
    )
    list_filter = (ProjectFilter,)
    ordering = ("-id",)
    sortable_by = ()
    fields = (("at", "project"), "what", "why", ("rates", "notified_at"), "read")

    @display(description=gettext_lazy("at"))
    def at(self, obj: Alarm) -> SafeString:
        return cells.moment(obj.created_at)

    @display(description=gettext_lazy("what happened"))
    def what(self, obj: Alarm) -> SafeString:
        return cells.long_text(alarms.what_happened(obj), limit=300)

    @display(description=gettext_lazy("why"))
    def why(self, obj: Alarm) -> SafeString:
        return cells.long_text(alarms.why(obj), limit=300)

    @display(description=gettext_lazy("before → after"))
    def rates(self, obj: Alarm) -> str:
        before, after = (cells.percent(r, digits=1) for r in (obj.before, obj.after))
        return f"{before} → {after}"

    @display(description=gettext_lazy("read"))
    def read(self, obj: Alarm) -> Any:
        if obj.read_at is None:
            return cells.badge(_("Not read"), "bad")
        return f"{obj.read_by or '–'}"

    def get_urls(self) -> list[URLPattern]:
        urls: list[URLPattern] = super().get_urls()
        view = self.admin_site.admin_view(self.read_view)
        return [path("<int:pk>/read/", view, name="registry_alarm_read"), *urls]

    def read_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Takes an alarm off the pages; where it was clicked away comes up again."""
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:registry_alarm_changelist"))
        alarm: Alarm | None = self.get_queryset(request).filter(pk=pk).first()
        if alarm is None:
            raise Http404
        if not self.has_view_permission(request, alarm):
            raise PermissionDenied
        alarms.read(alarm, by=signed_in(request))
        messages.success(request, _("The alarm stays in the list of alarms."))
        return HttpResponseRedirect(reverse("admin:registry_alarm_changelist"))
