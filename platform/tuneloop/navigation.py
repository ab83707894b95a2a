"""The sidebar: the loop, what it is set up with, and what to watch."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse, reverse_lazy
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from labeling import access
from labeling.models import Membership
from tuneloop import dashboard

_Permission = Callable[[HttpRequest], bool]

Role = Membership.Role


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Unfold's navigation: three groups; a person sees what they may open."""
    return [
        {
            "title": _("Loop"),
            "items": [
                _item(_("Dashboard"), "space_dashboard", "admin:index"),
                {
                    **_item(
                        _("Label"),
                        "label",
                        "labeling:queue",
                        _may("labeling.view_question"),
                    ),
                    "active": _is_queue,
                },
                *_in_project(
                    request, _("Label in bulk"), "select_all", "grid", Role.ANNOTATOR
                ),
                _page(_("Questions"), "forum", "labeling", "question"),
                *_in_project(
                    request, _("Quality"), "balance", "quality", Role.REVIEWER
                ),
                _page(_("Rules"), "rule", "labeling", "keywordrule"),
                _page(
                    _("Synthetic questions"),
                    "auto_fix_high",
                    "labeling",
                    "syntheticquestion",
                ),
                {
                    **_page(
                        _("Training"), "model_training", "training", "trainingbatch"
                    ),
                    "active": _is_training,
                },
                _page(_("Versions"), "deployed_code", "registry", "version"),
                {
                    **_page(_("Rollouts"), "science", "registry", "rollout"),
                    "active": _is_rollout,
                },
            ],
        },
        {
            "title": _("Set-up"),
            "separator": True,
            "items": [
                _page(_("Projects"), "folder", "labeling", "project"),
                _page(_("Intents"), "sell", "labeling", "intent"),
                _page(_("Imports and exports"), "swap_vert", "labeling", "transfer"),
                _page(_("Presets"), "tune", "training", "preset"),
                _page(_("Gate"), "checklist", "training", "gaterules"),
                _page(_("Thresholds and weights"), "instant_mix", "registry", "tuning"),
                _page(_("Members"), "group", "labeling", "membership"),
                _page(_("API keys"), "key", "labeling", "apikey"),
                _page(_("Accounts"), "person", "auth", "user"),
            ],
        },
        {
            "title": _("Watch"),
            "separator": True,
            "items": [
                _page(
                    _("Classification log"),
                    "receipt_long",
                    "registry",
                    "classificationlog",
                ),
                _page(_("Serving"), "dns", "registry", "servingprocess"),
                _page(_("Activations"), "history", "registry", "activation"),
                _page(_("Alarms"), "gpp_maybe", "registry", "alarm"),
                _page(_("Annotations"), "edit_note", "labeling", "annotation"),
                _page(_("Datasets"), "dataset", "labeling", "dataset"),
                _item(
                    _("Job queues"),
                    "work",
                    "admin:django_rq_dashboard_changelist",
                    _is_superuser,
                ),
            ],
        },
    ]


def _item(
    title: str | Promise,
    icon: str,
    url_name: str,
    permission: _Permission | None = None,
) -> dict[str, Any]:
    item: dict[str, Any] = {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(url_name),
    }
    if permission is not None:
        item["permission"] = permission
    return item


def _page(title: str | Promise, icon: str, app: str, model: str) -> dict[str, Any]:
    """A model's list, for whoever may view it."""
    return _item(
        title, icon, f"admin:{app}_{model}_changelist", _may(f"{app}.view_{model}")
    )


def _in_project(
    request: HttpRequest, title: str | Promise, icon: str, url_name: str, role: str
) -> list[dict[str, Any]]:
    """A page of the project that the person looks at, where they have the role."""
    standing = dashboard.looked_at(request)
    if standing is None or standing.role not in access.at_least(role):
        return []
    link = reverse(f"labeling:{url_name}", args=[standing.project.slug])
    return [{"title": title, "icon": icon, "link": link}]


def _may(permission: str) -> _Permission:
    return lambda request: request.user.has_perm(permission)


def _is_queue(request: HttpRequest) -> bool:
    """The grid and the quality page lie below the queue's address."""
    match = request.resolver_match
    return match is not None and match.view_name == "labeling:queue"


def _is_training(request: HttpRequest) -> bool:
    """The form and the batches' own pages belong to the list's entry, too."""
    match = request.resolver_match
    return match is not None and (
        match.namespace == "training"
        or match.url_name == "training_trainingbatch_changelist"
    )


def _is_rollout(request: HttpRequest) -> bool:
    """Replays belong to the rollouts' entry, too."""
    match = request.resolver_match
    return match is not None and (match.url_name or "").startswith(
        ("registry_rollout_", "registry_replay_")
    )


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_superuser)
