"""The data of training."""

from training.models.batch import BatchStep, TrainingBatch

__all__ = ["BatchStep", "TrainingBatch"]
