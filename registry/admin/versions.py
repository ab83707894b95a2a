"""Admin pages of versions: what each was measured at, activate it, roll back."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from labeling.admin import cells
from labeling.admin.scoped import ProjectFilter, ReadOnlyAdmin, Role, signed_in
from registry import artifacts, versions
from registry.admin import evaluation
from registry.models import Activation, Evaluation, Version
from registry.rollout import alarms

_STATE_KIND = {
    Version.State.CANDIDATE: "info",
    Version.State.ACTIVE: "good",
    Version.State.RETIRED: "",
}
_GATE_KIND = {
    Version.Gate.PENDING: "",
    Version.Gate.PASSED: "good",
    Version.Gate.REFUSED: "bad",
}


class SwitchForm(forms.Form):
    """Why a version is activated or rolled back, and whether against the gate."""

    reason = forms.CharField(
        required=False,
        max_length=2000,
        label=gettext_lazy("Reason"),
        help_text=gettext_lazy("Kept in the audit."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    force = forms.BooleanField(
        required=False,
        label=gettext_lazy("Activate against the gate"),
        help_text=gettext_lazy("Needs a reason; the audit says that it was forced."),
        widget=UnfoldBooleanWidget,
    )

    def __init__(self, *args: Any, may_force: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not may_force:
            del self.fields["force"]


@admin.register(Version)
class VersionAdmin(ReadOnlyAdmin):
    """All versions of a project; the newest measurement of each in the list."""

    role_to_view = Role.MANAGER
    list_display = (
        "name",
        "project",
        "status",
        "verdict",
        "accuracy",
        "macro_f1",
        "base",
        "created_at",
    )
    list_select_related = ("project",)
    list_filter = (
        ProjectFilter,
        ("state", ChoicesDropdownFilter),
        ("gate", ChoicesDropdownFilter),
    )
    ordering = ("-id",)
    sortable_by = ()
    list_before_template = "registry/versions_before.html"

    def get_queryset(self, request: HttpRequest) -> Any:
        return evaluation.with_latest(super().get_queryset(request))

    @display(description=gettext_lazy("version"))
    def name(self, obj: Version) -> str:
        return f"v{obj.number}"

    @display(description=gettext_lazy("state"))
    def status(self, obj: Version) -> str:
        state = Version.State(obj.state)
        return cells.badge(state.label, _STATE_KIND[state])

    @display(description=gettext_lazy("gate"))
    def verdict(self, obj: Version) -> str:
        gate = Version.Gate(obj.gate)
        return cells.badge(gate.label, _GATE_KIND[gate])

    @display(description=gettext_lazy("accuracy"))
    def accuracy(self, obj: Any) -> str:
        return cells.bar(obj.accuracy)

    @display(description=gettext_lazy("macro-F1"))
    def macro_f1(self, obj: Any) -> str:
        return cells.percent(obj.macro_f1, digits=1)

    @display(description=gettext_lazy("base model"))
    def base(self, obj: Version) -> str:
        return str(obj.provenance.get("base", "–"))

    def get_urls(self) -> list[URLPattern]:
        views = (("activate", self.activate_view), ("roll-back", self.roll_back_view))
        urls: list[URLPattern] = super().get_urls()
        mine = [
            path(
                f"<int:pk>/{name}/",
                self.admin_site.admin_view(view),
                name=f"registry_version_{name.replace('-', '_')}",
            )
            for name, view in views
        ]
        return mine + urls

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The version's page: verdict, measurements, origin, and its two buttons."""
        version = self._version(request, object_id)
        context = self._context(request, version, title=str(version))
        context |= {
            "reasons": version.gate_reasons,
            "evaluations": [
                evaluation.Shown(one) for one in version.evaluations.all()[:10]
            ],
            "provenance": evaluation.provenance(version),
            "card": evaluation.card(version),
            "activations": version.activations.select_related(
                "by", "previous"
            ).prefetch_related("alarms_behind")[:20],
            "manifest": sorted(version.manifest.items()),
        }
        return TemplateResponse(request, "registry/version.html", context)

    def activate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asks for a reason, then activates."""
        version = self._version(request, pk, role=self.role_to_write)
        form = SwitchForm(
            request.POST if request.method == "POST" else None,
            may_force=version.gate != Version.Gate.PASSED,
        )
        if form.is_valid():
            try:
                versions.activate(
                    version,
                    by=signed_in(request),
                    reason=form.cleaned_data["reason"],
                    force=form.cleaned_data.get("force", False),
                )
            except (versions.VersionError, artifacts.ArtifactError) as error:
                form.add_error(None, str(error))
            else:
                messages.success(
                    request, _("%(version)s serves now.") % {"version": version}
                )
                return self._to_page(version)
        context = self._context(
            request, version, title=_("Activate %(version)s") % {"version": version}
        )
        context |= {"form": form, "now": versions.active(version.project)}
        return TemplateResponse(request, "registry/activate.html", context)

    def roll_back_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asks for a reason, then makes the version before serve again."""
        version = self._version(request, pk, role=self.role_to_write)
        form = SwitchForm(
            request.POST if request.method == "POST" else None, may_force=False
        )
        if form.is_valid():
            try:
                done = versions.roll_back(
                    version.project,
                    by=signed_in(request),
                    reason=form.cleaned_data["reason"],
                )
            except (versions.VersionError, artifacts.ArtifactError) as error:
                form.add_error(None, str(error))
            else:
                messages.success(
                    request,
                    _("Rolled back: %(version)s serves now.")
                    % {"version": done.version},
                )
                return self._to_page(done.version)
        context = self._context(
            request,
            version,
            title=_("Roll back %(project)s") % {"project": version.project},
        )
        context |= {"form": form, "now": versions.active(version.project)}
        return TemplateResponse(request, "registry/roll_back.html", context)

    def _version(
        self, request: HttpRequest, object_id: str | int, *, role: str = ""
    ) -> Version:
        """The version, or 404 / 403; a foreign project's version does not exist."""
        version: Version | None = self.get_object(request, str(object_id))
        if version is None:
            raise Http404
        if not self.has_role(request, role or self.role_to_view, version):
            raise PermissionDenied
        return version

    def _context(
        self, request: HttpRequest, version: Version, *, title: str
    ) -> dict[str, Any]:
        is_active = version.state == Version.State.ACTIVE
        may_switch = self.has_role(request, self.role_to_write, version)
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": version,
            "object_id": version.pk,
            "version": version,
            "status": self.status(version),
            "verdict": self.verdict(version),
            "title": title,
            "may_activate": may_switch and not is_active,
            "may_roll_back": may_switch and is_active,
        }

    @staticmethod
    def _to_page(version: Version) -> HttpResponseRedirect:
        return HttpResponseRedirect(
            reverse("admin:registry_version_change", args=[version.pk])
        )


