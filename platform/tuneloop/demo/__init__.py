"""The sample project: seeded for a look around, or taken once round the whole loop."""

from .seed import seed

__all__ = ["seed"]
