"""Admin pages of what synthetic questions are made of: slots and templates."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from labeling import growth
from labeling.admin import cells
from labeling.admin.scoped import (
    IntentFilter,
    ProjectFilter,
    Role,
    ScopedAdmin,
    signed_in,
)
from labeling.growth import templating
from labeling.models import Intent, Slot, SyntheticQuestion, Template

_SHOWN = 6
"""Values of a slot that the list shows."""


class SlotForm(forms.ModelForm):  # type: ignore[type-arg]
    """A slot needs something to put in."""

    def clean_values(self) -> str:
        values = templating.values_of(self.cleaned_data["values"])
        if not values:
            raise ValidationError(_("Write at least one value."))
        if len(values) > templating.MOST_VALUES:
            raise ValidationError(
                _("At most %(most)d values, not %(n)d.")
                % {"most": templating.MOST_VALUES, "n": len(values)}
            )
        return "\n".join(values)


@admin.register(Slot)
class SlotAdmin(ScopedAdmin):
    """What may stand in the place of a name in braces."""

    form = SlotForm
    role_to_view = Role.MANAGER
    list_display = ("in_braces", "count", "some", "project")
    list_select_related = ("project",)
    list_filter = (ProjectFilter,)
    search_fields = ("name", "values")
    ordering = ("project", "name")
    list_before_template = "admin/labeling/growth/slots_before.html"
    fields = ("project", "name", "values")

    @display(description=_("slot"), ordering="name")
    def in_braces(self, obj: Slot) -> str:
        return cells.codes([str(obj)])

    @display(description=_("values"))
    def count(self, obj: Slot) -> str:
        n = len(templating.values_of(obj.values))
        return number_format(n, force_grouping=True)

    @display(description=_("such as"))
    def some(self, obj: Slot) -> str:
        values = templating.values_of(obj.values)
        more = " …" if len(values) > _SHOWN else ""
        return cells.long_text(", ".join(values[:_SHOWN]) + more)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Templates call it by its name.
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "project", "name") if obj else fields

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A slot that templates hold can't be deleted; the page names them."""
        nested, counts, missing, protected = super().get_deleted_objects(objs, request)
        for slot in objs:
            templates = Template.objects.filter(intent__project=slot.project_id)
            texts = templates.values_list("text", flat=True)
            protected += [
                gettext("Template: %(text)s") % {"text": text}
                for text in templating.using(slot.name, texts)
            ]
        return nested, counts, missing, protected


