"""Fixtures of the training tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.ml.makers import make_tiny_base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny random base model."""
    return make_tiny_base(tmp_path)
