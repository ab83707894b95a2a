"""Admin pages of questions: every distinct text that was asked or imported."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultiple, UnfoldAdminSelectWidget

from labeling import access
from labeling.admin import cells
from labeling.admin.question_filters import (
    ConfidenceFilter,
    DuplicateFilter,
    GoldIntentFilter,
    LearnedFilter,
)
from labeling.admin.question_inlines import (
    AnnotationInline,
    GoldInline,
    HistoryInline,
)
from labeling.admin.scoped import (
    CappedPaginator,
    ProjectFilter,
    ReadOnlyAdmin,
    Role,
    project_ids,
    signed_in,
)
from labeling.exchange import QuestionExchange
from labeling.labels import annotations
from labeling.models import GoldLabel, Intent, Question
from labeling.search import clusters, substrings

_KIND = {
    Question.State.OPEN: "info",
    Question.State.LABELLED: "good",
    Question.State.SKIPPED: "",
    Question.State.DISPUTED: "warn",
}


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
        DuplicateFilter,
        ("origin", ChoicesDropdownFilter),
    )
    search_fields = ("text",)
    search_help_text = _("Any part of a text")
    ordering = ("-id",)
    sortable_by = ("confidence_bar",)
    list_select_related = ("project",)
    paginator = CappedPaginator
    inlines = (GoldInline, AnnotationInline, HistoryInline)
    actions_detail = ("like_this", "relabel")
    fields = (
        "text",
        ("project", "status", "split", "origin"),
        ("predicted_all", "confidence_bar", "margin"),
        "said",
        ("method", "predicted_by", "priority"),
        "near_duplicates",
        ("occurrences", "first_seen", "last_seen"),
        ("labelled_at", "trained_in"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Question]:
        return super().get_queryset(request).prefetch_related("gold_labels__intent")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Any part of a text; says so where it could not look at all of them."""
        projects = project_ids(request)
        chosen = request.GET.get(ProjectFilter.parameter_name, "")
        if chosen.isdecimal():
            projects &= {int(chosen)}
        found = substrings.find(queryset, search_term, projects=projects)
        if found.is_capped:
            most = number_format(substrings.MOST, force_grouping=True)
            told = gettext("Very many texts match: only the newest %(n)s were taken.")
            messages.info(request, told % {"n": most})
        elif found.is_cut:
            told = gettext("The search ran out of time before the oldest questions.")
            messages.info(request, told)
        return found.questions, False

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        question = self.get_object(request, str(object_id))
        if question is None:
            return []
        may_label = self.has_role(request, Role.REVIEWER, question)
        return [
            one
            for one in super().get_actions_detail(request, object_id)
            if may_label or not one.action_name.endswith("relabel")
        ]

    @action(description=_("Questions like this"), url_path="like", icon="join_inner")
    def like_this(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """To the grid with the questions that are nearest to this one."""
        question = self.get_object(request, object_id)
        if question is None:
            raise Http404
        return redirect(_grid(question, like=question.pk))

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

    @display(description=_("decision trace"))
    def said(self, obj: Question) -> str:
        """What model, rules and LLM named; not of a question to be labelled blind."""
        if obj.split == Question.Split.TEST and obj.state == Question.State.OPEN:
            return cells.badge(gettext("hidden until it is labelled"))
        trace = obj.trace or {}
        sides = [
            (gettext("model"), trace.get("model"), ""),
            (gettext("rules"), trace.get("rules"), "pattern"),
            (gettext("LLM"), trace.get("llm") and [{"code": trace["llm"]}], ""),
        ]
        return (
            format_html_join(
                "",
                "<div>{}: {}</div>",
                ((name, _named(said, about)) for name, said, about in sides if said),
            )
            or cells.NOTHING
        )

    @display(description=_("near-duplicates"))
    def near_duplicates(self, obj: Question) -> str:
        others = clusters.size(obj) - 1
        if not others:
            return cells.NOTHING
        return format_html(
            '<a class="tl-link" href="{}">{}</a>',
            _grid(obj, cluster=obj.pk),
            number_format(others, force_grouping=True),
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


def _grid(question: Question, **query: int) -> str:
    return reverse(
        "labeling:grid", args=[question.project.slug], query={**query, "state": "any"}
    )


def _named(said: list[dict[str, Any]], about: str) -> SafeString:
    """Codes with their confidences, and what spoke for each."""
    return cells.codes(
        " ".join(
            filter(
                None,
                (
                    one["code"],
                    cells.percent(one["confidence"]) if "confidence" in one else "",
                    f"“{one[about]}”" if one.get(about) else "",
                ),
            )
        )
        for one in said
    )
