"""Versions, artifacts, activation, serving and the classify API; knows labeling."""
