"""The page of one evaluation, and the pages of its questions."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from labeling.models import Queue
from labeling.reports import progress
from labeling.reports.progress import OpenCount
from labeling.taxonomy import labelset
from labeling.views.choice import Choice
from registry.models import Evaluation
from training.reports import answers, calibration, figures, intents, matrix
from training.views import evaluation_access

PAIRS_SHOWN = 12


@dataclass(frozen=True)
class Pair:
    """A mistake that was made often."""

    cell: matrix.Cell
    queue: str
    """Where more questions between the two are labelled; empty if an intent is gone."""
    waiting: OpenCount | None
    """Open questions that this queue holds; None where there is no such queue."""


@login_required
@require_GET
def show(request: HttpRequest, evaluation_id: int) -> HttpResponse:
    """What a version was measured at; of the matrix alone for htmx."""
    evaluation = evaluation_access.evaluation_of(request, evaluation_id)
    shown = _matrix(request, evaluation)
    if request.headers.get("HX-Target") == "matrix":
        return render(request, "training/evaluation_matrix.html", shown)
    version, metrics = evaluation.version, evaluation.metrics
    multi = version.project.is_multi_intent
    context = evaluation_access.context(
        request,
        version,
        title=_("v%(n)d of %(project)s: %(kind)s")
        % {
            "n": version.number,
            "project": version.project,
            "kind": evaluation.source or evaluation.get_kind_display(),
        },
        headline=figures.headline(metrics, multi=multi),
        figures=figures.figures(metrics, multi=multi),
        **figures.beside(metrics),
        intents=intents.rows(metrics),
        plot=calibration.plot(metrics),
        pairs=_pairs(evaluation),
        **shown,
    )
    return render(request, "training/evaluation.html", context)


@login_required
@require_GET
def questions(request: HttpRequest, evaluation_id: int) -> HttpResponse:
    """The questions of a cell, of an intent, the wrong ones: a page at a time."""
    evaluation = evaluation_access.evaluation_of(request, evaluation_id)
    wanted = answers.Wanted.read(request.GET)
    rows, more = answers.page(evaluation, wanted)
    context = evaluation_access.context(
        request,
        evaluation.version,
        title=_("Questions of an evaluation of v%(n)d")
        % {"n": evaluation.version.number},
        evaluation=evaluation,
        wanted=wanted,
        rows=rows,
        more=more,
        first=wanted.but().query,
        codes=sorted(evaluation.metrics.get("per_intent") or {}),
        shows=_choices(
            wanted,
            "show",
            [
                (answers.ALL, _("All")),
                (answers.WRONG, _("Wrong")),
                (answers.RIGHT, _("Right")),
            ],
        ),
        orders=_choices(
            wanted,
            "order",
            [
                (answers.MEASURED, _("As measured")),
                (answers.SUREST, _("Surest first")),
                (answers.UNSUREST, _("Least sure first")),
            ],
        ),
    )
    return render(request, "training/evaluation_questions.html", context)


def _matrix(request: HttpRequest, evaluation: Evaluation) -> dict[str, Any]:
    chosen = [*request.GET.getlist("intent"), request.GET.get("add", "").strip()]
    around = request.GET.get("around", "").strip()
    codes = matrix.all_codes(evaluation.metrics)
    return {
        "evaluation": evaluation,
        "matrix": matrix.matrix(evaluation.metrics, chosen=chosen, around=around),
        "around": around if around in codes else "",
        "is_chosen": any(chosen) or bool(around),
        "codes": codes,
        "has_answers": evaluation.answers.exists(),
    }


def _pairs(evaluation: Evaluation) -> list[Pair]:
    """The most frequent mistakes and what waits in their queues. Two queries."""
    known = (evaluation.metrics.get("confusion") or [])[:PAIRS_SHOWN]
    most = known[0]["n"] if known else 0
    project = evaluation.version.project
    labels = labelset.of(project)
    choices = [
        Choice(Queue.PAIR, tuple(labels.named((pair["intent"], pair["answered"]))))
        for pair in known
    ]
    asked = {one.codes: one for one in choices if one.is_complete}
    open_counts = progress.between(
        project, labels, [(one.intents[0], one.intents[1]) for one in asked.values()]
    )
    waiting = dict(zip(asked, open_counts, strict=True))
    address = reverse("labeling:queue", args=[project.slug])
    return [
        Pair(
            matrix.Cell(
                pair["intent"],
                pair["answered"],
                pair["n"],
                round(100 * pair["n"] / most),
            ),
            address + choice.query if choice.is_complete else "",
            waiting.get(choice.codes),
        )
        for pair, choice in zip(known, choices, strict=True)
    ]


def _choices(
    wanted: answers.Wanted, field: str, named: list[tuple[str, str]]
) -> list[tuple[str, str, bool]]:
    """Words, address's query and whether it is the one that is shown."""
    return [
        (word, wanted.but(**{field: value}).query, getattr(wanted, field) == value)
        for value, word in named
    ]
