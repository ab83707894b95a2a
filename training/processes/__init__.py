"""Processes that train: how they are started, watched, ended and never left behind."""
