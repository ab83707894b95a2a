"""The label set: what codes name, and how it changes; old codes stay known."""

from labeling.taxonomy.audit import TaxonomyChanged
from labeling.taxonomy.codes import (
    UnknownIntent,
    again_if_merged,
    resolve_codes,
)
from labeling.taxonomy.impact import Impact, impact_of
from labeling.taxonomy.merging import Merged, merge, preview_merge
from labeling.taxonomy.renaming import rename
from labeling.taxonomy.retiring import restore, retire

__all__ = [
    "Impact",
    "Merged",
    "TaxonomyChanged",
    "UnknownIntent",
    "again_if_merged",
    "impact_of",
    "merge",
    "preview_merge",
    "rename",
    "resolve_codes",
    "restore",
    "retire",
]
