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

    def today(self, codes: Sequence[str]) -> list[str]:
        """The codes by their names of today."""
        return [self.aliases.get(code, code) for code in codes]


def scope_of(project: Project) -> Scope:
    """Two queries."""
    intents = Intent.objects.filter(project=project, is_fallback=True)
    aliases = IntentAlias.objects.filter(project=project)
    return Scope(
        multi=project.is_multi_intent,
        fallback=intents.values_list("code", flat=True).first(),
        accept_threshold=project.accept_threshold,
        aliases=dict(aliases.values_list("code", "intent__code")),
    )
