"""Admin pages of frozen datasets."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
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
)
from labeling.models import Dataset, DatasetItem


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    """What each training batch learned from."""

    role_to_view = Role.MANAGER
    list_display = (
        "id",
        "project",
        "short_digest",
        "train_count",
        "synthetic_count",
        "validation_count",
        "created_by",
        "created_at",
    )
    list_select_related = ("project", "created_by")
    list_filter = (ProjectFilter,)
    fields = (
        "project",
        "digest",
        ("train_count", "synthetic_count", "validation_count", "items_link"),
        "labels",
        ("created_by", "created_at"),
    )

    @display(description=_("digest"))
    def short_digest(self, obj: Dataset) -> str:
        return cells.codes([obj.digest[:12]])

    @display(description=_("label set"))
    def labels(self, obj: Dataset) -> str:
        return cells.codes(obj.label_set)

    @display(description=_("questions"))
    def items_link(self, obj: Dataset) -> str:
        url = reverse("admin:labeling_datasetitem_changelist")
        return format_html('<a href="{}?dataset={}">{}</a>', url, obj.pk, _("Show"))


class DatasetFilter(ScopedFilter):
    """Narrows the items to one dataset, among the newest 50."""

    title = _("dataset")
    parameter_name = "dataset"

    def lookups(
        self, request: HttpRequest, model_admin: ReadOnlyAdmin
    ) -> list[tuple[str, str]]:
        page = model_admin.admin_site.get_model_admin(Dataset)
        newest = page.get_queryset(request).select_related("project")[:50]
        return [(str(dataset.pk), f"#{dataset.pk} {dataset}") for dataset in newest]

    def queryset(self, request, queryset):  # type: ignore[no-untyped-def]
        chosen = self.chosen_id()
        return queryset.filter(dataset=chosen) if chosen is not None else None


class AskedFilter(ScopedFilter):
    """Tells what users asked from what was made of templates and by models."""

    title = _("made")
    parameter_name = "made"

    def lookups(
        self, request: HttpRequest, model_admin: ReadOnlyAdmin
    ) -> list[tuple[str, Any]]:
        return [("asked", _("Asked or imported")), ("synthetic", _("Synthetic"))]

    def queryset(self, request, queryset):  # type: ignore[no-untyped-def]
        if self.value() not in ("asked", "synthetic"):
            return None
        return queryset.filter(question__isnull=self.value() == "synthetic")


@admin.register(DatasetItem)
class DatasetItemAdmin(ReadOnlyAdmin):
    """Questions as they were when a dataset was frozen."""

    project_path = "dataset__project"
    role_to_view = Role.MANAGER
    list_display = ("short_text", "labels", "split", "is_new", "dataset_number")
    list_filter = (
        ProjectFilter,
        DatasetFilter,
        ("split", ChoicesDropdownFilter),
        AskedFilter,
    )
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator

    @display(description=_("text"))
    def short_text(self, obj: DatasetItem) -> str:
        text = cells.long_text(obj.text)
        if obj.question_id is not None:
            return text
        return format_html("{} {}", text, cells.badge(gettext("synthetic"), "warn"))

    @display(description=_("intents"))
    def labels(self, obj: DatasetItem) -> str:
        return cells.codes(obj.codes)

    @display(description=_("dataset"))
    def dataset_number(self, obj: DatasetItem) -> str:
        return f"#{obj.dataset_id}"
