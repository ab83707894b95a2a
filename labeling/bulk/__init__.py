"""Questions found together and labelled in one step, which can be taken back in one."""

from labeling.bulk.fates import MOST, Change, Preview, TooMany, duplicates_of, preview
from labeling.bulk.labelling import NothingToLabel, label
from labeling.bulk.undoing import Undone, undo

__all__ = [
    "MOST",
    "Change",
    "NothingToLabel",
    "Preview",
    "TooMany",
    "Undone",
    "duplicates_of",
    "label",
    "preview",
    "undo",
]
