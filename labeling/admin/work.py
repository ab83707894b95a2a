"""Admin pages of annotations, gold labels and leases: who judged and holds what."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from labeling.admin import cells
from labeling.admin.scoped import (
    CappedPaginator,
    IntentFilter,
    ProjectFilter,
    ReadOnlyAdmin,
    Role,
    ScopedAdmin,
)
from labeling.models import Annotation, GoldLabel, Lease


@admin.register(Annotation)
class AnnotationAdmin(ReadOnlyAdmin):
    """Every verdict of every annotator."""

    project_path = "question__project"
    role_to_view = Role.REVIEWER
    list_display = (
        *("text", "annotator", "labels", "verdict", "queue", "seconds", "updated_at"),
    )
    list_select_related = ("question", "annotator")
    list_filter = (
        ProjectFilter,
        ("verdict", ChoicesDropdownFilter),
        ("queue", ChoicesDropdownFilter),
    )
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator
    fields = (
        "question",
        ("annotator", "verdict"),
        "labels",
        "comment",
        ("queue", "is_blind", "bulk"),
        ("suggested", "suggested_by"),
        ("seconds", "created_at", "updated_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Annotation]:
        return super().get_queryset(request).prefetch_related("intents")

    @display(description=_("question"))
    def text(self, obj: Annotation) -> str:
        return cells.long_text(obj.question.text)

    @display(description=_("intents"))
    def labels(self, obj: Annotation) -> str:
        return cells.codes(intent.code for intent in obj.intents.all())

    @display(description=_("seconds"))
    def seconds(self, obj: Annotation) -> str:
        return f"{obj.time_spent_ms / 1000:.1f}" if obj.time_spent_ms else "–"


@admin.register(GoldLabel)
class GoldLabelAdmin(ReadOnlyAdmin):
    """What training and exact answers go by, and where each label came from."""

    project_path = "question__project"
    role_to_view = Role.MANAGER
    list_display = ("text", "code", "source", "set_by", "set_at")
    list_select_related = ("question", "intent", "set_by")
    list_filter = (ProjectFilter, IntentFilter, ("source", ChoicesDropdownFilter))
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator

    @display(description=_("question"))
    def text(self, obj: GoldLabel) -> str:
        return cells.long_text(obj.question.text)

    @display(description=_("intent"))
    def code(self, obj: GoldLabel) -> str:
        return cells.codes([obj.intent.code])


@admin.register(Lease)
class LeaseAdmin(ScopedAdmin):
    """Questions that annotators hold; a manager may give them back to the queue."""

    project_path = "question__project"
    role_to_view = Role.REVIEWER
    list_display = ("text", "holder", "queue", "claimed_at", "expires_at", "is_live")
    list_select_related = ("question", "holder")
    list_filter = (ProjectFilter, ("queue", ChoicesDropdownFilter))
    ordering = ("expires_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lease]:
        # Answered slots have no end: deleting one would let one annotator too many in.
        return super().get_queryset(request).filter(expires_at__isnull=False)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # To delete a lease is to give its question back; it asks first, and what its
        # holder submits after that is refused without losing what they typed.
        actions: dict[str, Any] = super().get_actions(request)
        if "delete_selected" in actions:
            delete, name, _description = actions["delete_selected"]
            actions["delete_selected"] = (delete, name, _("Give back to the queue"))
        return actions

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Lease]) -> None:
        self.writable(request, queryset).delete()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @display(description=_("question"))
    def text(self, obj: Lease) -> str:
        return cells.long_text(obj.question.text)

    @display(description=_("held"), boolean=True)
    def is_live(self, obj: Lease) -> bool:
        """Not run out: others can't take it yet."""
        return obj.expires_at is not None and obj.expires_at > timezone.now()
