"""A project's intents in use as its pages need them, kept in each process."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from django.db import connection

from labeling.models import Intent, IntentAlias, Project
from labeling.taxonomy.pinyin import spellings

KEPT = 64
"""Label sets that a process keeps: about 0.2 MB each at 150 intents."""

# Where each row lies and which transaction wrote it: both change with every edit, in
# whatever way it was made, and reading them is cheaper than reading the rows.
_KEY = """
SELECT md5(concat_ws('/',
    (SELECT string_agg(concat_ws(':', id, xmin, ctid), ',' ORDER BY id)
     FROM labeling_intent WHERE project_id = %(project)s),
    (SELECT string_agg(concat_ws(':', id, xmin, ctid), ',' ORDER BY id)
     FROM labeling_intentalias WHERE project_id = %(project)s)))
"""


@dataclass(frozen=True)
class LabelSet:
    """The intents in use of a project, and what its old codes mean now."""

    key: str
    """Another one means that something was edited."""
    intents: Mapping[str, Intent]
    """By code, in the codes' order."""
    aliases: Mapping[str, str]
    """Current code by old code."""

    def current(self, code: str) -> str | None:
        """The code in use that a code means; None where its intent is gone."""
        code = self.aliases.get(code, code)
        return code if code in self.intents else None

    def named(self, codes: Iterable[str]) -> list[Intent]:
        """The intents that codes mean, each once, unknown ones left out."""
        found = dict.fromkeys(self.current(code) for code in codes)
        return [self.intents[code] for code in found if code is not None]

    @cached_property
    def fallback(self) -> Intent | None:
        """The intent on key 0."""
        return next((one for one in self.intents.values() if one.is_fallback), None)

    @cached_property
    def search_list(self) -> list[dict[str, Any]]:
        """What the type-ahead searches; `pinyin` holds initials and full spelling."""
        return [
            {
                "code": one.code,
                "name": one.name,
                "description": one.description,
                "pinyin": spellings(one.name, one.description),
                "guided": bool(one.guidelines),
            }
            for one in self.intents.values()
        ]


def of(project: Project) -> LabelSet:
    """The project's label set; one query while nothing was edited, three after."""
    with connection.cursor() as cursor:
        cursor.execute(_KEY, {"project": project.pk})
        key = str(cursor.fetchone()[0])
    return _read(project.pk, key)


@lru_cache(maxsize=KEPT)
def _read(project_id: int, key: str) -> LabelSet:
    intents = Intent.objects.filter(project=project_id, retired_at=None)
    aliases = IntentAlias.objects.filter(project=project_id, intent__retired_at=None)
    return LabelSet(
        key,
        {intent.code: intent for intent in intents.order_by("code")},
        dict(aliases.values_list("code", "intent__code")),
    )
