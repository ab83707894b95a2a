"""Rules: mine keywords from labels, look at what they hit, approve or disable them."""

from labeling.rules.decisions import approve, delete, disable, save
from labeling.rules.examples import Preview, preview
from labeling.rules.matching import Matcher
from labeling.rules.mining import mine

__all__ = [
    "Matcher",
    "Preview",
    "approve",
    "delete",
    "disable",
    "mine",
    "preview",
    "save",
]
