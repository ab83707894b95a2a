"""Admin pages of questions: every distinct text that was asked or imported."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultiple, UnfoldAdminSelectWidget

from labeling import access, annotations
from labeling.admin import cells
from labeling.admin.scoped import (
    CappedPaginator,
    IntentFilter,
    ProjectFilter,
    ReadOnlyAdmin,
    Role,
    ScopedFilter,
    newest,
    signed_in,
)
from labeling.exchange import QuestionExchange
from labeling.models import Annotation, GoldLabel, Intent, Question

_KIND = {
    Question.State.OPEN: "info",
    Question.State.LABELLED: "good",
    Question.State.SKIPPED: "",
    Question.State.DISPUTED: "warn",
}


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


class RelabelForm(forms.Form):
    """The right intent of a question, or several where the project has several."""

    def __init__(self, *args: Any, question: Question, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_multi = question.project.is_multi_intent
        kind: type[Any] = forms.ModelChoiceField
        widget: type[Any] = UnfoldAdminSelectWidget
        if self._is_multi:
            kind = forms.ModelMultipleChoiceField
            widget = UnfoldAdminCheckboxSelectMultiple
        now = [label.intent_id for label in question.gold_labels.all()]
        self.fields["intents"] = kind(
            question.project.intents.filter(retired_at=None),
            label=_("Intents") if self._is_multi else _("Intent"),
            initial=now if self._is_multi else next(iter(now), None),
            required=not self._is_multi,
            widget=widget,
        )

    def chosen(self) -> list[Intent]:
        """What was chosen, as a list."""
        chosen = self.cleaned_data["intents"]
        return list(chosen) if self._is_multi else [chosen]

    def codes(self) -> str:
        """What was chosen, in words."""
        return ", ".join(i.code for i in self.chosen()) or gettext("none")


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


@admin.register(Question)
class QuestionAdmin(QuestionExchange, ReadOnlyAdmin):
    """Questions are made by intake and labelled in the queue; here they are found."""

    list_display = (
        "short_text",
        "gold_codes",
        "predicted_code",
        "confidence_bar",
        "status",
        "split",
        "occurrences",
        "seen",
    )
    list_filter = (
        ProjectFilter,
        ("state", ChoicesDropdownFilter),
        ("split", ChoicesDropdownFilter),
        GoldIntentFilter,
        ConfidenceFilter,
        LearnedFilter,
        ("origin", ChoicesDropdownFilter),
    )
    search_fields = ("text",)
    search_help_text = _("Part of a text, in the newest 100,000")
    ordering = ("-id",)
    sortable_by = ("confidence_bar",)
    list_select_related = ("project",)
    paginator = CappedPaginator
    inlines = (GoldInline, AnnotationInline)
    actions_detail = ("relabel",)
    fields = (
        "text",
        ("project", "status", "split", "origin"),
        ("predicted_all", "confidence_bar", "margin"),
        ("method", "predicted_by", "priority"),
        ("occurrences", "first_seen", "last_seen"),
        ("labelled_at", "trained_in"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Question]:
        return super().get_queryset(request).prefetch_related("gold_labels__intent")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Looks at the newest `SEARCHED` questions of what is filtered."""
        if search_term:
            queryset = newest(queryset)
        found: tuple[QuerySet[Any], bool] = super().get_search_results(
            request, queryset, search_term
        )
        return found

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        question = self.get_object(request, str(object_id))
        if question is None or not self.has_role(request, Role.REVIEWER, question):
            return []
        return super().get_actions_detail(request, object_id)

    @action(description=_("Set the label"), url_path="relabel", icon="gavel")
    def relabel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A reviewer settles a dispute or corrects a wrong label."""
        question = self.get_object(request, object_id)
        if question is None:
            raise Http404
        access.require(request.user, question.project, Role.REVIEWER)
        form = RelabelForm(
            request.POST if request.method == "POST" else None, question=question
        )
        if form.is_valid():
            annotations.set_gold(
                question,
                form.chosen(),
                source=GoldLabel.Source.ADJUDICATION,
                by=signed_in(request),
            )
            message = gettext("Label set: %(codes)s.") % {"codes": form.codes()}
            self.log_change(request, question, message)
            messages.success(request, message)
            return redirect("admin:labeling_question_change", question.pk)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": question,
            "title": gettext("Set the label"),
            "question": question,
            "verdicts": question.annotations.select_related(
                "annotator"
            ).prefetch_related("intents"),
            "form": form,
        }
        return TemplateResponse(request, "admin/labeling/relabel.html", context)

    @display(description=_("text"))
    def short_text(self, obj: Question) -> str:
        return cells.long_text(obj.text)

    @display(description=_("gold"))
    def gold_codes(self, obj: Question) -> str:
        return cells.codes(label.intent.code for label in obj.gold_labels.all())

    @display(description=_("predicted"))
    def predicted_code(self, obj: Question) -> str:
        return cells.predicted(obj.predicted)

    @display(description=_("predicted"))
    def predicted_all(self, obj: Question) -> str:
        return cells.codes(
            f"{one['code']} {cells.percent(one.get('confidence'))}"
            for one in obj.predicted or ()
        )

    @display(description=_("confidence"), ordering="confidence")
    def confidence_bar(self, obj: Question) -> str:
        return cells.bar(obj.confidence, low=obj.project.low_confidence)

    @display(description=_("last seen"))
    def seen(self, obj: Question) -> str:
        return cells.moment(obj.last_seen)

    @display(description=_("state"))
    def status(self, obj: Question) -> str:
        state = Question.State(obj.state)
        return cells.badge(state.label, _KIND[state])
