"""Admin pages of the classification log and of clients' feedback."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from labeling.admin import cells
from labeling.admin.scoped import (
    CappedPaginator,
    ProjectFilter,
    ReadOnlyAdmin,
    Role,
    ScopedFilter,
    newest,
)
from registry.models import ClassificationLog, Feedback


class ReviewFilter(ScopedFilter):
    """By whether a person should look at the answer."""

    title = _("review")
    parameter_name = "review"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Needs review")), ("no", _("Sure enough"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        wanted = {"yes": True, "no": False}.get(self.value() or "")
        return None if wanted is None else queryset.filter(needs_review=wanted)


@admin.register(ClassificationLog)
class ClassificationLogAdmin(ReadOnlyAdmin):
    """Every answer that was given; it only ever grows."""

    role_to_view = Role.MANAGER
    list_display = (
        "at",
        "short_text",
        "answer",
        "confidence_bar",
        "method",
        "version",
        "milliseconds",
        "client",
        "review",
    )
    list_display_links = ("at",)
    list_select_related = ("client", "project")
    list_filter = (ProjectFilter, ReviewFilter)
    search_fields = ("text",)
    search_help_text = _("Part of a text, in the newest 100,000, or a request id")
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator
    fields = (
        ("request_id", "created_at"),
        "text",
        "answers",
        ("confidence_bar", "review", "degraded", "truncated"),
        ("method", "version", "milliseconds"),
        ("project", "client"),
        "question",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A request id is looked up; a text in the newest `SEARCHED` answers."""
        try:
            return queryset.filter(request_id=UUID(search_term.strip())), False
        except ValueError:
            pass
        if search_term:
            queryset = newest(queryset)
        found: tuple[QuerySet[Any], bool] = super().get_search_results(
            request, queryset, search_term
        )
        return found

    @display(description=_("at"))
    def at(self, obj: ClassificationLog) -> str:
        return cells.moment(obj.created_at)

    @display(description=_("text"))
    def short_text(self, obj: ClassificationLog) -> str:
        return cells.long_text(obj.text, limit=80)

    @display(description=_("answer"))
    def answer(self, obj: ClassificationLog) -> str:
        return cells.predicted(obj.intents)

    @display(description=_("answers"))
    def answers(self, obj: ClassificationLog) -> str:
        return cells.codes(
            f"{one['code']} {cells.percent(one.get('confidence'), digits=1)}"
            for one in obj.intents
        )

    @display(description=_("confidence"))
    def confidence_bar(self, obj: ClassificationLog) -> str:
        return cells.bar(obj.confidence, low=obj.project.low_confidence)

    @display(description=_("latency"))
    def milliseconds(self, obj: ClassificationLog) -> str:
        return f"{obj.latency_ms:.1f} ms"

    @display(description=_("review"))
    def review(self, obj: ClassificationLog) -> str:
        if obj.needs_review:
            return cells.badge(_("Needs review"), "warn")
        return cells.NOTHING


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin):
    """What clients said of answers."""

    project_path = "log__project"
    role_to_view = Role.MANAGER
    list_display = ("created_at", "text", "answer", "judged", "intent")
    list_select_related = ("log", "intent")
    list_filter = (ProjectFilter, ("verdict", ChoicesDropdownFilter))
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator

    @display(description=_("text"))
    def text(self, obj: Feedback) -> str:
        return cells.long_text(obj.log.text, limit=80)

    @display(description=_("answer"))
    def answer(self, obj: Feedback) -> str:
        return cells.predicted(obj.log.intents)

    @display(description=_("verdict"))
    def judged(self, obj: Feedback) -> str:
        is_right = obj.verdict == Feedback.Verdict.RIGHT
        return cells.badge(obj.get_verdict_display(), "good" if is_right else "bad")
