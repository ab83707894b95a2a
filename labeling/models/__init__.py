"""The data of labeling, a file a thing."""

from labeling.models.access import ApiKey, Membership
from labeling.models.annotation import Annotation, Lease, Queue
from labeling.models.check import LabelCheck
from labeling.models.dataset import Dataset, DatasetItem
from labeling.models.growth import Paraphrasing, Slot, SyntheticQuestion, Template
from labeling.models.history import BulkAction, LabelChange
from labeling.models.intent import Intent, IntentAlias
from labeling.models.project import Project
from labeling.models.question import Embedding, GoldLabel, Question
from labeling.models.rule import KeywordRule
from labeling.models.search import SearchText
from labeling.models.transfer import Transfer

__all__ = [
    "Annotation",
    "ApiKey",
    "BulkAction",
    "Dataset",
    "DatasetItem",
    "Embedding",
    "GoldLabel",
    "Intent",
    "IntentAlias",
    "KeywordRule",
    "LabelChange",
    "LabelCheck",
    "Lease",
    "Membership",
    "Paraphrasing",
    "Project",
    "Question",
    "Queue",
    "SearchText",
    "Slot",
    "SyntheticQuestion",
    "Template",
    "Transfer",
]
