"""Addresses of the training pages."""

from django.urls import path

from training.views import batch, train

app_name = "training"

urlpatterns = [
    path("<slug:slug>/", train.train, name="train"),
    path("batches/<int:batch_id>/", batch.show, name="batch"),
    path("batches/<int:batch_id>/live/", batch.live, name="batch-live"),
    path("batches/<int:batch_id>/cancel/", batch.cancel, name="batch-cancel"),
    path("batches/<int:batch_id>/retry/", batch.retry, name="batch-retry"),
]
