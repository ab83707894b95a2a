"""Admin pages of imports and exports: the list, the progress, the download."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest
from django.urls import URLPattern, reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from labeling import exchange, formats, transfers
from labeling.admin import cells, runs
from labeling.admin.scoped import ProjectFilter
from labeling.exchange.forms import ExportForm
from labeling.models import Intent, Transfer
from labeling.transfers import exporting

State = Transfer.State


@admin.register(Transfer)
class TransferAdmin(runs.RunAdmin):
    """Who brought in or took away which questions, and what came of it."""

    list_display = (
        "what",
        "project",
        "file_format",
        "status",
        "rows",
        "by",
        "at",
        "download_link",
    )
    list_filter = (
        ProjectFilter,
        ("kind", ChoicesDropdownFilter),
        ("state", ChoicesDropdownFilter),
    )
    list_before_template = "admin/labeling/transfer/list_before.html"
    page_template = "admin/labeling/transfer/page.html"
    live_template = "admin/labeling/transfer/live.html"

    def get_urls(self) -> list[URLPattern]:
        return [
            self.own_page("download", require_GET(self.download)),
            *super().get_urls(),
        ]

    # --- The list -----------------------------------------------------------------

    @display(description=_("file"))
    def what(self, obj: Transfer) -> SafeString:
        return format_html(
            '<span class="tl-quiet">{}</span> {}',
            obj.get_kind_display(),
            cells.long_text(obj.file_name, limit=60),
        )

    @display(description=_("format"))
    def file_format(self, obj: Transfer) -> str:
        return format_name(obj.format)

    @display(description=_("state"))
    def status(self, obj: Transfer) -> str:
        if obj.state == State.RUNNING:
            return format_html("{} {}", runs.badge(obj), cells.bar(_share(obj)))
        return runs.badge(obj)

    @display(description=_("rows"))
    def rows(self, obj: Transfer) -> str:
        count = (obj.report or {}).get("rows")
        if count is None:
            return cells.NOTHING
        return number_format(count, force_grouping=True)

    @display(description=_("download"))
    def download_link(self, obj: Transfer) -> str:
        if not _can_download(obj):
            return cells.NOTHING
        url = reverse("admin:labeling_transfer_download", args=[obj.pk])
        return format_html(
            '<a class="tl-link" href="{}">{}</a>', url, gettext("Download")
        )

    # --- One of them --------------------------------------------------------------

    def shown(self, run: Transfer) -> dict[str, Any]:
        return _shown(run)

    def end(self, run: Transfer, *, by: User) -> str:
        try:
            transfers.cancel(run, by=by)
        except transfers.WrongState as error:
            return str(error)
        return ""

    def download(self, request: HttpRequest, run_id: int) -> FileResponse:
        """The file of an export, for whoever manages its project."""
        transfer = self.run_of(request, run_id)
        if not _can_download(transfer):
            raise Http404
        try:
            file = default_storage.open(transfer.stored_as)
        except FileNotFoundError as error:
            raise Http404 from error
        return FileResponse(
            file,
            as_attachment=True,
            filename=transfer.file_name,
            content_type="application/octet-stream",
        )


def format_name(kind: str) -> str:
    """A format in words."""
    if kind == exporting.FULL:
        return gettext("JSONL with history")
    return formats.NAMES.get(kind, kind)


def _can_download(transfer: Transfer) -> bool:
    return (
        transfer.kind == Transfer.Kind.EXPORT
        and transfer.state == State.SUCCEEDED
        and bool(transfer.stored_as)
    )


def _share(transfer: Transfer) -> float | None:
    """From 0 to 1; None where nothing is known."""
    if transfer.state == State.SUCCEEDED:
        return 1.0
    return min(1.0, transfer.done / transfer.total) if transfer.total else None


def _shown(transfer: Transfer) -> dict[str, Any]:
    """What the page and its live part show. One query, one look at RQ at most."""
    report = transfer.report or {}
    elapsed = report.get("elapsed_s") or 0
    share = _share(transfer) or 0.0
    rows = report.get("rows") or 0
    is_import = transfer.kind == Transfer.Kind.IMPORT
    is_open = transfer.state in (State.QUEUED, State.RUNNING)
    shown: dict[str, Any] = {
        "transfer": transfer,
        "format_name": format_name(transfer.format),
        "status": runs.badge(transfer),
        "is_import": is_import,
        "is_open": is_open,
        "share": 100 * share,
        "rows": rows,
        "report": report,
        "per_s": round(rows / elapsed) if elapsed and rows else None,
        "took": duration(elapsed) if elapsed and not is_open else "",
        "left": "",
        "attempt": transfer.options.get("attempt", 1),
        "cancelled_by": transfer.options.get("cancelled_by", ""),
        "choices": _choices(transfer),
        "is_waiting": transfer.state == State.QUEUED,
        "can_download": _can_download(transfer),
        "kept_until": (
            transfer.finished_at + transfers.KEPT if transfer.finished_at else None
        ),
    }
    if is_open and 0 < share < 1 and elapsed:
        shown["left"] = duration(elapsed * (1 - share) / share)
    if transfer.state == State.QUEUED:
        shown["workers"] = transfers.workers()
    if is_import and "bad_lines" in report:
        shown |= exchange.report_tables(report)
    return shown


def _choices(transfer: Transfer) -> list[tuple[str, str]]:
    """What was chosen at the start, in the words of the form."""
    options, chosen = transfer.options, []
    for name, field in ExportForm.base_fields.items():
        value = options.get(name)
        if not value or name in ("format", "project"):
            continue
        if name == "intent":
            codes = Intent.objects.filter(pk=value).values_list("code", flat=True)
            shown = codes.first() or "–"
        else:
            shown = str(dict(getattr(field, "choices", ())).get(value, value))
        chosen.append((str(field.label), shown))
    if options.get("create_intents"):
        chosen.append((gettext("Create intents for unknown labels"), gettext("Yes")))
    return chosen


def duration(seconds: float) -> str:
    """Seconds as "12 s", "3 min" or "1 h 05 min"."""
    whole = round(seconds)
    if whole < 100:
        return gettext("%d s") % whole
    minutes = round(whole / 60)
    if minutes < 60:
        return gettext("%d min") % minutes
    return gettext("%(hours)d h %(minutes)02d min") % {
        "hours": minutes // 60,
        "minutes": minutes % 60,
    }
