"""Labels: verdicts, the gold that they add up to, and doubts about it."""
