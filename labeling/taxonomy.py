"""The label set's changes: rename and retire intents; old codes stay known."""

from collections.abc import Iterable

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling import revision, rules
from labeling.models import Intent, IntentAlias, KeywordRule, Project


class UnknownIntent(LookupError):
    """A code that names no intent in use; `codes` holds all such codes of a call."""

    def __init__(self, codes: list[str]) -> None:
        self.codes = codes
        super().__init__(
            _("The project has no such intent: %(codes)s.")
            % {"codes": ", ".join(code[:100] for code in codes[:5])}
        )


def resolve_codes(project: Project, codes: Iterable[str]) -> list[Intent]:
    """The intents that codes name, old codes included, in order and each once.

    Cost: one query; two when a code is not a current one.

    Raises:
        UnknownIntent: A code is unknown, or its intent retired.
    """
    wanted = list(dict.fromkeys(codes))
    intents = Intent.objects.filter(project=project, retired_at=None)
    found = {intent.code: intent for intent in intents.filter(code__in=wanted)}
    if old := [code for code in wanted if code not in found]:
        aliases = IntentAlias.objects.select_related("intent").filter(
            project=project, code__in=old, intent__retired_at=None
        )
        found |= {alias.code: alias.intent for alias in aliases}
    if unknown := [code for code in wanted if code not in found]:
        raise UnknownIntent(unknown)
    return list({found[code].pk: found[code] for code in wanted}.values())


@transaction.atomic
def rename(intent: Intent, *, code: str, by: User | None) -> Intent:
    """Gives an intent a new code; the old one becomes an alias that clients may send.

    Raises:
        ValidationError: The code is empty, too long, or names another intent.
    """
    _lock(intent.project_id)
    intent = Intent.objects.get(pk=intent.pk)
    old, intent.code = intent.code, code.strip()
    if intent.code == old:
        return intent
    intent.clean_fields(exclude=["parent", "project"])
    same_project = {"project_id": intent.project_id, "code": intent.code}
    if (
        Intent.objects.filter(**same_project).exists()
        or IntentAlias.objects.filter(**same_project).exclude(intent=intent).exists()
    ):
        raise ValidationError(
            {"code": _("“%(code)s” names another intent.") % {"code": intent.code}}
        )
    # Going back to a code that it once had.
    IntentAlias.objects.filter(**same_project).delete()
    intent.save(update_fields=["code"])
    IntentAlias.objects.create(
        project_id=intent.project_id, code=old, intent=intent, created_by=by
    )
    message = _("Renamed from %(old)s to %(new)s.")
    _audit(intent, by, message % {"old": old, "new": intent.code})
    revision.bump(intent.project_id)
    return intent


@transaction.atomic
def retire(intent: Intent, *, by: User | None) -> Intent:
    """Takes an intent out of use; its labels stay, its rules are switched off.

    Raises:
        ValidationError: It is the project's fallback.
    """
    _lock(intent.project_id)
    intent = Intent.objects.get(pk=intent.pk)
    if intent.is_fallback:
        raise ValidationError(_("Make another intent the fallback first."))
    now = timezone.now()
    if not Intent.objects.filter(pk=intent.pk, retired_at=None).update(retired_at=now):
        return intent
    intent.retired_at = now
    if not rules.disable(intent.rules.filter(state=KeywordRule.State.ACTIVE), by=by):
        revision.bump(intent.project_id)
    _audit(intent, by, _("Retired."))
    return intent


@transaction.atomic
def restore(intent: Intent, *, by: User | None) -> Intent:
    """Takes a retired intent back into use; its rules stay off until approved again."""
    if (
        Intent.objects.filter(pk=intent.pk)
        .exclude(retired_at=None)
        .update(retired_at=None)
    ):
        _audit(intent, by, _("Taken back into use."))
        revision.bump(intent.project_id)
    intent.refresh_from_db()
    return intent


def _lock(project_id: int) -> None:
    # Codes and aliases share one namespace over two tables, which no constraint spans:
    # changes of a project's label set queue here.
    Project.objects.select_for_update(no_key=True).get(pk=project_id)


def _audit(intent: Intent, by: User | None, message: str) -> None:
    """Leaves the change in the intent's history in the admin."""
    if by is not None:
        LogEntry.objects.log_actions(
            user_id=by.pk,
            queryset=[intent],
            action_flag=CHANGE,
            change_message=message,
            single_object=True,
        )
