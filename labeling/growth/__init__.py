"""Data growth: synthetic questions of templates and of a language model.

They may teach a version and never measure one: they stand in a table of their own, and
datasets take them in only where a batch asks for it.
"""

from labeling.growth.filling import (
    EXAMPLES,
    MOST,
    MOST_AN_INTENT,
    Example,
    Filled,
    Preview,
    count,
    fill,
    preview,
    samples,
)
from labeling.growth.keeping import LeftOut, delete, use

__all__ = [
    "EXAMPLES",
    "MOST",
    "MOST_AN_INTENT",
    "Example",
    "Filled",
    "LeftOut",
    "Preview",
    "count",
    "delete",
    "fill",
    "preview",
    "samples",
    "use",
]
