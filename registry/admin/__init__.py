"""The admin pages of the registry; Django imports this module and finds them all."""

from registry.admin import log, serving, versions

__all__ = ["log", "serving", "versions"]