@admin.register(Evaluation)
class EvaluationAdmin(ReadOnlyAdmin):
    """What versions were measured at, on test questions and on files."""

    project_path = "version__project"
    role_to_view = Role.MANAGER
    list_display = ("version", "kind", "source", "n", "share", "f1", "created_at")
    list_select_related = ("version__project",)
    list_filter = (ProjectFilter, ("kind", ChoicesDropdownFilter))
    ordering = ("-id",)
    sortable_by = ()

    @display(description=gettext_lazy("accuracy"))
    def share(self, obj: Evaluation) -> str:
        return cells.bar(obj.accuracy)

    @display(description=gettext_lazy("macro-F1"))
    def f1(self, obj: Evaluation) -> str:
        return cells.percent(obj.macro_f1, digits=1)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Leads to the evaluation's own page."""
        one = self.get_object(request, object_id)
        if one is None:
            raise Http404
        if not self.has_view_permission(request, one):
            raise PermissionDenied
        return HttpResponseRedirect(reverse("training:evaluation", args=[one.pk]))


@admin.register(Activation)
class ActivationAdmin(ReadOnlyAdmin):
    """The audit: who made which version serve, when and why."""

    role_to_view = Role.MANAGER
    list_display = (
        "created_at",
        "project",
        "what",
        "to_version",
        "from_version",
        "by",
        "why",
    )
    list_select_related = ("project", "version", "previous", "by")
    list_filter = (ProjectFilter, ("kind", ChoicesDropdownFilter), "forced")
    ordering = ("-id",)
    sortable_by = ()

    @display(description=gettext_lazy("kind"))
    def what(self, obj: Activation) -> str:
        if obj.forced:
            return cells.badge(_("Forced"), "bad")
        if obj.is_automatic:
            return cells.badge(_("Rolled back by itself"), "bad")
        is_forward = obj.kind == Activation.Kind.ACTIVATE
        return cells.badge(obj.get_kind_display(), "good" if is_forward else "warn")

    @display(description=gettext_lazy("to"))
    def to_version(self, obj: Activation) -> str:
        return f"v{obj.version.number}"

    @display(description=gettext_lazy("from"))
    def from_version(self, obj: Activation) -> str:
        return f"v{obj.previous.number}" if obj.previous else "–"

    @display(description=gettext_lazy("reason"))
    def why(self, obj: Activation) -> str:
        return alarms.reason(obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Activation]:
        rows: QuerySet[Activation] = super().get_queryset(request)
        return rows.prefetch_related("alarms_behind")
