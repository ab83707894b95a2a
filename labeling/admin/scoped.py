"""What the admin pages share: people see their own projects, and lists stay quick."""

from typing import Any

from django.contrib.admin.utils import flatten
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter

from labeling import access
from labeling.models import Intent, Membership, Project

Role = Membership.Role


def memberships(request: HttpRequest) -> list[Membership]:
    """The signed-in person's memberships by project name; one query a request."""
    cached: list[Membership] | None = request.__dict__.get("_memberships")
    if cached is None:
        mine = Membership.objects.filter(user=request.user.pk or 0)
        cached = list(mine.select_related("project").order_by("project__name"))
        request.__dict__["_memberships"] = cached
    return cached


def project_ids(request: HttpRequest, role: str = Role.ANNOTATOR) -> set[int]:
    """Ids of the projects where the signed-in person has at least this role.

    Ids and not a subquery, so that PostgreSQL can plan a list by how large these very
    projects are. One query a request, shared by all roles; one a call for a superuser.
    """
    if request.user.is_superuser:
        return set(Project.objects.order_by().values_list("pk", flat=True))
    enough = access.at_least(role)
    return {one.project_id for one in memberships(request) if one.role in enough}


def signed_in(request: HttpRequest) -> User:
    """Who sent the request; admin pages let nobody else in."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts and walks at most `cap` rows, however many there are.

    Whoever wants row 10,001 wants a filter. Cost of a page: an index scan that ends
    after `cap` rows for the count, and an OFFSET below it.
    """

    cap = 10_000
    template_name = "admin/pagination_capped.html"  # asked for by unfold

    @cached_property
    def _found(self) -> int:
        rows: Any = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        return rows.order_by().values("pk")[: self.cap + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._found, self.cap)

    @property
    def is_capped(self) -> bool:
        """Whether there are more rows than the pages show."""
        return self._found > self.cap


SEARCHED = 100_000
"""A search reads the texts of this many rows, the newest: a few tenths of a second."""


def newest(rows: QuerySet[Any]) -> QuerySet[Any]:
    """The newest `SEARCHED` rows, for a search that reads each text. One query."""
    ids = rows.order_by("-pk").values_list("pk", flat=True)
    oldest = ids[SEARCHED : SEARCHED + 1].first()
    return rows if oldest is None else rows.filter(pk__gt=oldest)


class ScopedAdmin(ModelAdmin):
    """Shows the rows of the projects that a person has a role in.

    Two things must agree: the groups' model permissions (`access.GROUPS`) say what a
    role is for at all, and the membership says in which project.
    """

    project_path = "project"
    """Lookup from the model to its project."""
    role_to_view = Role.ANNOTATOR
    role_to_write = Role.MANAGER

    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    list_filter_submit = True
    compressed_fields = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        if request.user.is_superuser:
            return rows
        mine = project_ids(request, self.role_to_view)
        return rows.filter(**{f"{self.project_path}__in": mine})

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        is_narrowed = page.query or page.has_active_filters
        if not is_narrowed or getattr(page.paginator, "is_capped", False):
            # Unfold's title then says nothing of "results"; the footer says enough.
            page.full_result_count = page.result_count
        return page

    def project_id_of(self, obj: Any) -> int:
        """The project that a row belongs to."""
        *parts, last = self.project_path.split("__")
        for part in parts:
            obj = getattr(obj, part)
        project_id: int = getattr(obj, f"{last}_id")
        return project_id

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and self.has_role(
            request, self.role_to_view, obj
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and self.has_role(
            request, self.role_to_write
        )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self.has_role(
            request, self.role_to_write, obj
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self.has_role(
            request, self.role_to_write, obj
        )

    def has_role(self, request: HttpRequest, role: str, obj: Any = None) -> bool:
        """Whether the person has the role in the row's project, or in any at all."""
        if request.user.is_superuser:
            return True
        mine = project_ids(request, role)
        return self.project_id_of(obj) in mine if obj is not None else bool(mine)

    def writable(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the chosen rows that the person may change: for list actions."""
        if request.user.is_superuser:
            return queryset
        mine = project_ids(request, self.role_to_write)
        return queryset.filter(**{f"{self.project_path}__in": mine})

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        if "queryset" not in kwargs:
            writable = project_ids(request, self.role_to_write)
            related = db_field.remote_field.model
            if related is Project:
                kwargs["queryset"] = Project.objects.filter(pk__in=writable)
            elif any(f.name == "project" for f in related._meta.fields):
                kwargs["queryset"] = related._default_manager.filter(
                    project__in=writable
                ).select_related("project")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class ReadOnlyAdmin(ScopedAdmin):
    """Rows that only the product writes: they can be looked at."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return flatten(self.get_fields(request, obj)) if self.fields else []

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ScopedFilter(DropdownFilter):
    """A filter that knows the admin page it belongs to."""

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, Any],
        model: type[Model],
        model_admin: ScopedAdmin,
    ) -> None:
        self.page = model_admin
        super().__init__(request, params, model, model_admin)

    def chosen_id(self) -> int | None:
        """The chosen row's id; None for "all" and for what was mistyped in the URL."""
        value = self.value() or ""
        return int(value) if value.isdecimal() else None


class ProjectFilter(ScopedFilter):
    """Narrows a list to one project; not offered to whoever has only one."""

    title = _("project")
    parameter_name = "project"

    def lookups(
        self, request: HttpRequest, model_admin: ScopedAdmin
    ) -> list[tuple[str, str]]:
        mine = project_ids(request, model_admin.role_to_view)
        projects = Project.objects.filter(pk__in=mine).values_list("pk", "name")
        return [(str(pk), name) for pk, name in projects]

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        chosen = self.chosen_id()
        return (
            queryset.filter(**{self.page.project_path: chosen})
            if chosen is not None
            else None
        )


class IntentFilter(ScopedFilter):
    """Narrows a list to one intent; of the chosen project, when one is chosen."""

    title = _("intent")
    parameter_name = "intent"
    path = "intent"
    """Lookup from the list's model to the intent."""

    def lookups(
        self, request: HttpRequest, model_admin: ScopedAdmin
    ) -> list[tuple[str, str]]:
        mine = project_ids(request, model_admin.role_to_view)
        project = request.GET.get(ProjectFilter.parameter_name, "")
        if project.isdecimal():
            mine = mine & {int(project)}
        intents = Intent.objects.filter(project__in=mine).order_by("code", "pk")
        if len(mine) == 1:
            return [(str(pk), code) for pk, code in intents.values_list("pk", "code")]
        rows = intents.values_list("pk", "code", "project__name")
        return [(str(pk), f"{code} · {name}") for pk, code, name in rows]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> QuerySet[Any] | None:
        chosen = self.chosen_id()
        return queryset.filter(**{self.path: chosen}) if chosen is not None else None
