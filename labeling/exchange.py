"""The admin's import and export of questions: django-import-export's pages over intake.

The pages, links and forms are the library's; the work is `intake.import_rows` and
`formats.write`, which stream: the library's own machinery would make a model instance
and a diff for each row. The admin class takes it as its first base:

    class QuestionAdmin(QuestionExchange, ReadOnlyAdmin): ...
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core import signing
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from import_export.admin import ImportExportMixin
from import_export.fields import Field
from import_export.formats.base_formats import Format
from import_export.resources import ModelResource
from unfold.contrib.import_export.forms import ExportForm, ImportForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldBooleanSwitchWidget

from labeling import access, formats
from labeling.intake import ImportReport, import_rows
from labeling.models import Membership, Project, Question

MAX_UPLOAD_MB = 20
"""Largest file that the page takes; larger ones go through `import_questions`."""

_FOLDER = "imports"
_CONFIRM_WITHIN = timedelta(hours=1)
_SHOWN_LINES = 20


class JsonLines(Format):
    """JSONL, as `formats` reads and writes it."""

    kind = "jsonl"
    content_type = "application/jsonl; charset=utf-8"
    mark = ""

    def get_title(self) -> str:
        return self.kind

    def get_extension(self) -> str:
        return self.kind

    def can_import(self) -> bool:
        return True

    def can_export(self) -> bool:
        return True


class Csv(JsonLines):
    """CSV, as `formats` reads and writes it."""

    kind = "csv"
    content_type = "text/csv; charset=utf-8"
    mark = "\ufeff"  # without it, spreadsheets take UTF-8 Chinese for something else


class QuestionResource(ModelResource):
    """Names the two columns on the library's pages."""

    label = Field(column_name="label")

    class Meta:
        model = Question
        fields = ("text", "label")


