"""REST of training."""
