"""Admin pages of API keys: issue one and see it once, revoke it."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from labeling import access
from labeling.admin import cells
from labeling.admin.scoped import ProjectFilter, Role, ScopedAdmin, project_ids
from labeling.models import ApiKey, Project


class IssueKeyForm(forms.Form):
    """What a new key needs."""

    project = forms.ModelChoiceField(
        Project.objects.none(), label=_("Project"), widget=UnfoldAdminSelectWidget
    )
    name = forms.CharField(
        max_length=80,
        label=_("Name"),
        help_text=_("Which client app will use it."),
        widget=UnfoldAdminTextInputWidget,
    )
    scope = forms.ChoiceField(
        choices=ApiKey.Scope.choices,
        label=_("Scope"),
        help_text=_("“Manage” includes “Label”, “Label” includes “Classify”."),
        widget=UnfoldAdminSelectWidget,
    )

    rate_limit = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        label=_("Texts a minute"),
        help_text=_("Empty for the server's own limit, 0 for none."),
        widget=UnfoldAdminIntegerFieldWidget,
    )

    def __init__(self, *args: Any, projects: QuerySet[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["project"]
        field.queryset = projects
        if len(projects) == 1:
            field.initial = projects[0]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        taken = ApiKey.objects.filter(
            project=values.get("project"), name=values.get("name"), revoked_at=None
        )
        if taken.exists():
            raise ValidationError({"name": _("A valid key has this name already.")})
        return values


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedAdmin):
    """Keys by name and first characters; the secret itself is kept nowhere."""

    role_to_view = Role.MANAGER
    list_display = (
        "name",
        "project",
        "scope",
        "start",
        "status",
        "rate_limit",
        "last_used_at",
        "created_at",
    )
    list_select_related = ("project",)
    list_filter = (ProjectFilter, "scope")
    search_fields = ("name",)
    ordering = ("-created_at",)
    actions = ("revoke",)
    fields = (
        ("name", "project"),
        ("scope", "start"),
        ("user", "rate_limit"),
        ("created_at", "last_used_at", "revoked_at"),
    )
    readonly_fields = (
        *("name", "project", "scope", "start", "user"),
        *("created_at", "last_used_at", "revoked_at"),
    )

    def save_model(
        self, request: HttpRequest, obj: Any, form: Any, change: Any
    ) -> None:
        """Only the limit can be changed; a key revoked meanwhile stays revoked."""
        access.limit_key(obj, obj.rate_limit)

    @display(description=_("key"))
    def start(self, obj: ApiKey) -> str:
        return cells.codes([f"{obj.prefix}…"])

    @display(description=_("status"))
    def status(self, obj: ApiKey) -> str:
        if obj.revoked_at:
            return cells.badge(_("Revoked"), "bad")
        return cells.badge(_("Valid"), "good")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # revoked keys stay, so that the log can name its clients

    @admin.action(description=_("Revoke"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        keys = list(self.writable(request, queryset).filter(revoked_at=None))
        for key in keys:
            access.revoke_key(key)
            self.log_change(request, key, [{"changed": {"fields": ["revoked_at"]}}])
        messages.success(
            request, _("%(n)d keys revoked; they end at once.") % {"n": len(keys)}
        )

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Issues a key. The answer to the POST shows it; a reload can't."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = IssueKeyForm(
            request.POST if request.method == "POST" else None,
            initial={"project": request.GET.get("project")},
            projects=Project.objects.filter(
                pk__in=project_ids(request, self.role_to_write)
            ),
        )
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Issue an API key"),
            "form": form,
        }
        if not form.is_valid():
            return TemplateResponse(request, "admin/labeling/issue_key.html", context)
        key, secret = access.issue_key(
            form.cleaned_data["project"],
            name=form.cleaned_data["name"],
            scope=form.cleaned_data["scope"],
            rate_limit=form.cleaned_data["rate_limit"],
        )
        self.log_addition(request, key, [{"added": {}}])
        page = TemplateResponse(
            request,
            "admin/labeling/key_issued.html",
            {
                **context,
                "title": _("Your new API key"),
                "key": key,
                "secret": secret,
                "key_url": reverse(
                    "admin:labeling_apikey_change", args=[quote(key.pk)]
                ),
                "classify_url": request.build_absolute_uri("/api/v1/classify"),
            },
        )
        page["Cache-Control"] = "no-store"
        return page
