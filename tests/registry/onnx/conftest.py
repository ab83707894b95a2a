"""A tiny served classifier for the runtime's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.ml.makers import (
    TOPICS,
    make_examples,
    make_recipe,
    make_tiny_base,
)
from training.ml.export import export
from training.ml.loop import fit


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an exported classifier; read it, do not write to it."""
    folder = tmp_path_factory.mktemp("served")
    examples = make_examples(64)
    fit(
        train=examples,
        validation=(),
        labels=list(TOPICS),
        multi=False,
        base=make_tiny_base(folder),
        parent=None,
        recipe=make_recipe(),
        out=folder / "model",
        checkpoints=None,
        report=lambda progress: None,
    )
    texts = [example.text for example in examples]
    report = export(
        folder / "model", folder / "out", samples=texts, report=lambda progress: None
    )
    assert report.int8_kept
    return folder / "out"
