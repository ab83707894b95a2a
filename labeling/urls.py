"""Addresses of the labeling pages."""

from django.urls import path

from labeling.views import grid, quality, queue, reading, verdicts

app_name = "labeling"
urlpatterns = [
    # The queue page and what its scripts ask for.
    path("", queue.choose, name="queue"),
    path("<slug:slug>/", queue.page, name="queue"),
    path("<slug:slug>/next", queue.next_cards, name="next"),
    path("<slug:slug>/submit", verdicts.submit, name="submit"),
    path("<slug:slug>/adjudicate", verdicts.adjudicate, name="adjudicate"),
    path("<slug:slug>/skip", verdicts.skip, name="skip"),
    path("<slug:slug>/undo", verdicts.undo, name="undo"),
    path("<slug:slug>/renew", verdicts.renew, name="renew"),
    path("<slug:slug>/leave", verdicts.leave, name="leave"),
    path("<slug:slug>/queues", reading.queues, name="queues"),
    path("<slug:slug>/history", reading.history, name="history"),
    path("<slug:slug>/guideline", reading.guideline, name="guideline"),
    path("<slug:slug>/intents", reading.intents, name="intents"),
    # Many questions at once.
    path("<slug:slug>/grid", grid.page, name="grid"),
    path("<slug:slug>/grid/all", grid.everything, name="grid_all"),
    path("<slug:slug>/grid/preview", grid.preview, name="grid_preview"),
    path("<slug:slug>/grid/label", grid.label, name="grid_label"),
    path("<slug:slug>/grid/undo", grid.undo, name="grid_undo"),
    # How good the labels are.
    path("<slug:slug>/quality", quality.page, name="quality"),
    path("<slug:slug>/quality/look", quality.look, name="look_for_errors"),
]
