"""How far annotators agree beyond chance: alpha, kappa, and how sure both are.

Pure maths over arrays. A verdict's value is a set of intents: in a project with one
intent a question its only member. Questions that a person skipped are missing data.
"""

from labeling.agreement.alpha import REPLICATES, SEED, alpha, alpha_by_category
from labeling.agreement.kappa import Pair, kappa, kappas
from labeling.agreement.ratings import (
    MIN_SHARED,
    Agreement,
    Distance,
    Ratings,
    Undefined,
)
from labeling.agreement.shares import difference

__all__ = [
    "MIN_SHARED",
    "REPLICATES",
    "SEED",
    "Agreement",
    "Distance",
    "Pair",
    "Ratings",
    "Undefined",
    "alpha",
    "alpha_by_category",
    "difference",
    "kappa",
    "kappas",
]
