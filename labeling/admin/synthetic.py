"""Admin pages of synthetic questions: the list, and what is done with many of them."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from labeling import growth
from labeling.admin import cells, growing
from labeling.admin.scoped import (
    CappedPaginator,
    IntentFilter,
    ProjectFilter,
    ReadOnlyAdmin,
    Role,
    ScopedFilter,
    newest,
    signed_in,
)
from labeling.models import SyntheticQuestion, Template

_EXAMPLES = 10
"""Texts that are shown before they are deleted."""


class UsedFilter(ScopedFilter):
    """Those that datasets take in, or those that were switched off."""

    title = _("use")
    parameter_name = "used"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("In use")), ("no", _("Switched off"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        if self.value() not in ("yes", "no"):
            return None
        return queryset.filter(is_used=self.value() == "yes")


class TemplateFilter(ScopedFilter):
    """What was made of one template; asked for by the templates' list."""

    title = _("template")
    parameter_name = "template"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get(self.parameter_name, "")
        if not chosen.isdecimal():
            return []
        page = model_admin.admin_site.get_model_admin(Template)
        found = page.get_queryset(request).filter(pk=chosen)
        return [(str(template.pk), str(template)) for template in found]

    def has_output(self) -> bool:
        return bool(self.lookup_choices)

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        chosen = self.chosen_id()
        return queryset.filter(template=chosen) if chosen is not None else None


@admin.register(SyntheticQuestion)
class SyntheticQuestionAdmin(ReadOnlyAdmin):
    """Questions that nobody asked: made here, switched off or deleted here."""

    role_to_view = Role.MANAGER
    list_display = (
        "short_text",
        "intent_code",
        "made_by",
        "made_from",
        "use_badge",
        "made_at",
    )
    list_select_related = ("intent", "template", "source")
    list_filter = (
        ProjectFilter,
        IntentFilter,
        ("origin", ChoicesDropdownFilter),
        UsedFilter,
        TemplateFilter,
    )
    search_fields = ("text",)
    search_help_text = _("Any part of a text")
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator
    list_before_template = "admin/labeling/growth/list_before.html"
    actions = ("use", "do_not_use", "delete_many")
    fields = (
        "text",
        ("project", "intent", "use_badge"),
        ("made_by", "made_from", "made_at"),
    )

    def get_urls(self) -> list[URLPattern]:
        def page(name: str, view: Any) -> URLPattern:
            guarded: Any = self.admin_site.admin_view(view)
            route: URLPattern = path(
                f"{name}/", guarded, name=f"labeling_syntheticquestion_{name}"
            )
            return route

        own = [
            page("make", growing.MakePage(self)),
            page("paraphrase", growing.ParaphrasePage(self)),
        ]
        return [*own, *super().get_urls()]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Any part of a text, among the newest."""
        if not search_term:
            return queryset, False
        found = newest(queryset).filter(text__icontains=search_term)
        return found, False

    # --- The list -----------------------------------------------------------------

    @display(description=_("text"))
    def short_text(self, obj: SyntheticQuestion) -> str:
        return cells.long_text(obj.text)

    @display(description=_("intent"))
    def intent_code(self, obj: SyntheticQuestion) -> str:
        return cells.codes([obj.intent.code])

    @display(description=_("made by"))
    def made_by(self, obj: SyntheticQuestion) -> SafeString:
        if obj.origin == SyntheticQuestion.Origin.TEMPLATE:
            return cells.badge(gettext("template"), "info")
        return cells.badge(gettext("language model"), "warn")

    @display(description=_("made from"))
    def made_from(self, obj: SyntheticQuestion) -> str:
        origin = obj.template or obj.source
        return cells.long_text(origin.text, limit=60) if origin else cells.NOTHING

    @display(description=_("use"))
    def use_badge(self, obj: SyntheticQuestion) -> str:
        if obj.is_used:
            return cells.badge(gettext("in use"), "good")
        return cells.badge(gettext("switched off"))

    @display(description=_("made"))
    def made_at(self, obj: SyntheticQuestion) -> str:
        return cells.moment(obj.created_at)

    # --- Many at once -------------------------------------------------------------

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the person manages a project: they may switch and delete there."""
        return self.has_role(request, Role.MANAGER)

    @admin.action(description=_("Take into datasets"), permissions=["manage"])
    def use(self, request: HttpRequest, queryset: QuerySet[SyntheticQuestion]) -> None:
        n = growth.use(self.writable(request, queryset), is_used=True)
        text = ngettext(
            "%(n)d question is in use again.", "%(n)d questions are in use again.", n
        )
        messages.success(request, text % {"n": n})

    @admin.action(description=_("Switch off"), permissions=["manage"])
    def do_not_use(
        self, request: HttpRequest, queryset: QuerySet[SyntheticQuestion]
    ) -> None:
        n = growth.use(self.writable(request, queryset), is_used=False)
        text = ngettext(
            "%(n)d question was switched off: no new dataset takes it in.",
            "%(n)d questions were switched off: no new dataset takes them in.",
            n,
        )
        messages.success(request, text % {"n": n})

    @admin.action(description=_("Delete"), permissions=["manage"])
    def delete_many(
        self, request: HttpRequest, queryset: QuerySet[SyntheticQuestion]
    ) -> HttpResponse | None:
        """Deletes after a look at what goes."""
        rows = self.writable(request, queryset)
        if request.POST.get("confirm"):
            n = growth.delete(rows, by=signed_in(request))
            text = ngettext(
                "%(n)d synthetic question deleted.",
                "%(n)d synthetic questions deleted.",
                n,
            )
            messages.success(request, text % {"n": n})
            return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Delete synthetic questions"),
            "count": rows.order_by().count(),
            "texts": list(rows.values_list("text", flat=True)[:_EXAMPLES]),
            "chosen": request.POST.getlist("_selected_action"),
            "across": request.POST.get("select_across", "0"),
        }
        template = "admin/labeling/growth/delete.html"
        return TemplateResponse(request, template, context)
