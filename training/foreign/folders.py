"""A Hugging Face classifier's folder, looked at without loading it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from training.bases import ACTIVATIONS
from training.foreign.errors import ForeignError

ARCHITECTURES = {
    "BertForSequenceClassification": "bert",
    "RobertaForSequenceClassification": "roberta",
    "XLMRobertaForSequenceClassification": "xlm-roberta",
    "DistilBertForSequenceClassification": "distilbert",
}
"""What can be imported, and its model type."""

WEIGHTS = "model.safetensors"
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model")

MAX_LENGTH = 512
"""Most tokens of a question that an imported model reads."""


@dataclass(frozen=True)
class Found:
    """What a folder says of its classifier."""

    path: Path
    architecture: str
    labels: tuple[str, ...]
    """Their names, in the order of the outputs."""
    multi: bool | None
    """Whether it answers several intents a question; None where it does not say."""
    max_length: int
    """Tokens that it reads."""


def look(folder: Path) -> Found:
    """Says what a folder holds, or why it can't be imported. Reads two small files.

    Raises:
        ForeignError
    """
    if not folder.is_dir():
        raise ForeignError(_("There is no folder “%s”.") % folder)
    config = _read(folder, "config.json")
    architecture = _architecture(config)
    _check_layers(config)
    _check_files(folder)
    labels = _labels(config)
    kind = config.get("problem_type")
    if kind == "regression" or len(labels) < 2:
        raise ForeignError(
            _("The model answers %d label: a classifier needs at least two.")
            % len(labels)
        )
    several = {
        "multi_label_classification": True,
        "single_label_classification": False,
    }
    return Found(
        path=folder,
        architecture=architecture,
        labels=labels,
        multi=several.get(kind or ""),
        max_length=_max_length(folder, config),
    )


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        document = json.loads((folder / name).read_text("utf-8"))
    except FileNotFoundError:
        raise ForeignError(
            _("“%(folder)s” has no %(file)s.") % {"folder": folder, "file": name}
        ) from None
    except (OSError, ValueError) as error:
        raise ForeignError(
            _("%(file)s cannot be read: %(error)s") % {"file": name, "error": error}
        ) from error
    if not isinstance(document, dict):
        raise ForeignError(_("%s holds no object.") % name)
    return document


def _architecture(config: dict[str, Any]) -> str:
    named = [str(one) for one in config.get("architectures") or []]
    for one in named:
        if ARCHITECTURES.get(one) == config.get("model_type"):
            return one
    raise ForeignError(
        _("config.json names the architecture %(named)s; only %(known)s can be used.")
        % {"named": ", ".join(named) or "–", "known": ", ".join(ARCHITECTURES)}
    )


def _check_layers(config: dict[str, Any]) -> None:
    """Refuses what the exported graph would compute otherwise."""
    activation = config.get("hidden_act", config.get("activation", "gelu"))
    positions = config.get("position_embedding_type", "absolute")
    if activation not in ACTIVATIONS or positions != "absolute":
        raise ForeignError(
            _(
                "A model with the activation %(act)s and %(pos)s positions can't be"
                " used."
            )
            % {"act": activation, "pos": positions}
        )
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise ForeignError(_("A decoder can't be used, only an encoder."))


def _check_files(folder: Path) -> None:
    if not (folder / WEIGHTS).is_file():
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
            raise ForeignError(
                _(
                    "The weights are a pickle, which may run code when it is opened,"
                    " and is never opened here. Where you trust it, save it anew:"
                    " AutoModelForSequenceClassification.from_pretrained(folder)"
                    ".save_pretrained(folder) writes model.safetensors."
                )
            )
        if (folder / f"{WEIGHTS}.index.json").is_file():
            raise ForeignError(
                _("The weights are in several files: save them with max_shard_size.")
            )
        raise ForeignError(
            _("“%(folder)s” has no %(file)s.") % {"folder": folder, "file": WEIGHTS}
        )
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ForeignError(
            _("“%(folder)s” has no %(file)s.")
            % {"folder": folder, "file": TOKENIZERS[0]}
        )


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    named = config.get("id2label")
    if not isinstance(named, dict):
        count = int(config.get("num_labels", 2))
        return tuple(f"LABEL_{n}" for n in range(count))
    try:
        return tuple(str(named[str(n)]) for n in range(len(named)))
    except KeyError as error:
        raise ForeignError(_("id2label has no entry %s.") % error) from None


def _max_length(folder: Path, config: dict[str, Any]) -> int:
    limit = int(config.get("max_position_embeddings", MAX_LENGTH))
    if "roberta" in config["model_type"]:  # its table starts behind the padding index
        limit -= int(config.get("pad_token_id") or 0) + 1
    if (folder / "tokenizer_config.json").is_file():
        own = _read(folder, "tokenizer_config.json").get("model_max_length")
        if isinstance(own, int | float) and own >= 1:
            limit = int(min(limit, own))
    return max(1, min(limit, MAX_LENGTH))
