"""The admin of labeling."""
