"""One run of a batch: its stages, its sign of life, what it reports and registers."""
