"""The admin's import and export pages of questions, over `labeling.transfers`.

The links and addresses are django-import-export's; its machinery, which makes a model
instance and a diff for each row, is not used. The admin class takes it as first base:

    class QuestionAdmin(QuestionExchange, ReadOnlyAdmin): ...
"""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST
from import_export.admin import ImportExportMixin

from labeling import access, formats, transfers
from labeling.exchange.forms import ExportForm, ImportForm
from labeling.exchange.uploads import PREVIEW_ROWS, Upload
from labeling.models import Membership, Project

SHOWN_LINES = 20
"""Bad lines and conflicts that a page spells out."""


class QuestionExchange(ImportExportMixin):
    """Import and export pages for the questions' admin class; managers only."""

    def has_import_permission(self, request: HttpRequest) -> bool:
        return _managed(request).exists()

    def has_export_permission(self, request: HttpRequest) -> bool:
        return _managed(request).exists()

    # --- Import -------------------------------------------------------------------

    def import_action(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """The form; after it, what an import of the file would do."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        form = ImportForm(
            request.POST or None,
            request.FILES or None,
            projects=_managed(request),
            initial=_chosen(request),
        )
        context = {"form": form, "max_upload_mb": settings.LABELING_MAX_UPLOAD_MB}
        if request.method == "POST" and form.is_valid():
            context.update(_preview(_signed_in(request), form))
        return self._page(request, "import", _("Import"), context)

    @method_decorator(require_POST)
    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Queues the import, after the confirmation."""
        user = _signed_in(request)
        try:
            upload = Upload.confirmed(request.POST.get("upload", ""), user)
            project = get_object_or_404(_managed(request), pk=upload.project_id)
            transfer = upload.start(project, by=user)
        except (signing.BadSignature, FileNotFoundError):
            messages.error(
                request, _("The upload is no longer there; choose the file again.")
            )
            return redirect(reverse("admin:labeling_question_import"))
        return redirect("admin:labeling_transfer_change", transfer.pk)

    # --- Export -------------------------------------------------------------------

    def export_action(self, request: HttpRequest) -> HttpResponse:
        """The form, filled as the list was filtered; then the export is queued."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        form = ExportForm(
            request.POST or None,
            projects=_managed(request),
            initial={**_chosen(request), **_filtered(request)},
        )
        if request.method == "POST" and form.is_valid():
            transfer = transfers.start_export(
                form.cleaned_data["project"],
                format=form.kind(),
                options=form.selection().as_options(),
                by=_signed_in(request),
            )
            return redirect("admin:labeling_transfer_change", transfer.pk)
        context = {"form": form, "kept_days": transfers.KEPT.days}
        return self._page(request, "export", _("Export"), context)

    def _page(
        self, request: HttpRequest, name: str, title: str, context: dict[str, Any]
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            f"admin/labeling/question/{name}.html",
            {
                **self.admin_site.each_context(request),
                "title": title,
                "opts": self.model._meta,
                "media": self.media + context["form"].media,
                **context,
            },
        )


def report_tables(report: dict[str, Any]) -> dict[str, Any]:
    """An import's report as a page shows it.

    Args:
        report: The fields of an `ImportReport`, as a transfer keeps them.
    """
    counts = [
        (_("rows"), report["rows"]),
        (_("new questions"), report["created"]),
        (_("already there"), report["rows"] - report["created"]),
        (_("newly labelled"), report["labelled"]),
        (_("conflicts"), report["conflicts"]),
        (_("bad lines"), report["bad"]),
    ]
    return {
        "counts": [(name, number_format(n, force_grouping=True)) for name, n in counts],
        "new_intents": _few(report["new_intents"]),
        "bad_lines": report["bad_lines"][:SHOWN_LINES],
        "more_bad": max(0, report["bad"] - SHOWN_LINES),
        "more_conflicts": max(0, report["conflicts"] - SHOWN_LINES),
        "conflict_lines": [
            (line, ", ".join(given), ", ".join(kept))
            for line, given, kept in report["conflict_lines"][:SHOWN_LINES]
        ],
    }


def _preview(user: User, form: ImportForm) -> dict[str, Any]:
    values = form.cleaned_data
    upload = Upload.keep(values, user)
    try:
        preview = upload.preview(values["project"])
    except formats.Unreadable as error:
        upload.discard()
        form.add_error("import_file", str(error))
        return {}
    report = preview.report
    if not report.rows:
        upload.discard()
        form.add_error("import_file", _("Nothing in the file can be imported."))
    return {
        "report": report,
        "file_name": upload.name,
        "kind": formats.NAMES[upload.kind],
        "project": values["project"],
        "token": upload.token() if report.rows else "",
        "partial": PREVIEW_ROWS if preview.is_partial else 0,
        **report_tables(transfers.as_json(report)),
    }


def _chosen(request: HttpRequest) -> dict[str, Any]:
    """The project that the list was narrowed to."""
    chosen = request.GET.get("project", "")
    return {"project": int(chosen)} if chosen.isdecimal() else {}


def _filtered(request: HttpRequest) -> dict[str, Any]:
    """The list's filters by the form's names."""
    names = {"state__exact": "state", "split__exact": "split"}
    names |= {"origin__exact": "origin", "intent": "intent", "q": "text"}
    names |= {name: name for name in ("confidence", "learned", "duplicates")}
    return {
        field: request.GET[name] for name, field in names.items() if name in request.GET
    }


def _managed(request: HttpRequest) -> QuerySet[Project]:
    return access.projects_for(request.user, role=Membership.Role.MANAGER)


def _signed_in(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def _few(codes: list[str], shown: int = 20) -> str:
    return ", ".join(codes[:shown]) + (" …" if len(codes) > shown else "")
