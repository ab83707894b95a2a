"""Admin pages of replays: start one, watch it, look at each answer that would flip."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import F, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display
from unfold.widgets import UnfoldAdminRadioSelectWidget

from labeling import background
from labeling.admin import cells
from labeling.admin.scoped import ProjectFilter, ReadOnlyAdmin, Role, signed_in
from registry.admin import managed
from registry.models import Flip, Replay
from registry.rollout import replaying

State = Replay.State
_KIND = {
    State.QUEUED: "",
    State.RUNNING: "info",
    State.DONE: "good",
    State.FAILED: "bad",
}
_EACH = 50

_RIGHT_BEFORE, _RIGHT_AFTER = Q(wanted=F("before")), Q(wanted=F("after"))
SHOWS: dict[str, tuple[Any, Q]] = {
    "all": (gettext_lazy("All"), Q()),
    "better": (gettext_lazy("Wrong, then right"), _RIGHT_AFTER),
    "worse": (gettext_lazy("Right, then wrong"), _RIGHT_BEFORE),
    "unlabelled": (gettext_lazy("Not labelled"), Q(wanted__isnull=True)),
}


class StartForm(forms.Form):
    """How far back a replay goes."""

    requests = forms.TypedChoiceField(
        label=gettext_lazy("Requests of the log, the newest"),
        coerce=int,
        initial=replaying.SIZES[1],
        widget=UnfoldAdminRadioSelectWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["requests"]
        field.choices = [(size, _grouped(size)) for size in replaying.SIZES]


@admin.register(Replay)
class ReplayAdmin(ReadOnlyAdmin):
    """Challengers over logged traffic."""

    role_to_view = Role.MANAGER
    list_display = ("name", "project", "status", "texts", "flips", "by", "at")
    list_select_related = ("project", "version", "by")
    list_filter = (ProjectFilter,)
    ordering = ("-id",)
    sortable_by = ()
    list_before_template = "registry/rollout_replays_before.html"

    @display(description=gettext_lazy("version"))
    def name(self, obj: Replay) -> str:
        return f"v{obj.version.number}"

    @display(description=gettext_lazy("state"))
    def status(self, obj: Replay) -> SafeString:
        state = State(obj.state)
        return cells.badge(state.label, _KIND[state])

    @display(description=gettext_lazy("changed"))
    def flips(self, obj: Replay) -> Any:
        return obj.flipped if obj.state == State.DONE else cells.NOTHING

    @display(description=gettext_lazy("asked for"))
    def at(self, obj: Replay) -> SafeString:
        return cells.moment(obj.created_at)

    def get_urls(self) -> list[URLPattern]:
        return [
            *managed.urls(
                self,
                ("start/<int:version_id>/", self.start_view, "start"),
                ("<int:pk>/live/", self.live_view, "live"),
            ),
            *super().get_urls(),
        ]

    def start_view(self, request: HttpRequest, version_id: int) -> HttpResponse:
        """Asks how far back, and puts it on the queue."""
        version = managed.version(request, version_id)
        form = StartForm(request.POST or None)
        if form.is_valid():
            try:
                replay = replaying.request(
                    version,
                    requests=form.cleaned_data["requests"],
                    by=signed_in(request),
                )
            except replaying.ReplayError as error:
                form.add_error(None, str(error))
            else:
                return HttpResponseRedirect(
                    reverse("admin:registry_replay_change", args=[replay.pk])
                )
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Replay %(version)s") % {"version": version},
            "version": version,
            "form": form,
        }
        return TemplateResponse(request, "registry/rollout_replay_start.html", context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The progress, then the figures of both sides and the flips."""
        replay = self._replay(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": replay,
            "title": _("Replay of %(version)s") % {"version": replay.version},
            "status": self.status(replay),
            **self._live(replay),
            **_flips(request, replay),
        }
        return TemplateResponse(request, "registry/rollout_replay.html", context)

    def live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The progress alone; the whole page again once it has ended."""
        context = self._live(self._replay(request, pk))
        response = TemplateResponse(
            request, "registry/rollout_replay_live.html", context
        )
        if not context["is_open"]:
            response["HX-Refresh"] = "true"
        return response

    def _live(self, replay: Replay) -> dict[str, Any]:
        is_waiting = replay.state == State.QUEUED
        return {
            "replay": replay,
            "is_open": replay.state in (State.QUEUED, State.RUNNING),
            "is_waiting": is_waiting,
            "workers": background.workers() if is_waiting else None,
            "percent": round(100 * replay.done / replay.texts) if replay.texts else 0,
        }

    def _replay(self, request: HttpRequest, object_id: str | int) -> Replay:
        rows = self.get_queryset(request).select_related(
            "project", "version", "baseline", "by"
        )
        replay: Replay | None = rows.filter(pk=object_id).first()
        if replay is None:
            raise Http404
        if not self.has_view_permission(request, replay):
            raise PermissionDenied
        return replay


def _flips(request: HttpRequest, replay: Replay) -> dict[str, Any]:
    """A page of the flips, and the figures; four counts over the replay's index."""
    if replay.state != State.DONE:
        return {}
    wanted = request.GET.get("show", "all")
    wanted = wanted if wanted in SHOWS else "all"
    rows: QuerySet[Flip] = replay.flips.filter(SHOWS[wanted][1])
    page = Paginator(rows, _EACH).get_page(request.GET.get("page"))
    return {
        "shows": [
            (word, replay.flips.filter(which).count(), f"?show={name}", name == wanted)
            for name, (word, which) in SHOWS.items()
        ],
        "page": page,
        "previous": _address(wanted, page.number - 1) if page.has_previous() else "",
        "next": _address(wanted, page.number + 1) if page.has_next() else "",
        "figures": _figures(replay.figures),
    }


def _grouped(n: int) -> str:
    return number_format(n, use_l10n=True, force_grouping=True)


def _address(show: str, page: int) -> str:
    return f"?{urlencode({'show': show, 'page': page})}"


def _figures(counted: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what, with the active version, with the challenger), by request."""
    requests, labelled = counted.get("requests", 0), counted.get("labelled", 0)

    def share(name: str, of: int) -> tuple[str, str]:
        sides = (counted.get(f"{name}_{side}", 0) for side in ("before", "after"))
        before, after = (cells.percent(n / of, digits=1) if of else "–" for n in sides)
        return before, after

    before, after = (f"{counted.get(f'ms_{s}', 0):.1f} ms" for s in ("before", "after"))
    return [
        (
            _("Right, of %(n)s labelled") % {"n": _grouped(labelled)},
            *share("right", labelled),
        ),
        (_("Low confidence"), *share("low", requests)),
        (_("Not sure enough of any intent"), *share("fallback", requests)),
        (_("Time a question, in batches"), before, after),
    ]
