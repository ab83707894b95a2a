"""Any version as a Hugging Face folder, with a README that says how to load it."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from registry import artifacts
from registry.models import Version
from registry.onnx.session import FLOAT32_FILE, INT8_FILE, LABELS_FILE
from training import evaluation
from training.foreign import readme
from training.foreign.errors import ForeignError

READING_FILE = "reading.json"
README_FILE = "README.md"
HEAD_FILE = "head.safetensors"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"

_LEFT_OUT = (FLOAT32_FILE, INT8_FILE, LABELS_FILE, "card.md", "samples.json")
"""What serving needs, and what the folder says otherwise."""


def export(version: Version, folder: Path) -> Path:
    """Writes a version's weights as transformers reads them.

    An imported version loads with AutoModelForSequenceClassification. Ours reads the
    mean over the tokens, which no class of transformers does: the lines that load it
    are in its README.md. Intents stand in `id2label`, by their codes of today; how
    logits become answers (temperature, thresholds, out-of-scope score) in reading.json.

    Args:
        version: Any version whose files hold weights.
        folder: Made; must not exist, or be empty.

    Returns:
        The folder.

    Raises:
        ForeignError: The folder is in use or can't be written, or the version has no
            weights.
        registry.artifacts.ArtifactError: A file is missing or damaged.
    """
    if "model.safetensors" not in version.manifest:
        raise ForeignError(_("%s has no weights to export.") % version)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ForeignError(_("“%s” is there already, and not empty.") % folder)
    names = [name for name in version.manifest if name not in _LEFT_OUT]
    source = artifacts.open_verified(version, only=[*names, LABELS_FILE])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as name:
            aside = Path(name) / "folder"
            aside.mkdir()
            _write(version, source, names, aside)
            if folder.exists():
                folder.rmdir()
            aside.rename(folder)
    except OSError as error:
        raise ForeignError(
            _("“%(folder)s” cannot be written: %(error)s")
            % {"folder": folder, "error": error}
        ) from error
    return folder


def _write(version: Version, source: Path, names: list[str], folder: Path) -> None:
    for name in names:
        shutil.copyfile(source / name, folder / name)
    scope = evaluation.scope_of(version.project)
    codes = scope.today(version.label_set)
    layout = json.loads((source / LABELS_FILE).read_text("utf-8"))
    config = json.loads((source / "config.json").read_text("utf-8"))
    config["id2label"] = {str(n): code for n, code in enumerate(codes)}
    config["label2id"] = {code: n for n, code in enumerate(codes)}
    several = "multi_label_classification"
    config["problem_type"] = (
        several if layout["multi"] else "single_label_classification"
    )
    _write_json(folder / "config.json", config)
    if HEAD_FILE in names or TOKENIZER_CONFIG_FILE not in names:
        _write_json(folder / TOKENIZER_CONFIG_FILE, _tokenizer_config(source, layout))
    reading = {
        "version": version.number,
        "labels": codes,
        "multi": layout["multi"],
        "max_length": layout["max_length"],
        "temperature": version.temperature,
        "thresholds": {
            today: version.thresholds[code]
            for code, today in zip(version.label_set, codes, strict=True)
            if code in version.thresholds
        },
        "out_of_scope": version.out_of_scope,
        "accept_threshold": scope.accept_threshold,
        "fallback": scope.fallback,
    }
    _write_json(folder / READING_FILE, reading)
    text = readme.write(version, reading, is_ours=HEAD_FILE in names)
    (folder / README_FILE).write_text(text, "utf-8")


def _tokenizer_config(source: Path, layout: dict[str, Any]) -> dict[str, Any]:
    """So that transformers takes tokenizer.json as it is."""
    tokenizer = json.loads((source / "tokenizer.json").read_text("utf-8"))
    padding = tokenizer.get("padding") or {}
    known = {}
    if (source / TOKENIZER_CONFIG_FILE).is_file():
        known = json.loads((source / TOKENIZER_CONFIG_FILE).read_text("utf-8"))
    known = {key: value for key, value in known.items() if key.endswith("_token")}
    return {
        "pad_token": padding.get("pad_token") or _token(tokenizer, 0),
        **known,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": layout["max_length"],
        "padding_side": "right",
    }


def _token(tokenizer: dict[str, Any], wanted: int) -> str:
    """The token of an id: among the special ones, or in the vocabulary."""
    for one in tokenizer.get("added_tokens") or []:
        if one["id"] == wanted:
            return str(one["content"])
    vocabulary = tokenizer["model"]["vocab"]
    if isinstance(vocabulary, dict):
        return next(str(token) for token, id_ in vocabulary.items() if id_ == wanted)
    return str(vocabulary[wanted][0])


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")
