"""The admin pages of training; Django imports this module and finds them all."""

from training.admin import batches, gate, presets

__all__ = ["batches", "gate", "presets"]
