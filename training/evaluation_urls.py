"""Addresses of the pages of evaluations, below those of training."""

from django.urls import path

from training.views import (
    evaluation,
    evaluation_against,
    evaluation_measure,
    evaluation_reports,
    export,
)

urlpatterns = [
    path("evaluations/<int:evaluation_id>/", evaluation.show, name="evaluation"),
    path(
        "evaluations/<int:evaluation_id>/questions/",
        evaluation.questions,
        name="evaluation-questions",
    ),
    path(
        "evaluations/<int:evaluation_id>/against/",
        evaluation_against.default,
        name="evaluation-default",
    ),
    path(
        "evaluations/<int:evaluation_id>/against/<int:other_id>/",
        evaluation_against.show,
        name="evaluation-against",
    ),
    path(
        "evaluations/<int:evaluation_id>/report.json",
        evaluation_reports.as_json,
        name="evaluation-json",
    ),
    path(
        "evaluations/<int:evaluation_id>/report.html",
        evaluation_reports.as_html,
        name="evaluation-report",
    ),
    path(
        "versions/<int:version_id>/measure/",
        evaluation_measure.measure,
        name="measure",
    ),
    path(
        "versions/<int:version_id>/measure/live/",
        evaluation_measure.live,
        name="measure-live",
    ),
    path("versions/<int:version_id>/export/", export.download, name="version-export"),
]
