"""Measuring a version: on what, and how far it is."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget

from labeling import background, formats
from labeling.admin import cells
from labeling.models import Project
from registry.models import Evaluation, Version
from training import evaluation
from training.models import EvaluationRun
from training.views import evaluation_access, pages

RUNS_SHOWN = 10
COUNT_AT_MOST = 10_000

Kind = Evaluation.Kind
State = EvaluationRun.State
_OPEN = (State.QUEUED, State.RUNNING)
_STATE_KIND = {
    State.QUEUED: "",
    State.RUNNING: "info",
    State.DONE: "good",
    State.FAILED: "bad",
}


class MeasureForm(forms.Form):
    """What to measure on."""

    kind = forms.ChoiceField(choices=Kind.choices)
    file = forms.FileField(
        required=False,
        label=gettext_lazy("File"),
        help_text=gettext_lazy(
            'JSONL with {"text": …, "label": …} a line, or CSV or XLSX with the columns'
            " text and label; several labels in a cell are separated by |."
        ),
        widget=UnfoldAdminFileFieldWidget(
            attrs={"accept": ".jsonl,.ndjson,.json,.csv,.xlsx,.yml,.yaml"}
        ),
    )
    encoding = forms.ChoiceField(
        required=False,
        label=gettext_lazy("Encoding"),
        choices=[(name, name.upper()) for name in formats.ENCODINGS],
        widget=UnfoldAdminSelectWidget(
            choices=[(name, name.upper()) for name in formats.ENCODINGS]
        ),
    )


@dataclass(frozen=True)
class Choice:
    """Something to measure on, as the page offers it."""

    kind: str
    title: str | Promise
    text: str
    n: int | None
    """Questions that there are, at most `COUNT_AT_MOST`; None where a file says it."""
    is_chosen: bool

    @property
    def is_possible(self) -> bool:
        """Whether there is anything to measure on."""
        return self.n != 0

    @property
    def has_more(self) -> bool:
        """Whether there are more than were counted."""
        return (self.n or 0) >= COUNT_AT_MOST


@dataclass(frozen=True)
class Line:
    """A measurement that was asked for."""

    run: EvaluationRun
    badge: SafeString


@login_required
@require_http_methods(["GET", "POST"])
def measure(request: HttpRequest, version_id: int) -> HttpResponse:
    """Asks on what, and starts it."""
    version = evaluation_access.version_of(request, version_id)
    form = MeasureForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        is_file = values["kind"] == Kind.FILE
        try:
            evaluation.request(
                version,
                kind=values["kind"],
                file=values["file"] if is_file else None,
                encoding=values["encoding"] or "utf-8",
                by=pages.person(request),
            )
        except (evaluation.RequestError, formats.Unreadable) as error:
            form.add_error("file" if is_file else None, str(error))
        else:
            messages.success(request, _("The measurement is on the queue."))
            return redirect("training:measure", version.pk)
    context = evaluation_access.context(
        request,
        version,
        title=_("Measure v%(n)d of %(project)s")
        % {"n": version.number, "project": version.project},
        form=form,
        choices=_choices(version.project, str(form["kind"].value() or "")),
        max_mb=settings.LABELING_MAX_UPLOAD_MB,
        **_live(version),
    )
    return render(request, "training/evaluation_measure.html", context)


@login_required
@require_GET
def live(request: HttpRequest, version_id: int) -> HttpResponse:
    """The list of measurements alone, while one of them is not finished."""
    version = evaluation_access.version_of(request, version_id)
    return render(
        request, "training/evaluation_runs.html", {"version": version, **_live(version)}
    )


def _live(version: Version) -> dict[str, Any]:
    """One query, and one look at RQ while something waits."""
    runs = version.evaluation_runs.select_related("evaluation", "by").order_by("-pk")
    lines = [
        Line(run, cells.badge(State(run.state).label, _STATE_KIND[State(run.state)]))
        for run in runs[:RUNS_SHOWN]
    ]
    states = {line.run.state for line in lines}
    return {
        "lines": lines,
        "is_open": bool(states & set(_OPEN)),
        "workers": background.workers() if State.QUEUED in states else None,
        "is_waiting": State.QUEUED in states,
    }


def _choices(project: Project, chosen: str) -> list[Choice]:
    """Two queries that count no further than anybody wants to know."""
    test = evaluation.test_questions(project).values("pk")[:COUNT_AT_MOST].count()
    blind = evaluation.audit_questions(project).values("pk")[:COUNT_AT_MOST].count()
    words = {
        Kind.TEST: _("All labelled test questions; they were never trained on."),
        Kind.AUDIT: _(
            "The test questions that users asked and people labelled blind, without"
            " seeing an answer: what production looks like."
        ),
        Kind.FILE: _("Questions with their right intents, from a file of your own."),
    }
    counts = {Kind.TEST: test, Kind.AUDIT: blind, Kind.FILE: None}
    possible = [kind for kind, n in counts.items() if n != 0]
    first = chosen if chosen in possible else possible[0]
    return [
        Choice(kind, kind.label, words[kind], n, is_chosen=kind == first)
        for kind, n in counts.items()
    ]
