"""Addresses of the training pages."""

from django.urls import include, path

from training.views import batch, presets, train

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
    path("", include("training.evaluation_urls")),
]
