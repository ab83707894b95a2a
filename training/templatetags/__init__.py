"""Training's template tags."""
