"""Takes intents out of use and back; their labels stay."""

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling import revision, rules
from labeling.models import Intent, KeywordRule
from labeling.taxonomy.audit import note, still_there, take_turn


@transaction.atomic
def retire(intent: Intent, *, by: User | None) -> Intent:
    """Takes an intent out of use; its labels stay, its rules are switched off.

    Raises:
        ValidationError: It is the project's fallback.
        TaxonomyChanged: The intent was merged away.
    """
    take_turn(intent.project_id)
    (intent,) = still_there([intent])
    if intent.is_fallback:
        raise ValidationError(_("Make another intent the fallback first."))
    if intent.retired_at is not None:
        return intent
    intent.retired_at = timezone.now()
    intent.save(update_fields=["retired_at"])
    if not rules.disable(intent.rules.filter(state=KeywordRule.State.ACTIVE), by=by):
        revision.bump(intent.project_id)
    note(intent, by, _("Retired."))
    return intent


@transaction.atomic
def restore(intent: Intent, *, by: User | None) -> Intent:
    """Takes a retired intent back into use; its rules stay off until approved again.

    Raises:
        TaxonomyChanged: The intent was merged away.
    """
    take_turn(intent.project_id)
    (intent,) = still_there([intent])
    if intent.retired_at is not None:
        intent.retired_at = None
        intent.save(update_fields=["retired_at"])
        note(intent, by, _("Taken back into use."))
        revision.bump(intent.project_id)
    return intent
