"""Data growth: synthetic questions of templates and of a language model.

They may teach a version and never measure one: they stand in a table of their own, and
datasets take them in only where a batch asks for it.
"""

from labeling.growth.asking import (
    MOST_EACH,
    MOST_SENT,
    Sending,
    UnderWay,
    WrongState,
    cancel,
    paraphrase,
    preview_paraphrase,
)
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
from labeling.growth.paraphrasing import run
from labeling.growth.queueing import sweep
from labeling.growth.templating import add as add_templates

__all__ = [
    "EXAMPLES",
    "MOST",
    "MOST_AN_INTENT",
    "MOST_EACH",
    "MOST_SENT",
    "Example",
    "Filled",
    "LeftOut",
    "Preview",
    "Sending",
    "UnderWay",
    "WrongState",
    "add_templates",
    "cancel",
    "count",
    "delete",
    "fill",
    "paraphrase",
    "preview",
    "preview_paraphrase",
    "run",
    "samples",
    "sweep",
    "use",
]
