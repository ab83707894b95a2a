"""Tells people what the guard did: by e-mail, to a web address, in the admin."""

import json
import logging
import urllib.request
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import send_mail
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.models import Membership
from registry.models import Activation, Alarm, Rollout
from registry.rollout.guard import Finding, Rate

_TIMEOUT_S = 5.0
_TRIES = 3
_LATE = timedelta(hours=1)
"""An alarm that was not sent by then is history; the admin still shows it."""
NO_EMAIL = "django.core.mail.backends.dummy.EmailBackend"

_logger = logging.getLogger(__name__)


def unread(project_ids: set[int]) -> QuerySet[Alarm]:
    """What nobody has read yet in these projects, the newest first."""
    rows = Alarm.objects.filter(project__in=project_ids, read_at=None)
    return rows.select_related(
        "project", "activation__version", "rollback__version", "rollout__version"
    )


def read(alarm: Alarm, *, by: User) -> None:
    """Takes the alarm off the pages of all."""
    Alarm.objects.filter(pk=alarm.pk, read_at=None).update(read_at=Now(), read_by=by)


def what_happened(alarm: Alarm) -> str:
    """What was done, in a sentence in the reader's language."""
    if alarm.rollout is not None:
        return _("The canary v%(n)d of %(project)s was ended.") % {
            "n": alarm.rollout.version.number,
            "project": alarm.project,
        }
    assert alarm.activation is not None
    names = {"n": alarm.activation.version.number, "project": alarm.project}
    if alarm.rollback is None:
        return (
            _("v%(n)d of %(project)s should be rolled back, and could not.") % names
            + f" {alarm.problem}"
        )
    names["to"] = alarm.rollback.version.number
    return _("v%(n)d of %(project)s was rolled back to v%(to)d.") % names


def why(alarm: Alarm) -> str:
    """What became worse, in a sentence in the reader's language."""
    before = Rate(round(alarm.before * alarm.n_before), alarm.n_before)
    after = Rate(round(alarm.after * alarm.n_after), alarm.n_after)
    return Finding(alarm.measure, before, after).sentence()


def reason(done: Activation | Rollout) -> str:
    """Why a version was activated or rolled back, or why a rollout was ended.

    What the guard did is said in the reader's language, the rest as people wrote it.

    Cost: one query where a version was rolled back by itself, unless `alarms_behind`
        is prefetched; one for a rollout, unless `alarm` is selected.
    """
    if isinstance(done, Rollout):
        alarm = getattr(done, "alarm", None)
        return done.end_reason if alarm is None else why(alarm)
    found = list(done.alarms_behind.all()) if done.is_automatic else []
    return why(found[0]) if found else done.reason


def send_due() -> int:
    """Sends what was not sent yet, each alarm once; how many.

    Cost: one query; an alarm waits for the mail server and the web address.
    """
    due = Alarm.objects.filter(
        notified_at=None, created_at__gt=timezone.now() - _LATE
    ).select_related(
        "project", "activation__version", "rollback__version", "rollout__version"
    )
    return sum(_send(alarm) for alarm in due)


def _send(alarm: Alarm) -> bool:
    # Claimed first: two processes must not both write to everybody.
    mine = Alarm.objects.filter(pk=alarm.pk, notified_at=None)
    if not mine.update(notified_at=Now()):
        return False
    for channel in (_by_email, _to_webhook):
        for turn in range(1, _TRIES + 1):
            try:
                channel(alarm)
                break
            except Exception:
                _logger.warning("alarm %s: try %s", alarm.pk, turn, exc_info=True)
    return True


def _by_email(alarm: Alarm) -> None:
    if settings.EMAIL_BACKEND == NO_EMAIL:
        return
    managers = User.objects.filter(
        memberships__project=alarm.project,
        memberships__role=Membership.Role.MANAGER,
        is_active=True,
    ).exclude(email="")
    for address in sorted(set(managers.values_list("email", flat=True))):
        # One letter each: members need not know each other's addresses.
        send_mail(
            what_happened(alarm),
            f"{what_happened(alarm)}\n\n{why(alarm)}\n",
            None,
            [address],
        )


def _to_webhook(alarm: Alarm) -> None:
    if not settings.ALERT_WEBHOOK.startswith(("http://", "https://")):
        return
    request = urllib.request.Request(  # noqa: S310 (the scheme was looked at)
        settings.ALERT_WEBHOOK,
        data=json.dumps(as_json(alarm)).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()  # noqa: S310


def as_json(alarm: Alarm) -> dict[str, Any]:
    """What the web address is sent; `text` is what chat programs show."""
    version = (alarm.activation or alarm.rollout).version  # type: ignore[union-attr]
    return {
        "event": "canary_ended" if alarm.rollout else "rolled_back",
        "text": f"{what_happened(alarm)} {why(alarm)}",
        "project": alarm.project.slug,
        "version": version.number,
        "rolled_back_to": alarm.rollback.version.number if alarm.rollback else None,
        "measure": alarm.measure,
        "before": alarm.before,
        "after": alarm.after,
        "n_before": alarm.n_before,
        "n_after": alarm.n_after,
        "problem": alarm.problem,
        "at": alarm.created_at.isoformat(),
    }
