"""Codes to intents, old codes included, also while intents are being merged."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext as _
from psycopg.errors import ForeignKeyViolation

from labeling.models import Intent, IntentAlias, Project

P = ParamSpec("P")
R = TypeVar("R")


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

    What is written with them fails if one of them is merged away meanwhile: see
    `again_if_merged`.

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


def again_if_merged(write: Callable[P, R]) -> Callable[P, R]:
    """Runs a write in a transaction; once more if an intent that it named has gone.

    A merge deletes its sources. A write that resolved a code just before waits for the
    merge and then fails its foreign key; resolved again, the code is an alias of the
    merge's target. For functions that take codes, not intents.

    Cost: one statement more, `SET CONSTRAINTS`: the keys are deferred, and would
    otherwise fail at the commit, too late to try again.
    """

    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        with transaction.atomic():
            result = write(*args, **kwargs)
            connection.check_constraints()
            return result

    @wraps(write)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return checked(*args, **kwargs)
        except IntegrityError as error:
            if not isinstance(error.__cause__, ForeignKeyViolation):
                raise
        return checked(*args, **kwargs)

    return run
