"""The encoder's runtime: order, batches, threads, and refusals in words."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from registry.onnx.encoder import CARD_FILE, FILES, MODEL_FILE, OnnxEncoder, digest
from registry.onnx.session import ArtifactError
from tests.training.ml.makers import make_examples, make_tiny_base
from training.ml.encoder import build

TEXTS = [example.text for example in make_examples(48)] + ["help " * 60, "", "   "]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an encoder; read it, do not write to it."""
    folder = tmp_path_factory.mktemp("encoder")
    return build(f"path:{make_tiny_base(folder)}", folder / "root", folder / "cache")


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


def test_rows_stand_in_the_order_of_the_texts(built: Path) -> None:
    encoder = OnnxEncoder(built)
    together = encoder.encode(TEXTS)
    assert together.shape == (len(TEXTS), encoder.dimensions)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert (together * alone).sum(axis=1).min() > 0.999


def test_no_texts_no_rows(built: Path) -> None:
    encoder = OnnxEncoder(built)
    assert encoder.encode([]).shape == (0, encoder.dimensions)


def test_outer_white_space_does_not_count(built: Path) -> None:
    one, other = OnnxEncoder(built).encode(["clock in", "  clock in\n"])
    assert np.array_equal(one, other)


def test_several_threads_share_an_encoder(built: Path) -> None:
    encoder = OnnxEncoder(built)
    expected = encoder.encode(TEXTS)
    found: list[bool] = []

    def run() -> None:
        for _ in range(5):
            found.append(np.allclose(encoder.encode(TEXTS), expected, atol=1e-6))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        OnnxEncoder(copied)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused(copied: Path, name: str) -> None:
    (copied / name).write_bytes(b"[] damaged")
    with pytest.raises(ArtifactError, match="cannot be read"):
        OnnxEncoder(copied)


def test_a_card_that_promises_another_width_is_refused(copied: Path) -> None:
    card = json.loads((copied / CARD_FILE).read_text())
    (copied / CARD_FILE).write_text(json.dumps({**card, "dimensions": 33}))
    with pytest.raises(ArtifactError, match="32 values"):
        OnnxEncoder(copied)


def test_the_digest_is_that_of_the_content(built: Path, copied: Path) -> None:
    assert digest(built) == digest(copied) == built.name
    with (copied / MODEL_FILE).open("ab") as file:
        file.write(b"x")
    assert digest(copied) != built.name
