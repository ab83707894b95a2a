"""Addresses of the labeling API."""

from django.urls import path

import labeling.api.schema  # noqa: F401  registers itself with drf-spectacular
from labeling.api import views

urlpatterns = [
    path("model-tuning/stats", views.StatsView.as_view(), name="stats"),
    path(
        "model-tuning/questions/unlabeled",
        views.UnlabeledView.as_view(),
        name="unlabeled-questions",
    ),
    path(
        "model-tuning/questions/<int:question_id>/label",
        views.LabelView.as_view(),
        name="label-question",
    ),
    path(
        "model-tuning/keywords/extract",
        views.ExtractKeywordsView.as_view(),
        name="extract-keywords",
    ),
]
