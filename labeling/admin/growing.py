"""Admin pages that make synthetic questions: a form, what it would do, the deed."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectMultipleWidget,
)

from labeling import access, growth, llm
from labeling.admin.scoped import Role, signed_in
from labeling.models import Intent, Project, Template

_ROWS = 10
"""Lines of the list of intents."""


def _number(label: Any, help_text: Any, *, initial: int, most: int) -> Any:
    return forms.IntegerField(
        min_value=1,
        max_value=most,
        initial=initial,
        label=label,
        help_text=help_text,
        widget=UnfoldAdminIntegerFieldWidget,
    )


class _GrowthForm(forms.Form):
    """Begins with some of a project's intents; none chosen means all."""

    intents = forms.ModelMultipleChoiceField(
        Intent.objects.none(),
        required=False,
        label=_("Intents"),
        help_text=_("None chosen: all of them."),
        widget=UnfoldAdminSelectMultipleWidget(attrs={"size": _ROWS}),
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["intents"]
        intents = Intent.objects.filter(project=project, retired_at=None)
        field.queryset = self.choosable(intents).order_by("code")
        field.label_from_instance = lambda one: f"{one.code} · {one.n}"
        field.widget.attrs["size"] = max(2, min(_ROWS, field.queryset.count()))

    def choosable(self, intents: QuerySet[Intent]) -> QuerySet[Any]:
        """The intents that have what is needed, with its number as `n`."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """What the form says, for the function that makes or previews."""
        values = dict(self.cleaned_data)
        values["intents"] = list(values["intents"]) or None
        return values

    def said(self) -> str:
        """The same as one word, to tell whether it was changed after a preview."""
        values = dict(self.cleaned_data)
        ids = sorted(intent.pk for intent in values.pop("intents"))
        return f"{ids} {sorted(values.items())}"


class MakeForm(_GrowthForm):
    """How much is made of the templates."""

    per_intent = _number(
        _("Questions an intent"),
        _("Fewer where the templates give no more."),
        initial=50,
        most=growth.MOST_AN_INTENT,
    )
    seed = _number(
        _("Seed"),
        _("Another number makes other questions of the same templates."),
        initial=1,
        most=2**31 - 1,
    )

    def choosable(self, intents: QuerySet[Intent]) -> QuerySet[Any]:
        templates = Template.objects.filter(intent=OuterRef("pk"))
        return intents.filter(Exists(templates)).annotate(n=Count("templates"))


class ParaphraseForm(_GrowthForm):
    """How much is asked of the language model."""

    per_question = _number(
        _("Paraphrases a question"),
        _("Near copies are left out afterwards."),
        initial=3,
        most=growth.MOST_EACH,
    )
    limit = _number(
        _("Questions to send"),
        _("At most; the intents take turns, questions without paraphrases first."),
        initial=50,
        most=growth.MOST_SENT,
    )

    def choosable(self, intents: QuerySet[Intent]) -> QuerySet[Any]:
        sent = Q(
            gold_labels__question__state="labelled",
            gold_labels__question__split="train",
        )
        return intents.annotate(n=Count("gold_labels", filter=sent)).filter(n__gt=0)


class _Page:
    """A form, what it would do, and the deed once that was seen and confirmed.

    A confirmation counts for what was shown: who changes the form sees it anew.
    """

    template: str
    title: Any
    form: type[_GrowthForm]

    def __init__(self, model_admin: Any) -> None:
        self._admin = model_admin

    def __call__(self, request: HttpRequest) -> HttpResponse:
        mine = access.projects_for(signed_in(request), role=Role.MANAGER)
        projects = list(mine.order_by("name"))
        if not projects:
            raise PermissionDenied
        project = self._project(request, projects)
        if project is None:
            return self._show(request, {"projects": projects})
        data = request.POST if request.method == "POST" else None
        form = self.form(data, project=project, initial=_initial(request))
        context: dict[str, Any] = {"project": project, "form": form}
        context["is_choice"] = len(projects) > 1
        if form.is_valid():
            try:
                if request.POST.get("confirmed") == form.said():
                    return self.do(request, project, form.arguments())
                context |= self.preview(project, form.arguments())
                context["said"] = form.said()
            except (ValidationError, growth.UnderWay) as error:
                form.add_error(None, _as_error(error))
        return self._show(request, context | self.about(project, form))

    def preview(self, project: Project, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What would be done, for the page; writes nothing."""
        raise NotImplementedError

    def do(
        self, request: HttpRequest, project: Project, arguments: Mapping[str, Any]
    ) -> HttpResponse:
        """Does it, and goes where it can be looked at."""
        raise NotImplementedError

    def about(self, project: Project, form: Any) -> dict[str, Any]:
        """What the page says whether or not anything was filled in."""
        has_intents = form.fields["intents"].queryset.exists()
        return {"has_intents": has_intents, "can_ask": has_intents}

    def _project(self, request: HttpRequest, projects: list[Project]) -> Project | None:
        """The one of the address, or the only one; None where one is to be chosen."""
        wanted = request.GET.get("project", "")
        if wanted.isdecimal():
            for project in projects:
                if project.pk == int(wanted):
                    return project
            raise PermissionDenied
        return projects[0] if len(projects) == 1 else None

    def _show(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self._admin.admin_site.name
        everywhere = self._admin.admin_site.each_context(request)
        opts = {"opts": self._admin.opts, "title": self.title}
        return TemplateResponse(
            request, self.template, {**everywhere, **opts, **context}
        )


class MakePage(_Page):
    """Questions of templates."""

    template = "admin/labeling/growth/make.html"
    title = _("Make synthetic questions")
    form = MakeForm

    def preview(self, project: Project, arguments: Mapping[str, Any]) -> dict[str, Any]:
        shown = growth.preview(project, **arguments)
        return {
            "shown": shown,
            "left_out": reasons(shown.filled.left_out),
            "wanted": arguments["per_intent"],
        }

    def do(
        self, request: HttpRequest, project: Project, arguments: Mapping[str, Any]
    ) -> HttpResponse:
        filled = growth.fill(project, **arguments, by=signed_in(request))
        text = ngettext(
            "%(n)d synthetic question made.",
            "%(n)d synthetic questions made.",
            filled.made,
        )
        messages.success(request, text % {"n": filled.made})
        url = reverse("admin:labeling_syntheticquestion_changelist")
        return redirect(f"{url}?project={project.pk}")


class ParaphrasePage(_Page):
    """Questions by the language model; what would be sent is said before."""

    template = "admin/labeling/growth/paraphrase.html"
    title = _("Paraphrase by a language model")
    form = ParaphraseForm

    def about(self, project: Project, form: Any) -> dict[str, Any]:
        about, server = super().about(project, form), llm.configured()
        can_ask = about["can_ask"] and server is not None
        return {**about, "server": server, "can_ask": can_ask}

    def preview(self, project: Project, arguments: Mapping[str, Any]) -> dict[str, Any]:
        sending = growth.preview_paraphrase(project, **arguments)
        return {
            "sending": sending,
            "per_question": arguments["per_question"],
            "more": len(sending.questions) - len(sending.examples),
        }

    def do(
        self, request: HttpRequest, project: Project, arguments: Mapping[str, Any]
    ) -> HttpResponse:
        run = growth.paraphrase(project, **arguments, by=signed_in(request))
        return redirect("admin:labeling_paraphrasing_change", run.pk)


def reasons(left_out: Mapping[str, int]) -> list[tuple[str, int]]:
    """Why how many were left out, in words, the most frequent first."""
    known = dict(growth.LeftOut.choices)
    rows = [(str(known.get(reason, reason)), n) for reason, n in left_out.items()]
    return sorted(rows, key=lambda row: -row[1])


def _initial(request: HttpRequest) -> dict[str, Any]:
    wanted = request.GET.get("intent", "")
    return {"intents": [wanted]} if wanted.isdecimal() else {}


def _as_error(error: Exception) -> ValidationError:
    if isinstance(error, ValidationError):
        return error
    return ValidationError(str(error))
