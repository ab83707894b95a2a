"""The runtime of exported classifiers: answers, order, cutting and bad folders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from registry.onnx.session import (
    ArtifactError,
    OnnxClassifier,
    TokenModel,
    group_by_length,
    group_for_rows,
    open_session,
)
from registry.onnx.tokens import TextEncoder, pack, pad
from tests.training.ml.makers import TOPICS, make_examples


def test_answers_in_the_order_of_the_texts(served: Path) -> None:
    model = OnnxClassifier(served, file_name="model.onnx")
    examples = make_examples(60, seed=4)
    # Of very different lengths, so that they run in several groups.
    texts = [e.text + " please" * (i % 9) for i, e in enumerate(examples)]
    together = model.logits(texts)
    assert together.shape == (60, 4)
    assert together.dtype == np.float32
    alone = np.concatenate([model.logits([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    plain = model.logits([example.text for example in examples])
    wanted = [list(TOPICS).index(example.labels[0]) for example in examples]
    assert np.mean(plain.argmax(1) == wanted) > 0.8


def test_no_texts_no_answers(served: Path) -> None:
    assert OnnxClassifier(served).logits([]).shape == (0, 4)


def test_prefers_int8(served: Path, tmp_path: Path) -> None:
    assert OnnxClassifier(served).file_name == "model.int8.onnx"
    copy = tmp_path / "copy"
    shutil.copytree(served, copy)
    (copy / "model.int8.onnx").unlink()
    assert OnnxClassifier(copy).file_name == "model.onnx"


def test_long_texts_are_cut_and_said_to_be(served: Path) -> None:
    model = OnnxClassifier(served)
    long = "stock " * 31
    assert not model.was_cut("stock " * 30)  # and two special tokens: 32
    assert model.was_cut(long)
    assert model.answer(["stock", long]).was_cut == [False, True]
    huge = "库存" * 50_000
    assert model.was_cut(huge)
    assert np.isfinite(model.logits([huge])).all()


def test_outer_white_space_does_not_count(served: Path) -> None:
    model = OnnxClassifier(served)
    plain, spaced = model.logits(["stock alert"]), model.logits(["  stock alert\n"])
    np.testing.assert_array_equal(plain, spaced)


def test_a_size_is_guessed_without_tokenising(served: Path) -> None:
    model = OnnxClassifier(served)
    # Special tokens included; a lone surrogate has a size, too.
    assert [model.tokens_of(text) for text in ("", "库存", "\ud800")] == [2, 4, 2]
    for text in ("stock alert", "where is my parcel", "stock " * 12):
        (ids,) = model.tokenise([text]).ids
        assert len(ids) / 2 <= model.tokens_of(text) <= len(ids) * 2
    assert model.tokens_of("stock " * 1000) == model.max_length


@pytest.mark.parametrize("text", ["", " ", "\x00", "\ud800 stock", "\u200b", "😀" * 9])
def test_odd_texts_are_answered(served: Path, text: str) -> None:
    assert np.isfinite(OnnxClassifier(served).logits([text])).all()


def test_threads_share_a_classifier(served: Path) -> None:
    model = OnnxClassifier(served)
    texts = [example.text for example in make_examples(40, seed=6)]
    alone = [model.logits([text])[0] for text in texts]
    with ThreadPoolExecutor(8) as pool:
        shared = list(pool.map(lambda text: model.logits([text])[0], texts))
    np.testing.assert_allclose(shared, alone, atol=1e-6)


def _forget_an_intent(path: Path) -> None:
    document = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**document, "labels": document["labels"][1:]}))


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("labels.json", Path.unlink, "no labels.json"),
        ("labels.json", lambda path: path.write_text("{}"), "labels.json cannot"),
        ("labels.json", _forget_an_intent, "answers 4 intents"),
        ("tokenizer.json", Path.unlink, "no tokenizer.json"),
        ("tokenizer.json", lambda path: path.write_text("{}"), "tokenizer.json cannot"),
        ("model.int8.onnx", lambda path: path.write_bytes(b"x"), "cannot be opened"),
    ],
)
def test_bad_folder(
    served: Path,
    tmp_path: Path,
    name: str,
    damage: Callable[[Path], object],
    words: str,
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(served, copy)
    damage(copy / name)
    with pytest.raises(ArtifactError, match=words):
        OnnxClassifier(copy)


def test_folder_without_a_model(served: Path, tmp_path: Path) -> None:
    shutil.copyfile(served / "labels.json", tmp_path / "labels.json")
    shutil.copyfile(served / "tokenizer.json", tmp_path / "tokenizer.json")
    with pytest.raises(ArtifactError, match=r"no model\.onnx"):
        OnnxClassifier(tmp_path)


def test_runs_without_torch(served: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from registry.onnx.session import OnnxClassifier;"
        "OnnxClassifier(Path(sys.argv[1])).logits(['stock']);"
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code, str(served)], check=True, cwd=root)


def test_groups_hold_texts_of_like_length() -> None:
    lengths = [5, 64, 6, 7, 20, 5, 60, 22] + [9] * 300
    groups = group_by_length(lengths)
    assert sorted(row for group in groups for row in group) == list(range(308))
    for group in groups:
        own = [lengths[row] for row in group]
        assert max(own) * len(own) <= 1024
        assert max(own) <= max(min(own) + 4, min(own) * 1.25)
    # Single rows of any length still get a group.
    assert group_by_length([5000]) == [[0]]


def test_equal_tokenizers_are_held_once_and_cut_each_in_its_own_way(
    served: Path, tmp_path: Path
) -> None:
    shutil.copy(served / "tokenizer.json", tmp_path)
    short, long = (
        TextEncoder(folder, max_length=length)
        for folder, length in ((served, 4), (tmp_path, 6))
    )
    assert short._shared is long._shared
    text = "show me the stock alert please"
    first, second = short.encode([text]).ids[0], long.encode([text]).ids[0]
    assert (len(first), len(second)) == (4, 6)
    assert first[:3] == second[:3]
    assert (
        first[-1]
        == second[-1]
        == TextEncoder(served, max_length=99).encode([""]).ids[0][-1]
    )  # the token that ends a text stays


def test_short_texts_share_rows() -> None:
    ids = [[1] * 4, [2] * 9, [3] * 2, [4] * 5, [5] * 3]
    input_ids, mask, places = pack(ids, 0, width=12)
    assert input_ids.shape == mask.shape == (2, 12)  # 23 tokens: one is padding
    most = mask.max()
    for text, place in zip(ids, places, strict=True):
        row, k = divmod(place, most)
        assert input_ids[row][mask[row] == k + 1].tolist() == text
    assert ((input_ids == 0) == (mask == 0)).all()
    assert len(set(places)) == len(ids)


def test_one_text_is_one_row_without_padding() -> None:
    input_ids, mask, places = pack([[7, 8]], 0, width=48)
    assert (input_ids.tolist(), mask.tolist(), places) == ([[7, 8]], [[1, 1]], [0])
    # Wider than a row may be: as wide as it is.
    assert pack([[1] * 50, [2]], 0, width=48)[0].shape == (2, 50)


def test_long_texts_run_apart_from_short_ones() -> None:
    lengths = [5, 300, 7, 60, 20, 48, 64, 9, 310] + [10] * 200
    groups = group_for_rows(lengths)
    assert sorted(row for group in groups for row in group) == list(range(209))
    for group in groups:
        own = [lengths[row] for row in group]
        assert sum(own) <= 1024
        assert max(own) <= 48 or max(own) <= min(own) * 1.25
    assert group_for_rows([5000]) == [[0]]
    assert group_for_rows([]) == []


def test_texts_in_one_row_know_nothing_of_each_other(served: Path) -> None:
    """A model that packs answers a plain caller, who pads, in the same way."""
    classifier = OnnxClassifier(served, file_name="model.onnx")
    ids = classifier.tokenise([example.text for example in make_examples(30)]).ids
    input_ids, mask = pad(ids, classifier._encoder.pad_id)
    session = open_session(served / "model.onnx", threads=1)
    feeds = {"input_ids": input_ids, "attention_mask": mask}
    plain = session.run(["logits"], feeds)[0]
    assert len(pack(ids, 0, width=48)[0]) < len(ids) / 2  # several a row
    np.testing.assert_allclose(classifier.run(ids), plain, atol=1e-5)
    # The same text beside others.
    alone = classifier.run(ids[:1])
    np.testing.assert_allclose(
        classifier.run([*ids[5:9], ids[0]])[-1:], alone, atol=1e-5
    )


def test_a_model_that_does_not_pack_is_run_row_by_row(
    served: Path, tmp_path: Path
) -> None:
    """Versions from before have one text a row."""
    import onnx

    model = onnx.load(served / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "model.onnx")
    seen: list[tuple[int, int]] = []
    old = TokenModel(tmp_path / "model.onnx", pad_id=0, threads=1)
    feed = old._feed
    old._feed = lambda ids, mask: (seen.append(ids.shape), feed(ids, mask))[1]
    ids = [[5, 6, 7, 8], [9, 10], [11, 12, 13]]
    new = TokenModel(served / "model.onnx", pad_id=0, threads=1)
    np.testing.assert_allclose(old(ids), new(ids), atol=1e-5)
    assert seen == [(3, 4)]
