"""Changes what rules serve: approve, disable, save and delete, each live at once."""

from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from labeling import revision
from labeling.models import KeywordRule
from labeling.normalise import normalise


def approve(rules: Iterable[KeywordRule], *, by: User | None) -> int:
    """Lets rules serve; returns how many did not before.

    Cost: two statements, and two more for each project with a change.
    """
    return _decide(rules, to=KeywordRule.State.ACTIVE, by=by)


def disable(rules: Iterable[KeywordRule], *, by: User | None) -> int:
    """Stops rules from serving and keeps mining from offering them again.

    Cost: two statements, and two more for each project with a change.
    """
    return _decide(rules, to=KeywordRule.State.DISABLED, by=by)


def save(rule: KeywordRule) -> None:
    """Writes a rule that was made or edited by hand, with its keyword normalised.

    Raises:
        ValidationError: The keyword is empty, or the project has this rule already.
    """
    rule.pattern = normalise(rule.pattern)
    rule.full_clean()
    with transaction.atomic():
        rule.save()
        revision.bump(rule.project_id)


def delete(rules: Iterable[KeywordRule]) -> int:
    """Deletes rules; returns how many there still were."""
    with transaction.atomic():
        locked = _locked(rules)
        KeywordRule.objects.filter(pk__in=locked).delete()
        _bump_each(locked.values())
    return len(locked)


def _decide(rules: Iterable[KeywordRule], *, to: str, by: User | None) -> int:
    with transaction.atomic():
        locked = _locked(rules, but=to)
        KeywordRule.objects.filter(pk__in=locked).update(
            state=to, decided_by=by, decided_at=timezone.now()
        )
        _bump_each(locked.values())
    return len(locked)


def _locked(rules: Iterable[KeywordRule], *, but: str = "") -> dict[int, int]:
    """Locks the rules that are not in state `but`; returns {rule id: project id}."""
    rows = (
        KeywordRule.objects.filter(pk__in=[rule.pk for rule in rules])
        .exclude(state=but)
        .order_by("pk")  # one order for all: no two callers lock across each other
        .select_for_update(of=("self",))
    )
    return dict(rows.values_list("pk", "project_id"))


def _bump_each(project_ids: Iterable[int]) -> None:
    for project_id in sorted(set(project_ids)):
        revision.bump(project_id)
