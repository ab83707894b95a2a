"""The label set: what codes name, and how it changes; old codes stay known."""

from labeling.taxonomy.audit import TaxonomyChanged
from labeling.taxonomy.codes import (
    UnknownIntent,
    again_if_merged,
    resolve_codes,
)
from labeling.taxonomy.impact import Impact, impact_of
from labeling.taxonomy.merging import Merged, MergePreview, merge, preview_merge
from labeling.taxonomy.parts import Part
from labeling.taxonomy.renaming import check_code, rename
from labeling.taxonomy.retiring import restore, retire
from labeling.taxonomy.splitting import Split, SplitPreview, preview_split, split

__all__ = [
    "Impact",
    "MergePreview",
    "Merged",
    "Part",
    "Split",
    "SplitPreview",
    "TaxonomyChanged",
    "UnknownIntent",
    "again_if_merged",
    "check_code",
    "impact_of",
    "merge",
    "preview_merge",
    "preview_split",
    "rename",
    "resolve_codes",
    "restore",
    "retire",
    "split",
]
