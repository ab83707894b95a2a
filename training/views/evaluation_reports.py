"""An evaluation to take away: as JSON, and as one HTML file that needs nothing else."""

import json
from pathlib import Path

from django.contrib.auth.decorators import login_required
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from registry.admin.evaluation import provenance
from registry.models import Evaluation
from training.reports import calibration, figures, intents, matrix
from training.reports.document import document
from training.views import evaluation_access

_STYLE = "tuneloop/evaluation.css"


@login_required
@require_GET
def as_json(request: HttpRequest, evaluation_id: int) -> HttpResponse:
    """Metrics and provenance; `training.reports.document` says what the keys mean."""
    evaluation = evaluation_access.evaluation_of(request, evaluation_id)
    text = json.dumps(document(evaluation), ensure_ascii=False, indent=2)
    return _download(HttpResponse(text, "application/json"), evaluation, "json")


@login_required
@require_GET
def as_html(request: HttpRequest, evaluation_id: int) -> HttpResponse:
    """A page that prints well, with its style and pictures inside, in the reader's
    language. Like the JSON it names no question."""
    evaluation = evaluation_access.evaluation_of(request, evaluation_id)
    version, metrics = evaluation.version, evaluation.metrics
    context = {
        "evaluation": evaluation,
        "version": version,
        "project": version.project,
        "style": _style(),
        "figures": figures.figures(metrics, multi=version.project.is_multi_intent),
        **figures.beside(metrics),
        "intents": intents.rows(metrics),
        "plot": calibration.plot(metrics),
        "matrix": matrix.matrix(metrics),
        "confusion": (metrics.get("confusion") or [])[:20],
        "provenance": provenance(version),
        "reasons": version.gate_reasons,
    }
    response = render(request, "training/evaluation_report.html", context)
    return _download(response, evaluation, "html")


def _style() -> str:
    found = finders.find(_STYLE)
    if not isinstance(found, str):
        raise FileNotFoundError(_STYLE)
    return Path(found).read_text(encoding="utf-8")


def _download(
    response: HttpResponse, evaluation: Evaluation, suffix: str
) -> HttpResponse:
    version = evaluation.version
    name = f"{version.project.slug}-v{version.number}-{evaluation.pk}.{suffix}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
