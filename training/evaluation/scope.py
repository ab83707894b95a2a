"""What decides how a project's answers are read."""

from collections.abc import Sequence
from dataclasses import dataclass

from labeling.models import Intent, IntentAlias, Project


@dataclass(frozen=True)
class Scope:
    """What decides how a project's answers are read."""

    multi: bool
    fallback: str | None
    """Code of the out-of-scope intent, if the project has one."""
    accept_threshold: float
    aliases: dict[str, str]
    """Old code to today's code, so that a renamed intent is not a wrong answer."""
    in_use: frozenset[str]
    """Codes that are answered; those of retired intents are not."""

    def current(self, code: str) -> str | None:
        """Today's code of an intent that a version learned; None if it retired.

        As `registry.serving.rulebook.Rulebook.current`.
        """
        if code in self.in_use:
            return code
        today = self.aliases.get(code)
        return today if today in self.in_use else None

    def today(self, codes: Sequence[str]) -> list[str]:
        """The codes by their names of today."""
        return [self.aliases.get(code, code) for code in codes]


def scope_of(project: Project) -> Scope:
    """Two queries."""
    intents = dict(
        Intent.objects.filter(project=project, retired_at=None)
        .order_by("id")
        .values_list("code", "is_fallback")
    )
    aliases = IntentAlias.objects.filter(project=project)
    return Scope(
        multi=project.is_multi_intent,
        fallback=next((code for code, is_it in intents.items() if is_it), None),
        accept_threshold=project.accept_threshold,
        aliases=dict(aliases.values_list("code", "intent__code")),
        in_use=frozenset(intents),
    )
