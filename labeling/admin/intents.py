"""Admin pages of intents and of their old codes."""

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.humanize.templatetags.humanize import intcomma
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import IntegerField, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from labeling import revision, taxonomy
from labeling.admin import cells
from labeling.admin.scoped import (
    ProjectFilter,
    ReadOnlyAdmin,
    Role,
    ScopedFilter,
    signed_in,
)
from labeling.admin.taxonomy import TaxonomyPages
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
    """Checks a new intent's code against old ones, which clients may still send."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "description" in self.fields:  # not for who may only look
            self.fields["description"].widget.attrs["rows"] = 2

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"].strip()
        project = self.cleaned_data.get("project")
        if IntentAlias.objects.filter(project=project, code=code).exists():
            raise ValidationError(_("An old code of another intent reads the same."))
        return code


MANY_LABELS = 10_000
MANY_OPEN = 1_000
"""The list counts up to here, so that a page of it reads a bounded number of rows."""

_OPEN_PREDICTED = """
SELECT i.id, (
    SELECT count(*) FROM (
        SELECT FROM labeling_question q
        WHERE q.project_id = i.project_id AND q.state = 'open' AND NOT q.split = 'test'
            AND q.predicted #>> '{0,code}' = ANY (
                SELECT i.code UNION ALL
                SELECT a.code FROM labeling_intentalias a WHERE a.intent_id = i.id)
        LIMIT %(most)s
    ) found)
FROM labeling_intent i WHERE i.id = ANY(%(ids)s)
"""


class _CountUpTo(Subquery):
    """How many rows a query has; it ends at the query's own limit."""

    template = "(SELECT count(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


@admin.register(Intent)
class IntentAdmin(TaxonomyPages):
    """A project's label set; a renamed code stays known as an alias."""

    form = IntentForm
    list_display = (
        "code",
        "name",
        "project",
        "labelled",
        "open_predicted",
        "old_codes",
        "use",
    )
    list_select_related = ("project", "parent")
    list_filter = (ProjectFilter, InUseFilter)
    search_fields = ("code", "name", "description", "aliases__code")
    ordering = ("project", "code")
    fields = (
        "project",
        "code",
        "name",
        "description",
        "guidelines",
        "parent",
        "is_fallback",
    )
    actions = ("merge", "retire", "restore")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Intent]:
        labels = GoldLabel.objects.filter(intent=OuterRef("pk")).order_by()
        rows: QuerySet[Intent] = super().get_queryset(request)
        return rows.annotate(
            labelled=_CountUpTo(labels.values("pk")[: MANY_LABELS + 1])
        ).prefetch_related("aliases")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        page.result_list = list(page.result_list)
        ids = [intent.pk for intent in page.result_list]
        with connection.cursor() as cursor:
            cursor.execute(_OPEN_PREDICTED, {"ids": ids, "most": MANY_OPEN + 1})
            counts = dict(cursor.fetchall())
        for intent in page.result_list:
            intent.n_open = counts.get(intent.pk, 0)
        return page

    @display(description=_("labels"), ordering="labelled")
    def labelled(self, obj: Any) -> str:
        return _up_to(obj.labelled, MANY_LABELS)

    @display(description=_("open, predicted so"))
    def open_predicted(self, obj: Any) -> str:
        return _up_to(obj.n_open, MANY_OPEN)

    @display(description=_("old codes"))
    def old_codes(self, obj: Intent) -> str:
        return cells.codes(sorted(alias.code for alias in obj.aliases.all()))

    @display(description=_("use"))
    def use(self, obj: Intent) -> str:
        if obj.retired_at:
            return cells.badge(_("Retired"))
        if obj.is_fallback:
            return cells.badge(_("Fallback"), "info")
        return cells.badge(_("In use"), "good")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # A new code has a page of its own, which says first what it touches.
        return ("project", "code") if obj else ()

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
        super().save_model(request, obj, form, change)
        revision.bump(obj.project_id)

    @admin.action(description=_("Merge"), permissions=["change"])
    def merge(
        self, request: HttpRequest, queryset: QuerySet[Intent]
    ) -> HttpResponse | None:
        return self._go_on(request, queryset, self.merge_url)

    @admin.action(description=_("Retire"), permissions=["change"])
    def retire(
        self, request: HttpRequest, queryset: QuerySet[Intent]
    ) -> HttpResponse | None:
        return self._go_on(request, queryset, self.retire_url)

    def _go_on(
        self,
        request: HttpRequest,
        queryset: QuerySet[Intent],
        url_of: Callable[[Sequence[int]], str],
    ) -> HttpResponse | None:
        ids = list(self.writable(request, queryset).values_list("pk", flat=True))
        if not ids:
            messages.error(request, _("None of these is yours to change."))
            return None
        return redirect(url_of(ids))

    @admin.action(description=_("Take back into use"), permissions=["change"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Intent]) -> None:
        rows = list(self.writable(request, queryset))
        for intent in rows:
            taxonomy.restore(intent, by=signed_in(request))
        messages.success(request, _("%(n)d intents are in use.") % {"n": len(rows)})

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # retire it: labels, datasets and clients refer to it


def _up_to(n: int, most: int) -> str:
    # Translators: a number that is larger than what was counted.
    return _("%(n)s+") % {"n": intcomma(most)} if n > most else intcomma(n)


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
