"""The data of the registry, a file a thing."""

from registry.models.llm import LlmAnswer, LlmDay
from registry.models.log import ClassificationLog, Feedback
from registry.models.refresh import Refresh
from registry.models.rollout import (
    Alarm,
    Flip,
    Guard,
    Replay,
    Rollout,
    ShadowAnswer,
    Tuning,
)
from registry.models.serving import ServingProcess
from registry.models.version import (
    Activation,
    Evaluation,
    EvaluationAnswer,
    Version,
)

__all__ = [
    "Activation",
    "Alarm",
    "ClassificationLog",
    "Evaluation",
    "EvaluationAnswer",
    "Feedback",
    "Flip",
    "Guard",
    "LlmAnswer",
    "LlmDay",
    "Refresh",
    "Replay",
    "Rollout",
    "ServingProcess",
    "ShadowAnswer",
    "Tuning",
    "Version",
]
