"""The admin of training."""
