"""Addresses of the registry API."""

from django.urls import path

from registry.api import views

urlpatterns = [
    path("classify", views.ClassifyView.as_view(), name="classify"),
    path("feedback", views.FeedbackView.as_view(), name="feedback"),
    path("model-tuning/versions", views.VersionsView.as_view(), name="versions"),
    path(
        "model-tuning/versions/rollback", views.RollBackView.as_view(), name="roll-back"
    ),
    path(
        "model-tuning/versions/<int:number>/activate",
        views.ActivateView.as_view(),
        name="activate-version",
    ),
]
