"""The data of the registry, a file a thing."""

from registry.models.llm import LlmAnswer, LlmDay
from registry.models.log import ClassificationLog, Feedback
from registry.models.refresh import Refresh
from registry.models.serving import ServingProcess
from registry.models.version import (
    Activation,
    Evaluation,
    EvaluationAnswer,
    Version,
)

__all__ = [
    "Activation",
    "ClassificationLog",
    "Evaluation",
    "EvaluationAnswer",
    "Feedback",
    "LlmAnswer",
    "LlmDay",
    "Refresh",
    "ServingProcess",
    "Version",
]
