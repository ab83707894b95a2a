"""Addresses of the training pages."""

from django.urls import path

from training.views import (
    batch,
    evaluation,
    evaluation_against,
    evaluation_measure,
    evaluation_reports,
    export,
    presets,
    train,
)

app_name = "training"

urlpatterns = [
    path("recipes/presets/", presets.show, name="presets"),
    path("<slug:slug>/", train.train, name="train"),
    path("<slug:slug>/recipe/", train.recipe, name="recipe"),
    path("<slug:slug>/outlook/", train.outlook, name="outlook"),
    path("<slug:slug>/gate/", presets.gate_rules, name="gate-rules"),
    path("batches/<int:batch_id>/", batch.show, name="batch"),
    path("batches/<int:batch_id>/live/", batch.live, name="batch-live"),
    path("batches/<int:batch_id>/log/", batch.log, name="batch-log"),
    path("batches/<int:batch_id>/cancel/", batch.cancel, name="batch-cancel"),
    path("batches/<int:batch_id>/retry/", batch.retry, name="batch-retry"),
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
