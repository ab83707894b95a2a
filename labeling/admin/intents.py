"""Admin pages of intents and of their old codes."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from labeling import revision, taxonomy
from labeling.admin import cells
from labeling.admin.scoped import (
    ProjectFilter,
    ReadOnlyAdmin,
    Role,
    ScopedAdmin,
    ScopedFilter,
    signed_in,
)
from labeling.models import GoldLabel, Intent, IntentAlias


class InUseFilter(ScopedFilter):
    """Retired intents are out of sight unless asked for."""

    title = _("use")
    parameter_name = "use"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("", _("In use")), ("retired", _("Retired")), ("all", _("All"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        if self.value() == "all":
            return None
        return queryset.filter(retired_at__isnull=self.value() != "retired")


class IntentForm(forms.ModelForm):  # type: ignore[type-arg]
    """Checks a new code against old ones, which clients may still send."""

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"].strip()
        project = self.cleaned_data.get("project") or self.instance.project
        aliases = IntentAlias.objects.filter(project=project, code=code)
        if aliases.exclude(intent=self.instance.pk).exists():
            raise ValidationError(_("An old code of another intent reads the same."))
        return code


@admin.register(Intent)
class IntentAdmin(ScopedAdmin):
    """A project's label set; a renamed code stays known as an alias."""

    form = IntentForm
    list_display = (
        "code",
        "name",
        "project",
        "labelled",
        "use",
    )
    list_select_related = ("project", "parent")
    list_filter = (ProjectFilter, InUseFilter)
    search_fields = ("code", "name", "description")
    ordering = ("project", "code")
    fields = ("project", "code", "name", "description", "parent", "is_fallback")
    actions = ("retire", "restore")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Intent]:
        labels = (
            GoldLabel.objects.filter(intent=OuterRef("pk"))
            .order_by()
            .values("intent")
            .annotate(n=Count("pk"))
            .values("n")
        )
        count = Coalesce(Subquery(labels, output_field=IntegerField()), 0)
        rows: QuerySet[Intent] = super().get_queryset(request)
        return rows.annotate(labelled=count)

    @display(description=_("labels"), ordering="labelled")
    def labelled(self, obj: Any) -> int:
        return int(obj.labelled)

    @display(description=_("use"))
    def use(self, obj: Intent) -> str:
        if obj.retired_at:
            return cells.badge(_("Retired"))
        if obj.is_fallback:
            return cells.badge(_("Fallback"), "info")
        return cells.badge(_("In use"), "good")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("project",) if obj else ()

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        match = request.resolver_match
        if db_field.name == "parent" and match and "object_id" in match.kwargs:
            siblings = Intent.objects.filter(
                project__intents__pk=match.kwargs["object_id"]
            )
            kwargs["queryset"] = siblings.exclude(pk=match.kwargs["object_id"])
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(
        self, request: HttpRequest, obj: Intent, form: Any, change: bool
    ) -> None:
        if change and "code" in form.changed_data:
            code, obj.code = obj.code, form.initial["code"]
            taxonomy.rename(obj, code=code, by=signed_in(request))
            obj.code = code
        super().save_model(request, obj, form, change)
        revision.bump(obj.project_id)

    @admin.action(description=_("Retire"), permissions=["change"])
    def retire(self, request: HttpRequest, queryset: QuerySet[Intent]) -> None:
        n = 0
        for intent in self.writable(request, queryset):
            try:
                taxonomy.retire(intent, by=signed_in(request))
                n += 1
            except ValidationError as error:
                messages.error(request, f"{intent}: {error.messages[0]}")
        if n:
            messages.success(
                request,
                _("%(n)d intents retired; their labels stay, their rules are off.")
                % {"n": n},
            )

    @admin.action(description=_("Take back into use"), permissions=["change"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Intent]) -> None:
        rows = list(self.writable(request, queryset))
        for intent in rows:
            taxonomy.restore(intent, by=signed_in(request))
        messages.success(request, _("%(n)d intents are in use.") % {"n": len(rows)})

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # retire it: labels, datasets and clients refer to it


@admin.register(IntentAlias)
class IntentAliasAdmin(ReadOnlyAdmin):
    """Old codes; they come from renaming an intent."""

    role_to_view = Role.MANAGER
    list_display = ("code", "arrow", "project", "created_by", "created_at")
    list_select_related = ("project", "intent", "created_by")
    list_filter = (ProjectFilter,)
    search_fields = ("code", "intent__code")
    ordering = ("code",)

    @display(description=_("intent"))
    def arrow(self, obj: IntentAlias) -> str:
        return cells.codes([obj.intent.code])
