"""Admin pages of projects and their members."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import escape
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminTextareaWidget

from labeling import access, llm, revision
from labeling.admin.people import people
from labeling.admin.scoped import ProjectFilter, Role, ScopedAdmin, project_ids
from labeling.models import Membership, Project


class MemberInline(TabularInline):
    """A project's members on its page; they are changed on their own page."""

    model = Membership
    fields = ("user", "role")
    extra = 0
    hide_title = True
    show_change_link = True
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser or (
            obj is not None and obj.pk in project_ids(request, Role.MANAGER)
        )


class ProjectForm(forms.ModelForm):  # type: ignore[type-arg]
    """A project's settings."""

    class Meta:
        model = Project
        fields = "__all__"  # noqa: DJ007 (the admin's fieldsets choose)

    def clean_llm_fallback(self) -> bool:
        """Nobody can be asked where no server is set up."""
        is_on = bool(self.cleaned_data["llm_fallback"])
        if is_on and not self.initial.get("llm_fallback") and not llm.configured():
            raise ValidationError(
                _(
                    "No language model is set up: see TUNELOOP_LLM_URL and"
                    " TUNELOOP_LLM_MODEL."
                )
            )
        return is_on


@admin.register(Project)
class ProjectAdmin(ScopedAdmin):
    """Projects; superusers add them, managers set them up."""

    form = ProjectForm
    project_path = "id"
    list_display = ("name", "slug", "is_multi_intent", "created_at")
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}
    inlines = (MemberInline,)
    change_form_outer_before_template = "admin/labeling/project_ways.html"
    readonly_fields = ("created_at",)
    fieldsets = (
        (None, {"fields": (("name", "slug"), "description", "is_multi_intent")}),
        (_("Guidelines"), {"classes": ["tab"], "fields": ("guidelines",)}),
        (
            _("Answers"),
            {
                "classes": ["tab"],
                "fields": (
                    ("low_confidence",),
                    ("accept_threshold", "accept_threshold_rules"),
                    ("rule_weight", "model_weight"),
                ),
            },
        ),
        (
            _("Labelling"),
            {
                "classes": ["tab"],
                "fields": (
                    ("overlap", "lease_s"),
                    ("test_share", "validation_share"),
                ),
            },
        ),
        (
            _("Training"),
            {
                "classes": ["tab"],
                "fields": (
                    ("min_labels_first", "min_labels_next"),
                    ("retrain_interval_days",),
                ),
            },
        ),
        (
            _("Language model"),
            {"classes": ["tab"], "fields": ("llm_fallback", "llm_budget")},
        ),
    )

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "description":
            kwargs["widget"] = UnfoldAdminTextareaWidget(attrs={"rows": 2})
        if db_field.name == "llm_fallback":
            kwargs["help_text"] = _sent_where()
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def project_id_of(self, obj: Any) -> int:
        return int(obj.pk)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        # Commands, client apps and artifact folders go by the slug; the labels and
        # models that exist are of one kind.
        return (*fields, "slug", "is_multi_intent") if obj else fields

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj else super().get_prepopulated_fields(request, obj)

    def save_model(
        self, request: HttpRequest, obj: Project, form: Any, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        if change and form.changed_data:
            revision.bump(obj.pk)  # thresholds and weights are live, too


def _sent_where() -> str:
    """What leaves this house, and for whom."""
    server = llm.configured()
    if server is None:
        return gettext("No language model is set up, so nothing leaves this house.")
    return gettext(
        "Questions that neither rules nor model are sure of are sent to %(model)s at"
        " %(host)s, with the names and descriptions of the intents and up to three"
        " labelled questions of each. Its answers are marked for review and come first"
        " in the labelling queue."
    ) % {"model": escape(server.model), "host": escape(server.host)}


class MembershipForm(forms.ModelForm):  # type: ignore[type-arg]
    """Adds a member, or changes a role."""

    class Meta:
        model = Membership
        fields = ("project", "user", "role")


@admin.register(Membership)
class MembershipAdmin(ScopedAdmin):
    """Who has which role where."""

    form = MembershipForm
    role_to_view = Role.MANAGER
    list_display = ("user", "project", "role")
    list_display_links = ("user",)
    list_select_related = ("user", "project")
    list_filter = (ProjectFilter, "role")
    search_fields = ("user__username",)
    ordering = ("user__username",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("project", "user") if obj else ()

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "user":
            kwargs["queryset"] = active_people()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(
        self, request: HttpRequest, obj: Membership, form: Any, change: bool
    ) -> None:
        saved = access.add_member(obj.project, obj.user, role=obj.role)
        obj.pk = saved.pk
        obj._state.adding = False


def active_people() -> QuerySet[User]:
    """Who can be made a member."""
    return people(User.objects.filter(is_active=True)).order_by("username")
