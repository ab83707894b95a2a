"""The admin pages of labeling; Django imports this module and finds them all."""

from labeling.admin import (
    datasets,
    growth,
    intents,
    keys,
    paraphrasings,
    people,
    projects,
    questions,
    rules,
    synthetic,
    transfers,
    work,
)

__all__ = [
    "datasets",
    "growth",
    "intents",
    "keys",
    "paraphrasings",
    "people",
    "projects",
    "questions",
    "rules",
    "synthetic",
    "transfers",
    "work",
]
