"""Admin pages of thresholds and weights: preview a change, make it, undo it."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextareaWidget

from labeling.admin import cells
from labeling.admin.scoped import ProjectFilter, ReadOnlyAdmin, Role, signed_in
from labeling.models import Project
from registry.admin import managed
from registry.models import Tuning
from registry.rollout import tuning
from registry.rollout.tuning import SETTINGS, Log, Preview


class TuneForm(forms.Form):
    """The values that decide; each 0 to 1."""

    reason = forms.CharField(
        required=False,
        max_length=2000,
        label=gettext_lazy("Reason"),
        help_text=gettext_lazy("Kept with the change."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )
    field_order = (*SETTINGS, "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in SETTINGS:
            self.fields[name] = forms.FloatField(
                label=_label(name),
                help_text=_field(name).help_text,
                min_value=0,
                max_value=1,
                widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
            )
            # What the person saw in force, so that nobody overwrites what is newer.
            self.fields[f"seen_{name}"] = forms.FloatField(widget=forms.HiddenInput)
        self.order_fields(self.field_order)

    def values(self) -> dict[str, float]:
        """What is wanted."""
        return {name: self.cleaned_data[name] for name in SETTINGS}

    def seen(self) -> dict[str, float]:
        """What was in force when the page was opened."""
        return {name: self.cleaned_data[f"seen_{name}"] for name in SETTINGS}


@admin.register(Tuning)
class TuningAdmin(managed.WithMenu, ReadOnlyAdmin):
    """Every change of thresholds and weights that was made on these pages."""

    role_to_view = Role.MANAGER
    list_display = ("name", "project", "changes", "effect", "by", "reason", "at")
    list_select_related = ("project", "by", "undoes", "undone_by")
    list_filter = (ProjectFilter,)
    ordering = ("-id",)
    sortable_by = ()
    list_before_template = "registry/rollout_tunings_before.html"

    @display(description=gettext_lazy("change"))
    def name(self, obj: Tuning) -> str:
        return f"#{obj.number}"

    @display(description=gettext_lazy("values"))
    def changes(self, obj: Tuning) -> SafeString:
        lines = (f"{_label(name)}: {a:g} → {b:g}" for name, a, b in _changes(obj))
        return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in lines))

    @display(description=gettext_lazy("answers changed in the preview"))
    def effect(self, obj: Tuning) -> Any:
        if obj.undoes is not None:
            undone = _("Undoes #%(n)d") % {"n": obj.undoes.number}
            return cells.badge(undone, "warn")
        if not obj.preview.get("n"):
            return cells.NOTHING
        return cells.percent(obj.preview["changed"] / obj.preview["n"], digits=1)

    @display(description=gettext_lazy("at"))
    def at(self, obj: Tuning) -> SafeString:
        return cells.moment(obj.created_at)

    def get_urls(self) -> list[URLPattern]:
        return [
            *managed.urls(
                self,
                ("of/<slug:slug>/", self.tune_view, "tune"),
                ("<int:pk>/undo/", self.undo_view, "undo"),
            ),
            *super().get_urls(),
        ]

    def tune_view(self, request: HttpRequest, slug: str) -> HttpResponse:
        """Values, what they would do to logged answers, and the way into force."""
        project = managed.project(request, slug)
        now = tuning.current(project)
        log = Log(project)
        preview: Preview | None = None
        if request.method == "POST":
            form = TuneForm(request.POST)
            if form.is_valid():
                preview = log.preview(form.values())
                if "apply" in request.POST:
                    response = self._apply(request, project, form, preview)
                    if response is not None:
                        return response
        else:
            proposed = log.propose() if "propose" in request.GET else None
            if "propose" in request.GET and proposed is None:
                messages.info(request, _proposes_nothing(log))
            values = proposed or now
            seen = {f"seen_{name}": value for name, value in now.items()}
            form = TuneForm(initial={**values, **seen})
            preview = log.preview(values) if proposed else None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Thresholds and weights of %(project)s") % {"project": project},
            "project": project,
            "form": form,
            "n": len(log.answers),
            "preview": preview,
            "rows": _rows(preview) if preview else [],
        }
        return TemplateResponse(request, "registry/rollout_tune.html", context)

    def _apply(
        self, request: HttpRequest, project: Project, form: TuneForm, preview: Preview
    ) -> HttpResponse | None:
        try:
            done = tuning.apply(
                project,
                form.values(),
                expected=form.seen(),
                by=signed_in(request),
                reason=form.cleaned_data["reason"],
                preview=preview,
            )
        except tuning.TuningError as error:
            form.add_error(None, str(error))
            return None
        messages.success(
            request,
            _("Change #%(n)d is in force in all processes within a second.")
            % {"n": done.number},
        )
        return self._to_page(done)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """What was changed, by whom, and the way back."""
        done = self._tuning(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": done,
            "title": str(done),
            "tuning": done,
            "changes": [(_label(name), a, b) for name, a, b in _changes(done)],
            "undone_by": getattr(done, "undone_by", None),
        }
        return TemplateResponse(request, "registry/rollout_tuning.html", context)

    def undo_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Puts back what the change changed; the change's page asks before."""
        done = self._tuning(request, pk)
        if request.method != "POST":
            return self._to_page(done)
        try:
            undone = tuning.undo(done, by=signed_in(request))
        except tuning.TuningError as error:
            messages.error(request, str(error))
            return self._to_page(done)
        messages.success(
            request, _("Undone: the values of before are in force within a second.")
        )
        return self._to_page(undone)

    def _tuning(self, request: HttpRequest, object_id: str | int) -> Tuning:
        rows = self.get_queryset(request).select_related(
            "project", "by", "undoes", "undone_by"
        )
        found: Tuning | None = rows.filter(pk=object_id).first()
        if found is None:
            raise Http404
        if not self.has_view_permission(request, found):
            raise PermissionDenied
        return found

    @staticmethod
    def _to_page(done: Tuning) -> HttpResponseRedirect:
        return HttpResponseRedirect(
            reverse("admin:registry_tuning_change", args=[done.pk])
        )


def _changes(done: Tuning) -> list[tuple[str, float, float]]:
    return [
        (name, done.before[name], done.after[name])
        for name in SETTINGS
        if done.before[name] != done.after[name]
    ]


def _label(name: str) -> str:
    return str(_field(name).verbose_name).capitalize()


def _field(name: str) -> Any:
    return Project._meta.get_field(name)


def _proposes_nothing(log: Log) -> str:
    labelled = sum(one.wanted is not None for one in log.answers)
    if labelled < tuning.LEAST_LABELLED:
        return _(
            "Nothing can be proposed: %(n)d logged answers have a label that the"
            " version has not learned; %(needed)d are needed."
        ) % {"n": labelled, "needed": tuning.LEAST_LABELLED}
    return _("No other weights or threshold would make more of the answers right.")


def _rows(preview: Preview) -> list[tuple[str, str, str]]:
    """(what, now, with the change)."""
    n, labelled = preview.n, preview.labelled

    def shares(before: int, after: int, of: int) -> tuple[str, str]:
        one, two = (
            cells.percent(x / of, digits=1) if of else "–" for x in (before, after)
        )
        return one, two

    old, new = preview.before, preview.after
    right = (
        _("Right, of %(n)s labelled") % {"n": labelled},
        *shares(old.right, new.right, labelled),
    )
    return [
        *([right] if labelled else []),
        (_("Low confidence"), *shares(old.low, new.low, n)),
        (_("Not sure enough of any intent"), *shares(old.fallback, new.fallback, n)),
    ]
