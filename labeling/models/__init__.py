"""The data of labeling, a file a thing."""

from labeling.models.access import ApiKey, Membership
from labeling.models.annotation import Annotation, Lease
from labeling.models.dataset import Dataset, DatasetItem
from labeling.models.intent import Intent, IntentAlias
from labeling.models.project import Project
from labeling.models.question import GoldLabel, Question
from labeling.models.rule import KeywordRule

__all__ = [
    "Annotation",
    "ApiKey",
    "Dataset",
    "DatasetItem",
    "GoldLabel",
    "Intent",
    "IntentAlias",
    "KeywordRule",
    "Lease",
    "Membership",
    "Project",
    "Question",
]