class TemplateForm(forms.ModelForm):  # type: ignore[type-arg]
    """Several templates at once, one a line; of one that is there, its text."""

    text = forms.CharField(
        label=_("Templates"),
        max_length=100_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8}),
        help_text=_(
            "One a line. A slot stands in braces, as in: order {count} {dish}. For a"
            " brace itself write it twice."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lines: list[str] = []
        if self.instance.pk:
            self.fields["text"].label = _("Template")
            self.fields["text"].widget.attrs["rows"] = 2
            self.fields["text"].help_text = _("For a brace itself write it twice.")
        intents: Any = self.fields.get("intent")
        if intents is not None:
            intents.queryset = intents.queryset.filter(retired_at=None)
            if intents.queryset.order_by().values("project").distinct().count() > 1:
                intents.label_from_instance = lambda one: f"{one.code} · {one.project}"

    def clean_text(self) -> str:
        lines = (
            " ".join(line.split()) for line in self.cleaned_data["text"].splitlines()
        )
        self.lines = list(dict.fromkeys(filter(None, lines)))
        if self.instance.pk and len(self.lines) > 1:
            raise ValidationError(_("One template, on one line."))
        longest: int = Template._meta.get_field("text").max_length or 0
        for line in self.lines:
            if len(line) > longest:
                raise ValidationError(
                    _("At most %(most)d characters: %(text)s …")
                    % {"most": longest, "text": line[:40]}
                )
        return self.lines[0] if self.lines else ""

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        intent: Intent | None = values.get("intent") or getattr(
            self.instance, "intent", None
        )
        if intent is not None and self.lines:
            slots = templating.slots_of(intent.project)
            for line in self.lines:
                try:
                    templating.check(line, slots)
                except ValidationError as error:
                    if len(self.lines) > 1:
                        error = ValidationError(
                            [f"{line}: {m}" for m in error.messages]
                        )
                    self.add_error("text", error)
        return values


@admin.register(Template)
class TemplateAdmin(ScopedAdmin):
    """Sentences with slots, an intent each."""

    form = TemplateForm
    project_path = "intent__project"
    role_to_view = Role.MANAGER
    list_display = ("short_text", "intent_code", "fillings", "made_count", "project")
    list_select_related = ("intent__project",)
    list_filter = (ProjectFilter, IntentFilter)
    search_fields = ("text",)
    ordering = ("intent__project", "intent__code", "pk")
    list_before_template = "admin/labeling/growth/templates_before.html"
    change_form_outer_after_template = "admin/labeling/growth/fillings.html"
    fields = ("intent", "text")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Template]:
        made = (
            SyntheticQuestion.objects.filter(template=OuterRef("pk"))
            .order_by()
            .values("template")
            .annotate(n=Count("pk"))
        )
        rows: QuerySet[Template] = super().get_queryset(request)
        return rows.prefetch_related("intent__project__slots").annotate(
            n_made=Coalesce(Subquery(made.values("n"), output_field=IntegerField()), 0)
        )

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, **kwargs)
        wanted = request.GET.get("intent", "")
        if obj is None and wanted.isdecimal() and "intent" in form.base_fields:
            form.base_fields["intent"].initial = wanted
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # What was made of it is of its intent.
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "intent") if obj else fields

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        if object_id and request.method == "GET":
            template = self.get_object(request, object_id)
            if template is not None:
                shown = {"fillings": _fillings(template), "template": template}
                extra_context = {**(extra_context or {}), **shown}
        return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(
        self, request: HttpRequest, obj: Template, form: Any, change: bool
    ) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        made = growth.add_templates(obj.intent, form.lines, by=signed_in(request))
        obj.pk, obj.created_at = made[0].pk, made[0].created_at
        if len(form.lines) > 1:
            messages.success(
                request,
                ngettext("%(n)d template added.", "%(n)d templates added.", len(made))
                % {"n": len(made)},
            )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Says how many synthetic questions go along; they may be very many."""
        made = SyntheticQuestion.objects.filter(template__in=list(objs)).count()
        counts = {
            Template._meta.verbose_name_plural: len(objs),
            SyntheticQuestion._meta.verbose_name_plural: made,
        }
        return [str(one) for one in objs], counts, set(), []

    @display(description=_("template"))
    def short_text(self, obj: Template) -> str:
        return cells.long_text(obj.text)

    @display(description=_("intent"), ordering="intent__code")
    def intent_code(self, obj: Template) -> str:
        code = cells.codes([obj.intent.code])
        if obj.intent.retired_at is None:
            return code
        return format_html("{} {}", code, cells.badge(gettext("retired"), "warn"))

    @display(description=_("fillings"))
    def fillings(self, obj: Template) -> str:
        n = growth.count(obj)
        if not n:
            return cells.badge(gettext("cannot be filled"), "bad")
        return _many(n)

    @display(description=_("made"), ordering="n_made")
    def made_count(self, obj: Any) -> str:
        if not obj.n_made:
            return cells.NOTHING
        url = reverse(
            "admin:labeling_syntheticquestion_changelist",
            query={"template": obj.pk},
        )
        shown = number_format(obj.n_made, force_grouping=True)
        return format_html('<a class="tl-link" href="{}">{}</a>', url, shown)

    @display(description=_("project"), ordering="intent__project__name")
    def project(self, obj: Template) -> str:
        return str(obj.intent.project)


_MANY = 1_000_000


def _many(n: int) -> str:
    """A number of fillings, as far as it matters."""
    if n <= _MANY:
        return str(number_format(n, force_grouping=True))
    return gettext("over a million")


def _fillings(template: Template) -> dict[str, Any]:
    """What the page of a template shows of its fillings."""
    try:
        return {
            "count": _many(growth.count(template)),
            "samples": growth.samples(template),
        }
    except ValidationError as error:
        return {"problems": error.messages}
