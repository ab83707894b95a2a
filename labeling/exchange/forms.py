"""The forms of the import and export pages: the same choices as the commands'."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from labeling import formats
from labeling.models import Intent, Project, Question
from labeling.transfers import exporting

_ANY = ("", gettext_lazy("All"))


class _ProjectForm(forms.Form):
    """Begins with a project out of those that the person manages."""

    project = forms.ModelChoiceField(
        Project.objects.none(), label=gettext_lazy("Project")
    )

    def __init__(self, *args: Any, projects: QuerySet[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["project"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = projects
        if len(projects) == 1:  # else a choice, so that nothing goes astray
            field.empty_label = None
        for one in self.fields.values():
            if isinstance(one, forms.ChoiceField):
                one.widget = UnfoldAdminSelectWidget(choices=one.choices)
            elif isinstance(one, forms.BooleanField):
                one.widget = UnfoldBooleanSwitchWidget()


class ImportForm(_ProjectForm):
    """The file, and how to read it."""

    import_file = forms.FileField(
        label=gettext_lazy("File"),
        widget=UnfoldAdminFileFieldWidget(
            attrs={"accept": ".jsonl,.ndjson,.json,.csv,.xlsx,.yml,.yaml"}
        ),
    )
    format = forms.ChoiceField(
        label=gettext_lazy("Format"),
        required=False,
        choices=[
            ("", gettext_lazy("By the file's name and content")),
            *((kind, formats.NAMES[kind]) for kind in formats.KINDS),
        ],
    )
    encoding = forms.ChoiceField(
        label=gettext_lazy("Encoding"),
        choices=[(name, name.upper()) for name in formats.ENCODINGS],
        help_text=gettext_lazy("Of JSONL, CSV and YAML; the others say it themselves."),
    )
    split = forms.ChoiceField(
        label=gettext_lazy("Split of new questions"),
        required=False,
        choices=[("", gettext_lazy("By the text's hash")), *Question.Split.choices],
    )
    create_intents = forms.BooleanField(
        label=gettext_lazy("Create intents for unknown labels"), required=False
    )

    def clean_import_file(self) -> "UploadedFile[Any]":
        file: UploadedFile[Any] = self.cleaned_data["import_file"]
        limit: int = settings.LABELING_MAX_UPLOAD_MB
        if (file.size or 0) > limit * 1024 * 1024:
            raise ValidationError(
                _(
                    "The file is larger than %(max)s MB; import it on the server with "
                    "“manage.py import_questions”."
                )
                % {"max": limit}
            )
        return file

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        file = values.get("import_file")
        if file is not None and not values.get("format") and "format" in values:
            try:
                values["format"] = formats.guess(file.name, file)
            except formats.Unreadable as error:
                self.add_error("import_file", str(error))
        return values


class ExportForm(_ProjectForm):
    """Which questions, as which format: the list's filters, spelled out."""

    format = forms.ChoiceField(
        label=gettext_lazy("Format"),
        choices=[(kind, formats.NAMES[kind]) for kind in formats.WRITTEN],
    )
    history = forms.BooleanField(
        label=gettext_lazy("With all that is known: annotations, comments, history"),
        required=False,
        help_text=gettext_lazy("As JSONL, for audits and to move a project."),
    )
    state = forms.ChoiceField(
        label=gettext_lazy("State"),
        required=False,
        choices=[_ANY, *Question.State.choices],
    )
    split = forms.ChoiceField(
        label=gettext_lazy("Data split"),
        required=False,
        choices=[_ANY, *Question.Split.choices],
    )
    intent = forms.TypedChoiceField(
        label=gettext_lazy("Gold intent"),
        required=False,
        coerce=int,
        empty_value=None,
    )
    confidence = forms.ChoiceField(
        label=gettext_lazy("Confidence"),
        required=False,
        choices=[
            _ANY,
            ("low", gettext_lazy("Low")),
            ("high", gettext_lazy("High")),
            ("none", gettext_lazy("Not answered yet")),
        ],
    )
    learned = forms.ChoiceField(
        label=gettext_lazy("Training"),
        required=False,
        choices=[
            _ANY,
            ("no", gettext_lazy("Label not learned yet")),
            ("yes", gettext_lazy("Label learned")),
        ],
    )
    origin = forms.ChoiceField(
        label=gettext_lazy("Origin"),
        required=False,
        choices=[_ANY, *Question.Origin.choices],
    )
    duplicates = forms.ChoiceField(
        label=gettext_lazy("Near-duplicates"),
        required=False,
        choices=[
            _ANY,
            ("leader", gettext_lazy("Has near-duplicates")),
            ("member", gettext_lazy("Near-duplicate of another")),
            ("none", gettext_lazy("Neither")),
        ],
    )
    text = forms.CharField(
        label=gettext_lazy("Part of the text"),
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget(),
    )

    def __init__(self, *args: Any, projects: QuerySet[Project], **kwargs: Any) -> None:
        super().__init__(*args, projects=projects, **kwargs)
        intents = Intent.objects.filter(project__in=projects).order_by("code", "pk")
        rows = list(intents.values_list("pk", "code", "project__name"))
        several = len({name for _pk, _code, name in rows}) > 1
        choices = [
            _ANY,
            *((pk, f"{code} · {name}" if several else code) for pk, code, name in rows),
        ]
        field = self.fields["intent"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices
        field.widget = UnfoldAdminSelectWidget(choices=choices)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        project, intent = values.get("project"), values.get("intent")
        if (
            project is not None
            and intent is not None
            and not project.intents.filter(pk=intent).exists()
        ):
            self.add_error("intent", _("This is an intent of another project."))
        return values

    def kind(self) -> str:
        """What to export as."""
        if self.cleaned_data["history"]:
            return exporting.FULL
        return str(self.cleaned_data["format"])

    def selection(self) -> exporting.Selection:
        """Which questions."""
        return exporting.Selection.of(self.cleaned_data)
