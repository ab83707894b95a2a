"""The admin pages of labeling; Django imports this module and finds them all."""

from labeling.admin import (
    datasets,
    intents,
    keys,
    people,
    projects,
    questions,
    rules,
    transfers,
    work,
)

__all__ = [
    "datasets",
    "intents",
    "keys",
    "people",
    "projects",
    "questions",
    "rules",
    "transfers",
    "work",
]
