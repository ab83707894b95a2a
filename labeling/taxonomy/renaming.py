"""Gives an intent a new code; clients may go on sending the old one."""

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from labeling import revision
from labeling.models import Intent, IntentAlias
from labeling.taxonomy.audit import note, still_there, take_turn


@transaction.atomic
def rename(intent: Intent, *, code: str, by: User | None) -> Intent:
    """Gives an intent a new code; the old one becomes an alias that clients may send.

    Raises:
        ValidationError: The code is empty, too long, or names another intent.
        TaxonomyChanged: The intent was merged away.
    """
    take_turn(intent.project_id)
    (intent,) = still_there([intent])
    old, intent.code = intent.code, code.strip()
    if intent.code == old:
        return intent
    check_code(intent)
    # Going back to a code that it once had.
    intent.aliases.filter(code=intent.code).delete()
    intent.save(update_fields=["code"])
    IntentAlias.objects.create(
        project_id=intent.project_id, code=old, intent=intent, created_by=by
    )
    message = _("Renamed from %(old)s to %(new)s.")
    note(intent, by, message % {"old": old, "new": intent.code})
    revision.bump(intent.project_id)
    return intent


def check_code(intent: Intent) -> None:
    """Raises ValidationError unless the intent may have the code that it has now."""
    intent.clean_fields(exclude=["parent", "project"])
    same = {"project_id": intent.project_id, "code": intent.code}
    if (
        Intent.objects.filter(**same).exclude(pk=intent.pk).exists()
        or IntentAlias.objects.filter(**same).exclude(intent=intent.pk).exists()
    ):
        raise ValidationError(
            {"code": _("“%(code)s” names another intent.") % {"code": intent.code}}
        )
