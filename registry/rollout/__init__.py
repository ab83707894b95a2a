"""A candidate beside the active version: in shadow, as a canary, over the log."""