class QuestionImportForm(ImportForm):
    """The file, and the same choices that the command offers."""

    project = forms.ModelChoiceField(
        Project.objects.none(), label=gettext_lazy("Project")
    )
    encoding = forms.ChoiceField(
        label=gettext_lazy("Encoding"),
        choices=[(name, name.upper()) for name in formats.ENCODINGS],
    )
    split = forms.ChoiceField(
        label=gettext_lazy("Split of new questions"),
        required=False,
        choices=[("", gettext_lazy("By the text's hash")), *Question.Split.choices],
    )
    create_intents = forms.BooleanField(
        label=gettext_lazy("Create intents for unknown labels"), required=False
    )

    field_order = (
        *("resource", "project", "import_file", "format"),
        *("encoding", "split", "create_intents"),
    )

    def __init__(self, *args: Any, projects: QuerySet[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["project"].queryset = projects
        if len(projects) == 1:  # else a choice, so that nothing goes astray
            self.fields["project"].empty_label = None
        for name in ("project", "encoding", "split"):
            field = self.fields[name]
            field.widget = UnfoldAdminSelectWidget(choices=field.choices)
        self.fields["create_intents"].widget = UnfoldBooleanSwitchWidget()

    def clean_import_file(self) -> "UploadedFile[Any]":
        file: UploadedFile[Any] = self.cleaned_data["import_file"]
        if (file.size or 0) > MAX_UPLOAD_MB * 1024 * 1024:
            raise ValidationError(
                _(
                    "The file is larger than %(max)s MB; import it on the server with "
                    "“manage.py import_questions”."
                )
                % {"max": MAX_UPLOAD_MB}
            )
        return file


@dataclass(frozen=True, slots=True)
class _Upload:
    """An uploaded file that waits for its confirmation, and what to do with it."""

    stored_as: str
    name: str
    kind: str
    encoding: str
    project_id: int
    split: str
    create_intents: bool
    user_id: int

    @classmethod
    def keep(cls, form: QuestionImportForm, kind: str, user: User) -> "_Upload":
        """Stores the form's file and drops those that nobody has confirmed."""
        _drop_forgotten()
        values = form.cleaned_data
        file: UploadedFile[Any] = values["import_file"]
        return cls(
            stored_as=default_storage.save(f"{_FOLDER}/{uuid4().hex}", file),
            name=file.name or "",
            kind=kind,
            encoding=values["encoding"],
            project_id=values["project"].pk,
            split=values["split"],
            create_intents=values["create_intents"],
            user_id=user.pk,
        )

    @classmethod
    def confirmed(cls, token: str, user: User) -> "_Upload":
        """The upload that a confirmation means.

        Raises:
            BadSignature: The token is not ours, too old, or somebody else's.
        """
        values = signing.loads(token, salt=__name__, max_age=_CONFIRM_WITHIN)
        upload = cls(**values)
        if upload.user_id != user.pk:
            raise signing.BadSignature("another person's upload")
        return upload

    def token(self) -> str:
        """Carries the upload through the browser, where nobody can change it."""
        return signing.dumps(asdict(self), salt=__name__)

    def run(self, project: Project, *, by: User, dry_run: bool) -> ImportReport:
        """Imports the file, or says what an import would do.

        Raises:
            Unreadable: Nothing in the file can be read.
            FileNotFoundError: The file is gone.
        """
        with default_storage.open(self.stored_as) as file:
            return import_rows(
                project,
                formats.read(file, kind=self.kind, encoding=self.encoding),
                split=self.split or None,
                create_intents=self.create_intents,
                dry_run=dry_run,
                by=by,
            )

    def discard(self) -> None:
        """Deletes the file."""
        default_storage.delete(self.stored_as)


def _drop_forgotten() -> None:
    """Deletes uploads that can't be confirmed any more."""
    try:
        _folders, names = default_storage.listdir(_FOLDER)
    except FileNotFoundError:
        return
    for name in names:
        path = f"{_FOLDER}/{name}"
        age = timezone.now() - default_storage.get_modified_time(path)
        if age > 2 * _CONFIRM_WITHIN:
            default_storage.delete(path)


class QuestionExchange(ImportExportMixin):
    """Import and export pages for the questions' admin class; managers only."""

    import_formats = export_formats = (JsonLines, Csv)
    resource_classes = (QuestionResource,)
    import_form_class = QuestionImportForm
    export_form_class = ExportForm
    import_template_name = "admin/labeling/question/import.html"

    def has_import_permission(self, request: HttpRequest) -> bool:
        return _managed(request).exists()

    def has_export_permission(self, request: HttpRequest) -> bool:
        return _managed(request).exists()

    # --- Import -------------------------------------------------------------------

    def get_import_form_kwargs(self, request: HttpRequest) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_import_form_kwargs(request)
        chosen = request.GET.get("project", "")
        if chosen.isdecimal():
            kwargs["initial"] = {**kwargs["initial"], "project": int(chosen)}
        return {**kwargs, "projects": _managed(request)}

    def import_action(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """The form; after it, what an import of the file would do."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        form = self.create_import_form(request)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Import"),
            "opts": self.model._meta,
            "form": form,
            "media": self.media + form.media,
            "max_upload_mb": MAX_UPLOAD_MB,
        }
        if request.method == "POST" and form.is_valid():
            context.update(self._preview(request, form))
        request.current_app = self.admin_site.name
        return TemplateResponse(request, [self.import_template_name], context)

    def _preview(
        self, request: HttpRequest, form: QuestionImportForm
    ) -> dict[str, Any]:
        user = _signed_in(request)
        kind = self.import_formats[int(form.cleaned_data["format"])].kind
        upload = _Upload.keep(form, kind, user)
        try:
            report = upload.run(form.cleaned_data["project"], by=user, dry_run=True)
        except formats.Unreadable as error:
            upload.discard()
            form.add_error("import_file", str(error))
            return {}
        if not report.rows:
            upload.discard()
            form.add_error("import_file", _("Nothing in the file can be imported."))
        return {
            "report": report,
            "file_name": upload.name,
            "project": form.cleaned_data["project"],
            "token": upload.token() if report.rows else "",
            "counts": _table(
                (_("Rows"), report.rows),
                (_("New questions"), report.created),
                (_("Already there"), report.existing),
                (_("Newly labelled"), report.labelled),
                (_("Conflicts"), report.conflicts),
                (_("Bad lines"), report.bad),
                (_("New intents"), ", ".join(report.new_intents) or "-"),
            ),
            "bad_lines": _table(
                *report.bad_lines[:_SHOWN_LINES], headers=[_("Line"), _("Reason")]
            ),
            "more_bad": max(0, report.bad - _SHOWN_LINES),
            "more_conflicts": max(0, report.conflicts - _SHOWN_LINES),
            "conflict_lines": _table(
                *(
                    (line, ", ".join(given), ", ".join(kept))
                    for line, given, kept in report.conflict_lines[:_SHOWN_LINES]
                ),
                headers=[_("Line"), _("In the file"), _("Kept")],
            ),
        }

    @method_decorator(require_POST)
    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """The import itself, after the confirmation."""
        user = _signed_in(request)
        try:
            upload = _Upload.confirmed(request.POST.get("upload", ""), user)
            project = get_object_or_404(_managed(request), pk=upload.project_id)
            report = upload.run(project, by=user, dry_run=False)
        except (signing.BadSignature, FileNotFoundError):
            messages.error(
                request, _("The upload is no longer there; choose the file again.")
            )
            return redirect(reverse("admin:labeling_question_import"))
        upload.discard()
        said = " ".join(report.summary(shown=0))
        LogEntry.objects.log_actions(
            user_id=user.pk,
            queryset=[project],
            action_flag=CHANGE,
            change_message=f"{upload.name}: {said}",
            single_object=True,
        )
        messages.success(request, said)
        return redirect(
            reverse("admin:labeling_question_changelist") + f"?project={project.pk}"
        )

    # --- Export -------------------------------------------------------------------

    def get_export_queryset(self, request: HttpRequest) -> QuerySet[Question]:
        """The list's filters, narrowed to the projects that the person manages."""
        questions: QuerySet[Question] = super().get_export_queryset(request)
        return questions.filter(project__in=_managed(request))

    def _do_file_export(
        self,
        file_format: JsonLines,
        request: HttpRequest,
        queryset: Any,
        export_form: Any = None,
    ) -> StreamingHttpResponse:
        many = queryset.filter(project__is_multi_intent=True).exists()
        rows = queryset.order_by("id").rows()

        def pieces() -> Iterator[str]:
            yield file_format.mark
            yield from formats.write(rows, kind=file_format.kind, many=many)

        name = self.get_export_filename(request, queryset, file_format)
        return StreamingHttpResponse(
            pieces(),
            content_type=file_format.content_type,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


def _managed(request: HttpRequest) -> QuerySet[Project]:
    return access.projects_for(request.user, role=Membership.Role.MANAGER)


def _signed_in(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def _table(*rows: tuple[Any, ...], headers: list[str] | None = None) -> dict[str, Any]:
    return {"headers": headers or [], "rows": [list(row) for row in rows]}
