"""The admin pages of training; Django imports this module and finds them all."""

from training.admin import batches

__all__ = ["batches"]
