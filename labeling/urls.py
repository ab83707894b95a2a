"""Addresses of the labeling pages."""

from django.urls import path

from labeling.views import queue

app_name = "labeling"
urlpatterns = [
    path("", queue.choose, name="queue"),
    path("<slug:slug>/", queue.page, name="queue"),
    path("<slug:slug>/submit", queue.submit, name="submit"),
    path("<slug:slug>/skip", queue.skip, name="skip"),
    path("<slug:slug>/undo", queue.undo, name="undo"),
    path("<slug:slug>/renew", queue.renew, name="renew"),
]
