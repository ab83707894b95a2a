"""What the list of questions can be narrowed by, beside its columns."""

from typing import Any

from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from labeling.admin.scoped import IntentFilter, ScopedFilter
from labeling.models import Question


class GoldIntentFilter(IntentFilter):
    """By gold intent."""

    title = _("gold intent")
    path = "gold_labels__intent"


class ConfidenceFilter(ScopedFilter):
    """Low by each project's own threshold."""

    title = _("confidence")
    parameter_name = "confidence"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("low", _("Low")),
            ("high", _("High")),
            ("none", _("Not answered yet")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        match self.value():
            case "low":
                return queryset.filter(confidence__lt=F("project__low_confidence"))
            case "high":
                return queryset.filter(confidence__gte=F("project__low_confidence"))
            case "none":
                return queryset.filter(confidence=None)
        return None


class LearnedFilter(ScopedFilter):
    """Labels that no version has learned yet: what the next training adds."""

    title = _("training")
    parameter_name = "learned"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", _("Label not learned yet")), ("yes", _("Label learned"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        labelled = queryset.filter(state=Question.State.LABELLED)
        match self.value():
            case "no":
                return labelled.filter(trained_in="")
            case "yes":
                return labelled.exclude(trained_in="")
        return None


class DuplicateFilter(ScopedFilter):
    """Questions that say the same as others; one label can be carried over."""

    title = _("near-duplicates")
    parameter_name = "duplicates"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("leader", _("Has near-duplicates")),
            ("member", _("Near-duplicate of another")),
            ("none", _("Neither")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        # Walks the index of members, which are few beside all questions.
        members = Question.objects.exclude(cluster=None).order_by()
        match self.value():
            case "leader":
                return queryset.filter(pk__in=members.values("cluster"))
            case "member":
                return queryset.exclude(cluster=None)
            case "none":
                alone = queryset.filter(cluster=None)
                return alone.exclude(pk__in=members.values("cluster"))
        return None
