"""Changes of a label set take turns, and say in the admin's history who did them."""

from collections.abc import Iterable

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.utils.translation import gettext as _

from labeling.intake import staging
from labeling.models import Intent, IntentAlias, Project


class TaxonomyChanged(RuntimeError):
    """Somebody else changed the label set meanwhile; the message says how."""


def take_turn(project_id: int) -> Project:
    """Locks the project's label set, in the caller's transaction, and returns the row.

    Codes and aliases share one namespace over two tables, which no constraint spans:
    changes of a project's label set queue here. So do an import's chunks, which write
    intents that they resolved before.
    """
    with connection.cursor() as cursor:
        # In the order in which an import that creates intents takes the two.
        staging.lock(cursor, project_id)
    return Project.objects.select_for_update(no_key=True).get(pk=project_id)


def still_there(intents: Iterable[Intent]) -> list[Intent]:
    """The intents as they are now, in order. At most two queries.

    Raises:
        TaxonomyChanged: One of them was merged away.
    """
    wanted = list(intents)
    now = Intent.objects.in_bulk([intent.pk for intent in wanted])
    for intent in wanted:
        if intent.pk not in now:
            raise TaxonomyChanged(_what_became_of(intent))
    return [now[intent.pk] for intent in wanted]


def _what_became_of(intent: Intent) -> str:
    alias = (
        IntentAlias.objects.select_related("intent", "created_by")
        .filter(project_id=intent.project_id, code=intent.code)
        .first()
    )
    if alias is None:
        return _("“%(code)s” is no intent any more.") % {"code": intent.code}
    words = {
        "code": intent.code,
        "target": alias.intent.code,
        "by": alias.created_by or "",
    }
    if alias.created_by is None:
        return _("“%(code)s” has been merged into “%(target)s” meanwhile.") % words
    return (
        _("%(by)s has merged “%(code)s” into “%(target)s” meanwhile: look again.")
        % words
    )


def note(row: Model, by: User | None, message: str, *, flag: int = CHANGE) -> None:
    """Leaves a change in the row's history in the admin."""
    if by is not None:
        LogEntry.objects.log_actions(
            user_id=by.pk,
            queryset=[row],
            action_flag=flag,
            change_message=message,
            single_object=True,
        )
