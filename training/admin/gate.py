"""Admin pages of the gate's rules: what a project asks of a version."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from labeling.admin import cells
from labeling.admin.scoped import ProjectFilter, Role, ScopedAdmin, project_ids
from labeling.models import Project
from training.models import GateRules


class GateRulesForm(forms.ModelForm):  # type: ignore[type-arg]
    """Every rule with what it means, in which unit, and what an empty one does."""

    class Meta:
        model = GateRules
        fields = (
            *("project", "min_test_questions", "beats_floor", "min_agreement"),
            *("max_macro_f1_loss", "max_intent_loss", "max_forgetting"),
            *("max_calibration_loss", "max_out_of_scope_loss"),
        )
        help_texts = {
            "max_macro_f1_loss": _(
                "Against the active version, beyond what chance explains. 0.01 is one"
                " point."
            ),
            "max_intent_loss": _(
                "Of an intent with enough test questions, if it is no accident. 0.1 are"
                " ten points. Empty: not asked."
            ),
            "max_forgetting": _(
                "All intents that the active version knew, together. 0.01 is one point."
                " Empty: not asked."
            ),
            "max_calibration_loss": _(
                "How much further its confidence may be from how often it is right,"
                " against the active version. 0.01 is one point. Empty: not asked."
            ),
            "max_out_of_scope_loss": _(
                "Against the active version: how well it finds the questions outside"
                " all intents. 0.01 is one point. Empty: not asked."
            ),
            "min_agreement": _(
                "Share of questions on which the small model that serves answers like"
                " the exact one. 0.98 are 98 of 100."
            ),
        }


@admin.register(GateRules)
class GateRulesAdmin(ScopedAdmin):
    """One row a project at most; deleting it brings the defaults back.

    Managers of the project look at its rules and change them; nobody else does. The
    verdicts that stand do not change: a version is judged by the rules of the moment
    when it is measured.
    """

    form = GateRulesForm
    role_to_view = Role.MANAGER
    list_display = (
        "project",
        "min_test_questions",
        "beats_floor",
        "macro_f1",
        "intent",
        "forgetting",
        "agreement",
    )
    list_select_related = ("project",)
    list_filter = (ProjectFilter,)
    ordering = ("project__name",)
    list_before_template = "training/gate_rules_before.html"
    fieldsets = (
        (None, {"fields": ("project",)}),
        (
            _("Is it good?"),
            {
                "description": _("Asked of every version."),
                "fields": ("min_test_questions", "beats_floor", "min_agreement"),
            },
        ),
        (
            _("Is it no worse than what serves?"),
            {
                "description": _(
                    "Asked of a version when another one is active; both answer the"
                    " same test questions."
                ),
                "fields": (
                    "max_macro_f1_loss",
                    "max_intent_loss",
                    "max_forgetting",
                    "max_calibration_loss",
                    "max_out_of_scope_loss",
                ),
            },
        ),
    )

    @display(description=_("macro-F1 lost"))
    def macro_f1(self, obj: GateRules) -> str:
        return cells.percent(obj.max_macro_f1_loss, digits=1)

    @display(description=_("an intent's loss"))
    def intent(self, obj: GateRules) -> str:
        return cells.percent(obj.max_intent_loss, digits=1)

    @display(description=_("forgetting"))
    def forgetting(self, obj: GateRules) -> str:
        return cells.percent(obj.max_forgetting, digits=1)

    @display(description=_("agreement"))
    def agreement(self, obj: GateRules) -> str:
        return cells.percent(obj.min_agreement, digits=1)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("project",) if obj else ()

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "project":
            mine = Q(pk__in=project_ids(request, self.role_to_write))
            kwargs["queryset"] = Project.objects.filter(mine, gate_rules=None)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)
