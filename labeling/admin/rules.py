"""Admin pages of keyword rules: look at what they hit, approve or disable them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from labeling import rules
from labeling.admin import cells
from labeling.admin.scoped import (
    IntentFilter,
    ProjectFilter,
    Role,
    ScopedAdmin,
    project_ids,
    signed_in,
)
from labeling.models import Intent, KeywordRule, Project
from labeling.normalise import normalise
from labeling.rules.mining import MIN_SUPPORT

_KIND = {
    KeywordRule.State.CANDIDATE: "info",
    KeywordRule.State.ACTIVE: "good",
    KeywordRule.State.DISABLED: "",
}


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """Normalises the keyword, and keeps rule and intent in one project."""

    class Meta:
        help_texts = {
            "pattern": _(
                "Found anywhere in Chinese; as whole words where a script has spaces."
            )
        }

    def clean_pattern(self) -> str:
        return normalise(self.cleaned_data["pattern"])

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        project = values.get("project") or getattr(self.instance, "project", None)
        intent: Intent | None = values.get("intent")
        if intent and project and intent.project_id != project.pk:
            self.add_error("intent", _("This intent is another project's."))
        return values


class MineForm(forms.Form):
    """Where to look for rules, and how often a keyword must occur."""

    project = forms.ModelChoiceField(
        Project.objects.none(), label=_("Project"), widget=UnfoldAdminSelectWidget
    )
    support = forms.IntegerField(
        min_value=1,
        initial=MIN_SUPPORT,
        label=_("Support"),
        help_text=_("Labelled questions that must hold a keyword."),
        widget=UnfoldAdminIntegerFieldWidget,
    )

    def __init__(self, *args: Any, projects: QuerySet[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["project"]
        field.queryset = projects
        if len(projects) == 1:
            field.initial = projects[0]


@admin.register(KeywordRule)
class KeywordRuleAdmin(ScopedAdmin):
    """Candidates wait for a manager; what is approved serves at once."""

    form = RuleForm
    role_to_view = Role.REVIEWER
    list_display = (
        "pattern",
        "intent_code",
        "project",
        "status",
        "support",
        "success",
        "lower_bound",
        "boost",
        "hits",
    )
    list_select_related = ("project", "intent")
    list_filter = (
        ProjectFilter,
        ("state", ChoicesDropdownFilter),
        IntentFilter,
        ("origin", ChoicesDropdownFilter),
    )
    search_fields = ("pattern",)
    ordering = ("-success_low", "-support", "pk")
    actions = ("approve", "disable")
    actions_list = ("mine",)
    actions_submit_line = ("approve_this", "disable_this")
    fields = (
        ("project", "intent"),
        ("pattern", "boost"),
        ("status", "origin", "hits"),
        ("support", "success", "lower_bound"),
        ("decided_by", "decided_at"),
    )
    readonly_fields = (
        *("status", "origin", "hits", "support", "success", "lower_bound"),
        *("decided_by", "decided_at"),
    )
    change_form_outer_after_template = "admin/labeling/rule_preview.html"

    @display(description=_("intent"), ordering="intent__code")
    def intent_code(self, obj: KeywordRule) -> str:
        return cells.codes([obj.intent.code])

    @display(description=_("state"), ordering="state")
    def status(self, obj: KeywordRule) -> str:
        state = KeywordRule.State(obj.state)
        return cells.badge(state.label, _KIND[state])

    @display(description=_("success rate"), ordering="success_rate")
    def success(self, obj: KeywordRule) -> str:
        return cells.bar(obj.success_rate)

    @display(description=_("lower bound"), ordering="success_low")
    def lower_bound(self, obj: KeywordRule) -> str:
        return cells.percent(obj.success_low)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "project") if obj else fields

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        if object_id and request.method == "GET":
            rule = self.get_object(request, object_id)
            if rule is not None:
                shown = rules.preview(rule)
                extra_context = {**(extra_context or {}), "preview": shown}
        return super().changeform_view(request, object_id, form_url, extra_context)

    def get_actions_submit_line(self, request: HttpRequest, object_id: Any) -> Any:
        """Offers what would change the rule's state."""
        state = KeywordRule.State.ACTIVE
        is_active = KeywordRule.objects.filter(pk=object_id, state=state).exists()
        useless = "approve_this" if is_active else "disable_this"
        return [
            one
            for one in super().get_actions_submit_line(request, object_id)
            if not one.action_name.endswith(useless)
        ]

    def save_model(
        self, request: HttpRequest, obj: KeywordRule, form: Any, change: bool
    ) -> None:
        if form.changed_data or not change:
            rules.save(obj)
        if not change:
            rules.approve([obj], by=signed_in(request))
            messages.info(request, _("Rules written by hand are live at once."))
            return
        for one in self.get_actions_submit_line(request, obj.pk):
            if one.action_name in request.POST:
                one.method(request, obj)

    def get_actions_list(self, request: HttpRequest) -> Any:
        may_mine = self.has_role(request, self.role_to_write)
        return super().get_actions_list(request) if may_mine else []

    @action(description=_("Look for rules"), url_path="mine", icon="manage_search")
    def mine(self, request: HttpRequest) -> HttpResponse:
        """Mines a project's labels; about a second for 10,000 questions."""
        mine = project_ids(request, self.role_to_write)
        form = MineForm(
            request.POST if request.method == "POST" else None,
            projects=Project.objects.filter(pk__in=mine),
        )
        if not mine:
            raise PermissionDenied
        if form.is_valid():
            project = form.cleaned_data["project"]
            found = rules.mine(project, support=form.cleaned_data["support"])
            messages.success(
                request,
                ngettext(
                    "%(n)d candidate waits for approval.",
                    "%(n)d candidates wait for approval.",
                    len(found),
                )
                % {"n": len(found)},
            )
            url = reverse("admin:labeling_keywordrule_changelist")
            return redirect(f"{url}?project={project.pk}&state__exact=candidate")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Look for rules"),
            "form": form,
        }
        return TemplateResponse(request, "admin/labeling/mine_rules.html", context)

    @action(description=_("Save and approve"))
    def approve_this(self, request: HttpRequest, obj: KeywordRule) -> None:
        self.approve(request, KeywordRule.objects.filter(pk=obj.pk))

    @action(description=_("Save and disable"))
    def disable_this(self, request: HttpRequest, obj: KeywordRule) -> None:
        self.disable(request, KeywordRule.objects.filter(pk=obj.pk))

    def delete_model(self, request: HttpRequest, obj: KeywordRule) -> None:
        rules.delete([obj])

    def delete_queryset(
        self, request: HttpRequest, queryset: QuerySet[KeywordRule]
    ) -> None:
        rules.delete(self.writable(request, queryset))

    @admin.action(description=_("Approve"), permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[KeywordRule]) -> None:
        n = rules.approve(self.writable(request, queryset), by=signed_in(request))
        messages.success(
            request,
            ngettext(
                "%(n)d rule approved; it is live.",
                "%(n)d rules approved; they are live.",
                n,
            )
            % {"n": n},
        )

    @admin.action(description=_("Disable"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[KeywordRule]) -> None:
        n = rules.disable(self.writable(request, queryset), by=signed_in(request))
        messages.success(
            request,
            ngettext(
                "%(n)d rule disabled; it no longer answers.",
                "%(n)d rules disabled; they no longer answer.",
                n,
            )
            % {"n": n},
        )
