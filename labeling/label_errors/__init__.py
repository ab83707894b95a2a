"""Likely label errors: searched for by a worker, then a queue for reviewers."""

from labeling.label_errors.checks import NEWEST, ask, find, is_under_way, last

__all__ = ["NEWEST", "ask", "find", "is_under_way", "last"]
