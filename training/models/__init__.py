"""The data of training, a file a thing."""

from training.models.batch import BatchStep, TrainingBatch
from training.models.evaluation import EvaluationRun
from training.models.preset import Preset
from training.models.rules import GateRules

__all__ = ["BatchStep", "EvaluationRun", "GateRules", "Preset", "TrainingBatch"]
