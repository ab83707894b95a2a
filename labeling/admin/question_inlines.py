"""What hangs on a question: its labels, verdicts, and how they came to be."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.decorators import display

from labeling.admin import cells
from labeling.admin.scoped import Role, project_ids
from labeling.models import Annotation, GoldLabel, LabelChange, Question


class _ReadOnlyInline(TabularInline):
    extra = 0
    hide_title = True
    can_delete = False
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class GoldInline(_ReadOnlyInline):
    """The question's gold labels and who set them."""

    model = GoldLabel
    fields = ("intent", "source", "set_by", "set_at")
    readonly_fields = fields

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # whoever sees the question sees its label


class AnnotationInline(_ReadOnlyInline):
    """What each annotator said."""

    model = Annotation
    fields = ("annotator", "verdict", "labels", "comment", "updated_at")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Annotation]:
        rows: QuerySet[Annotation] = super().get_queryset(request)
        return rows.prefetch_related("intents")

    @display(description=_("intents"))
    def labels(self, obj: Annotation) -> str:
        return cells.codes(intent.code for intent in obj.intents.all())


class HistoryInline(_ReadOnlyInline):
    """Each change of the label, newest first, and who made it."""

    model = LabelChange
    verbose_name_plural = _("label history")
    fields = ("at", "kind", "was", "became", "reason", "comment", "by")
    readonly_fields = fields
    ordering = ("-id",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not for an annotator who may still be asked about the question."""
        if obj is None or request.user.is_superuser:
            return True
        reviewed = project_ids(request, Role.REVIEWER)
        return obj.state != Question.State.OPEN or obj.project_id in reviewed

    def get_queryset(self, request: HttpRequest) -> QuerySet[LabelChange]:
        rows: QuerySet[LabelChange] = super().get_queryset(request)
        return rows.select_related("by")

    @display(description=_("before"))
    def was(self, obj: LabelChange) -> str:
        before = obj.before or {}
        if not before.get("codes") and "state" in before:
            return cells.badge(Question.State(before["state"]).label)
        return cells.codes(before.get("codes", ()))

    @display(description=_("after"))
    def became(self, obj: LabelChange) -> str:
        if obj.after == []:
            return cells.badge(_("no intent"))
        return cells.codes(obj.after or ())
