"""Admin page "Serving": what web processes serve and how they fare, as they say."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext
from unfold.decorators import display

from labeling.admin import cells
from labeling.admin.scoped import ReadOnlyAdmin, Role, project_ids
from labeling.models import Project
from registry.models import ServingProcess

LOST_AFTER = timedelta(seconds=10)
"""A process writes its row once a second."""


@admin.register(ServingProcess)
class ServingProcessAdmin(ReadOnlyAdmin):
    """Processes serve all projects; a person sees what they say of their own.

    Numbers are of the last minute and of the whole process.
    """

    role_to_view = Role.MANAGER
    list_display = (
        *("name", "status", "versions", "throughput", "latency"),
        *("memory", "trouble"),
    )
    fields = (
        ("name", "status"),
        "versions",
        ("throughput", "latency"),
        ("journal", "trouble"),
        ("memory", "started_at", "seen_at"),
    )
    ordering = ("host", "pid")
    list_before_template = "registry/serving_sums.html"
    change_form_outer_after_template = "registry/serving_stages.html"

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        self._name_projects(request, page.result_list)
        page.sums = _sums(page.result_list)
        return page

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        process = self.get_object(request, object_id)
        more = _details(process.stats) if process is not None else {}
        page: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **more}
        )
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
        if not _lives(obj):
            seconds = round((timezone.now() - obj.seen_at).total_seconds())
            ago = ngettext("%(n)s second ago", "%(n)s seconds ago", seconds)
            return format_html(
                '<div>{} <span class="tl-quiet">{}</span></div>',
                cells.badge(_("Gone")),
                ago % {"n": _number(seconds)},
            )
        if any(entry.get("error") for _name, entry in obj.__dict__.get("shown", ())):
            return cells.badge(_("Degraded"), "bad")
        return cells.badge(_("Alive"), "good")

    @display(description=gettext_lazy("serving"))
    def versions(self, obj: ServingProcess) -> SafeString:
        """One line a project: what is served, what else is loaded, what is wrong."""
        lines = [(_line(*one),) for one in obj.__dict__.get("shown", ())]
        shown = format_html_join("", "<div>{}</div>", lines)
        # One element: on a phone a cell's parts stand side by side otherwise.
        if not shown:
            return cells.NOTHING
        return format_html('<div class="tl-serving">{}</div>', shown)

    @display(description=gettext_lazy("texts/s"))
    def throughput(self, obj: ServingProcess) -> str:
        return _number(obj.stats.get("texts_per_s"), digits=1)

    @display(description=gettext_lazy("latency"))
    def latency(self, obj: ServingProcess) -> SafeString:
        return _latency(obj.stats.get("p50_ms"), obj.stats.get("p99_ms"))

    @display(description=gettext_lazy("journal"))
    def journal(self, obj: ServingProcess) -> SafeString:
        """Answers on local disk only: 0 or few, unless the database is away."""
        held = obj.stats.get("gauges", {})
        return format_html("{}", _number(held.get("journal_entries") or 0))

    @display(description=gettext_lazy("trouble"))
    def trouble(self, obj: ServingProcess) -> SafeString:
        """Errors, calls turned away, answers that wait for the database."""
        said = _troubles(obj.stats)
        shown = format_html_join(" ", "{}", ((one,) for one in said))
        return format_html("<div>{}</div>", shown) if said else cells.NOTHING

    @display(description=gettext_lazy("memory"))
    def memory(self, obj: ServingProcess) -> str:
        return _megabytes(obj.rss_mb)


def _lives(process: ServingProcess) -> bool:
    return timezone.now() - process.seen_at <= LOST_AFTER


def _line(project: str, entry: dict[str, Any]) -> SafeString:
    version = entry.get("version")
    serves = (
        _("version %(version)s") % {"version": version} if version else _("rules only")
    )
    others = [str(n) for n in entry.get("ready", ()) if str(n) != str(version)]
    said = [_("revision %(n)s") % {"n": entry.get("revision", 0)}]
    if others:
        said.append(_("also loaded: %(versions)s") % {"versions": ", ".join(others)})
    return format_html(
        '{} · <strong>{}</strong> <span class="tl-quiet">{}</span> {}',
        project,
        serves,
        " · ".join(said),
        format_html('<span class="tl-not-ok">{}</span>', entry.get("error", "")),
    )


def _troubles(stats: dict[str, Any]) -> list[SafeString]:
    found = []
    if n := stats.get("errors"):
        said = ngettext("%(n)s error", "%(n)s errors", n) % {"n": _number(n)}
        found.append(cells.badge(said, "bad"))
    if n := sum(stats.get("shed", {}).values()):
        said = ngettext("%(n)s turned away", "%(n)s turned away", n)
        found.append(cells.badge(said % {"n": _number(n)}, "warn"))
    if n := stats.get("degraded"):
        said = ngettext("%(n)s by rules alone", "%(n)s by rules alone", n)
        found.append(cells.badge(said % {"n": _number(n)}, "bad"))
    held = stats.get("gauges", {})
    if (oldest_s := held.get("journal_oldest_seconds") or 0) > LOST_AFTER.seconds:
        said = _("%(n)s on disk for %(s)s s") % {
            "n": _number(held.get("journal_entries")),
            "s": _number(oldest_s),
        }
        found.append(cells.badge(said, "warn"))
    return found


def _sums(processes: Iterable[ServingProcess]) -> list[tuple[Any, str]]:
    """What the living processes make together: [(figure, its name)]."""
    alive = [process for process in processes if _lives(process)]
    stats = [process.stats for process in alive]
    worst = [one["p99_ms"] for one in stats if one.get("p99_ms") is not None]
    waiting = sum(one.get("gauges", {}).get("journal_entries") or 0 for one in stats)
    machines = len({process.host for process in alive})
    return [
        (_number(len(alive)), ngettext("process", "processes", len(alive))),
        (_number(machines), ngettext("machine", "machines", machines)),
        (
            _number(sum(one.get("texts_per_s") or 0 for one in stats), digits=1),
            _("texts a second"),
        ),
        (_ms(max(worst, default=None)), _("99 % within, slowest process")),
        (_number(waiting), _("answers in local journals")),
        (_megabytes(sum(process.rss_mb or 0 for process in alive)), _("memory")),
        (_number(sum(one.get("errors") or 0 for one in stats)), _("errors")),
    ]


def _details(stats: dict[str, Any]) -> dict[str, Any]:
    """For the process's own page: its stages and how answers came about."""
    names = _stage_names()
    stages = stats.get("stages", {})
    answered = sum(stats.get("methods", {}).values())
    return {
        "stages": [
            (
                name,
                _number(stages[key]["n"]),
                _ms(stages[key]["p50_ms"]),
                _ms(stages[key]["p99_ms"]),
            )
            for key, name in names.items()
            if key in stages
        ],
        "methods": [
            (method, _number(n), cells.bar(n / answered))
            for method, n in sorted(
                stats.get("methods", {}).items(), key=lambda m: -m[1]
            )
        ],
        "facts": [
            (_("found in the answer cache"), cells.percent(stats.get("cache_hits"))),
            (_("texts a batch"), _number(stats.get("batch_mean"), digits=1)),
            (_("statuses"), _counts(stats.get("statuses", {}))),
            (_("turned away"), _counts(stats.get("shed", {}))),
            (_("language model"), _counts(stats.get("llm", {}))),
        ],
    }


def _stage_names() -> dict[str, str]:
    return {
        "request": _("whole call"),
        "gold": _("gold label"),
        "rules": pgettext("stage", "rules"),
        "tokenise": _("cutting into tokens"),
        "queue": _("waiting for the batch before"),
        "model": _("model, one batch"),
        "fuse": _("rules and model into one"),
        "llm": _("language model"),
        "journal": _("until it is on disk"),
        "drain": _("journal to database, one batch"),
    }


def _latency(p50_ms: float | None, p99_ms: float | None) -> SafeString:
    if p50_ms is None:
        return cells.NOTHING
    title = _("half of all calls, and 99 of 100, within")
    shown = f"{_number(p50_ms, digits=1)} / {_ms(p99_ms)}"
    return format_html('<span class="tl-moment" title="{}">{}</span>', title, shown)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{k} × {_number(n)}" for k, n in sorted(counts.items())) or "–"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{_number(value, digits=1)} ms"


def _megabytes(value: float | None) -> str:
    return f"{_number(value)} MB" if value else "–"


def _number(value: float | None, *, digits: int = 0) -> str:
    if value is None:
        return "–"
    # number_format cuts off instead of rounding
    return number_format(round(value, digits), digits, force_grouping=True)
