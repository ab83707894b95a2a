"""Admin pages of rollouts: put a version beside the active one, compare, end it."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from labeling.admin import cells
from labeling.admin.scoped import ProjectFilter, ReadOnlyAdmin, Role, signed_in
from registry import artifacts
from registry.admin import managed
from registry.models import Rollout
from registry.rollout import comparing, guard, running

Mode = Rollout.Mode

_MOST_OF_A_CANARY = 50
"""Per cent. With more there is too little left to compare it with."""


class StartForm(forms.Form):
    """How a version is put on live traffic."""

    mode = forms.ChoiceField(
        label=gettext_lazy("Mode"),
        choices=[
            (Mode.SHADOW, gettext_lazy("Shadow: it answers unseen, and is compared")),
            (Mode.CANARY, gettext_lazy("Canary: its answers are given to users")),
        ],
        initial=Mode.SHADOW,
        widget=UnfoldAdminRadioSelectWidget,
    )
    percent = forms.FloatField(
        label=gettext_lazy("Share of the requests in %"),
        min_value=0.1,
        max_value=100,
        initial=100,
        help_text=gettext_lazy(
            "In shadow all of them; as a canary a few to begin with. Which request is"
            " of the share is decided by its id, in every process alike."
        ),
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
    )

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        is_canary = values.get("mode") == Mode.CANARY
        if is_canary and values.get("percent", 0) > _MOST_OF_A_CANARY:
            self.add_error(
                "percent",
                _("A canary gets %(most)s %% at most; to give it all, activate it.")
                % {"most": _MOST_OF_A_CANARY},
            )
        return values


class EndForm(forms.Form):
    """Why a rollout is ended."""

    reason = forms.CharField(
        required=False,
        max_length=2000,
        label=gettext_lazy("Reason"),
        help_text=gettext_lazy("Kept with the rollout."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )


class GuardForm(forms.Form):
    """When a version is rolled back by itself."""

    is_on = forms.BooleanField(
        required=False,
        label=gettext_lazy("Roll back by itself"),
        widget=UnfoldBooleanWidget,
    )
    percent = forms.FloatField(
        label=gettext_lazy("Tolerated rise in percentage points"),
        min_value=1,
        max_value=100,
        help_text=gettext_lazy(
            "How far the share of answers below the low confidence, or of those that"
            " the version could not give, may rise after an activation."
        ),
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
    )
    least = forms.IntegerField(
        label=gettext_lazy("Least answers"),
        min_value=20,
        max_value=100_000,
        help_text=gettext_lazy(
            "Nothing is decided on fewer, before or after the activation."
        ),
        widget=UnfoldAdminIntegerFieldWidget,
    )


@admin.register(Rollout)
class RolloutAdmin(managed.WithMenu, ReadOnlyAdmin):
    """Versions in shadow and canaries, those of before too."""

    role_to_view = Role.MANAGER
    list_display = (
        "name",
        "project",
        "kind",
        "percent",
        "status",
        "requests",
        "agreement",
        "started",
        "started_by",
    )
    list_select_related = ("project", "version", "started_by")
    list_filter = (ProjectFilter, ("mode", ChoicesDropdownFilter))
    ordering = ("-id",)
    sortable_by = ()
    list_before_template = "registry/rollouts_before.html"

    @display(description=gettext_lazy("version"))
    def name(self, obj: Rollout) -> str:
        return f"v{obj.version.number}"

    @display(description=gettext_lazy("mode"))
    def kind(self, obj: Rollout) -> str:
        mode = Mode(obj.mode)
        return cells.badge(mode.label, "warn" if mode == Mode.CANARY else "info")

    @display(description=gettext_lazy("share"))
    def percent(self, obj: Rollout) -> SafeString:
        share = cells.percent(obj.share, digits=0 if obj.share >= 0.1 else 1)
        return format_html('<span class="tl-moment">{}</span>', share)

    @display(description=gettext_lazy("state"))
    def status(self, obj: Rollout) -> SafeString:
        if obj.ended_at is None:
            return cells.badge(_("Running"), "good")
        return cells.badge(_("Ended"))

    @display(description=gettext_lazy("compared"))
    def requests(self, obj: Rollout) -> Any:
        return obj.compared if obj.mode == Mode.SHADOW else cells.NOTHING

    @display(description=gettext_lazy("agreement"))
    def agreement(self, obj: Rollout) -> SafeString:
        return cells.bar(obj.agreed / obj.compared if obj.compared else None)

    @display(description=gettext_lazy("started"))
    def started(self, obj: Rollout) -> SafeString:
        return cells.moment(obj.started_at)

    def get_urls(self) -> list[URLPattern]:
        return [
            *managed.urls(
                self,
                ("start/<int:version_id>/", self.start_view, "start"),
                ("guard/<slug:slug>/", self.guard_view, "guard"),
                ("<int:pk>/live/", self.live_view, "live"),
                ("<int:pk>/end/", self.end_view, "end"),
            ),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Both versions side by side, and the newest disagreements."""
        rollout = self._rollout(request, object_id)
        context = self._context(request, rollout, title=str(rollout))
        return TemplateResponse(request, "registry/rollout.html", context)

    def live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The figures alone, while the rollout runs."""
        rollout = self._rollout(request, pk)
        context = self._context(request, rollout, title="")
        return TemplateResponse(request, "registry/rollout_live.html", context)

    def start_view(self, request: HttpRequest, version_id: int) -> HttpResponse:
        """Asks how, says what it means, and starts."""
        version = managed.version(request, version_id)
        form = StartForm(request.POST or None)
        if form.is_valid():
            try:
                rollout = running.start(
                    version,
                    mode=form.cleaned_data["mode"],
                    share=form.cleaned_data["percent"] / 100,
                    by=signed_in(request),
                )
            except (running.RolloutError, artifacts.ArtifactError) as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, _("%(rollout)s runs.") % {"rollout": rollout})
                return self._to_page(rollout)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Put %(version)s on live traffic") % {"version": version},
            "version": version,
            "form": form,
            "running": running.in_project(version.project),
        }
        return TemplateResponse(request, "registry/rollout_start.html", context)

    def end_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asks for a reason and ends."""
        rollout = self._rollout(request, pk)
        form = EndForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            reason = form.cleaned_data["reason"]
            if running.end(rollout, by=signed_in(request), reason=reason):
                messages.success(
                    request, _("%(rollout)s was ended.") % {"rollout": rollout}
                )
            else:
                messages.info(request, _("It had ended already."))
            return self._to_page(rollout)
        context = self._context(
            request, rollout, title=_("End %(rollout)s") % {"rollout": rollout}
        )
        context |= {
            "form": form,
            "version": rollout.version,
            "back_url": reverse("admin:registry_rollout_change", args=[rollout.pk]),
        }
        return TemplateResponse(request, "registry/rollout_end.html", context)

    def guard_view(self, request: HttpRequest, slug: str) -> HttpResponse:
        """A project's bounds."""
        project = managed.project(request, slug)
        now = guard.guard_of(project.pk)
        form = GuardForm(
            request.POST or None,
            initial={
                "is_on": now.is_on,
                "percent": round(100 * now.rise, 1),
                "least": now.least,
            },
        )
        if form.is_valid():
            guard.set_bounds(
                project,
                is_on=form.cleaned_data["is_on"],
                rise=form.cleaned_data["percent"] / 100,
                least=form.cleaned_data["least"],
            )
            messages.success(request, _("The guard of %s was changed.") % project)
            return HttpResponseRedirect(reverse("admin:registry_rollout_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Guard of %(project)s") % {"project": project},
            "form": form,
            "watched_hours": round(guard.WATCHED.total_seconds() / 3600),
        }
        return TemplateResponse(request, "registry/rollout_guard.html", context)

    def _rollout(self, request: HttpRequest, object_id: str | int) -> Rollout:
        rows = self.get_queryset(request).select_related(
            "project", "version", "baseline", "started_by", "ended_by"
        )
        rollout: Rollout | None = rows.filter(pk=object_id).first()
        if rollout is None:
            raise Http404
        if not self.has_view_permission(request, rollout):
            raise PermissionDenied
        return rollout

    def _context(
        self, request: HttpRequest, rollout: Rollout, *, title: str
    ) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": rollout,
            "title": title,
            "rollout": rollout,
            "project": rollout.project,
            "is_running": rollout.ended_at is None,
            "is_shadow": rollout.mode == Mode.SHADOW,
            "kind": self.kind(rollout),
            "status": self.status(rollout),
            "share": self.percent(rollout),
            "comparison": comparing.compare(rollout),
            "agreement": rollout.agreed / rollout.compared
            if rollout.compared
            else None,
            "newest": comparing.NEWEST,
        }

    @staticmethod
    def _to_page(rollout: Rollout) -> HttpResponseRedirect:
        return HttpResponseRedirect(
            reverse("admin:registry_rollout_change", args=[rollout.pk])
        )
