"""Addresses of the training API."""

from django.urls import path

from training.api import views

urlpatterns = [
    path("model-tuning/batches", views.BatchesView.as_view(), name="api-batches"),
    path(
        "model-tuning/batches/<int:batch_id>",
        views.BatchView.as_view(),
        name="api-batch",
    ),
    path(
        "model-tuning/batches/<int:batch_id>/run",
        views.BatchRunView.as_view(),
        name="api-batch-run",
    ),
    path(
        "model-tuning/versions/<int:number>/evaluate",
        views.EvaluateView.as_view(),
        name="api-version-evaluate",
    ),
]
