"""Makers of the registry's things: real, tiny ONNX versions whose answers are known."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from labeling.models import Intent, Project
from registry import versions
from registry.models import Version

MAX_LENGTH = 32
"""Tokens that a tiny model reads."""


def make_version(
    project: Project,
    labels: Sequence[str] = ("greet", "order"),
    *,
    words: Mapping[str, Sequence[str]] | None = None,
    strength: float = 6.0,
    active: bool = False,
    multi: bool | None = None,
    **overrides: Any,
) -> Version:
    """A registered version with a real ONNX classifier and tokenizer.

    Each word of a text adds `strength` to the logit of the intent that it is listed
    for; other words add nothing. Words are cut at white space and lower-cased.

    Args:
        project: Gets the intents that it lacks.
        labels: Intent codes.
        words: Which words speak for which intent; each code itself by default.
        strength: Two intents, one word, 6.0: probability 0.998. With 0.0 the model
            knows nothing.
        active: Activate it at once.
        multi: The project's kind when None.
        **overrides: Values for `versions.register`, or `gate` ("passed" by default).
    """
    for code in labels:
        Intent.objects.get_or_create(
            project=project, code=code, defaults={"name": code.capitalize()}
        )
    multi = project.is_multi_intent if multi is None else multi
    gate = overrides.pop("gate", Version.Gate.PASSED)
    values: dict[str, Any] = {"parent": None, "provenance": {}, **overrides}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_classifier(
            folder, labels, words=words or {}, strength=strength, multi=multi
        )
        version = versions.register(
            project, folder=folder, label_set=list(labels), **values
        )
    version.gate = gate
    version.save(update_fields=["gate"])
    if active:
        versions.activate(version, by=None, force=gate != "passed", reason="made so")
        version.refresh_from_db()
    return version


def write_classifier(
    folder: Path,
    labels: Sequence[str],
    *,
    words: Mapping[str, Sequence[str]],
    strength: float,
    multi: bool,
) -> None:
    """Writes model.onnx, tokenizer.json and labels.json, 2 KB in all."""
    listed = {code: [w.lower() for w in words.get(code, [code])] for code in labels}
    vocabulary = {"[PAD]": 0, "[UNK]": 1}
    for word in (word for own in listed.values() for word in own):
        vocabulary.setdefault(word, len(vocabulary))
    table = np.zeros((len(vocabulary), len(labels)), np.float32)  # (V, C)
    for column, code in enumerate(labels):
        for word in listed[code]:
            table[vocabulary[word], column] = strength
    # A sigmoid answers 0.5 to a logit of 0: silence has to mean "no".
    bias = np.full(len(labels), -strength / 2 if multi else 0.0, np.float32)

    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))
    onnx.save(_sum_of_words(table, bias), str(folder / "model.onnx"))
    document = {"labels": list(labels), "multi": multi, "max_length": MAX_LENGTH}
    (folder / "labels.json").write_text(json.dumps(document), "utf-8")


def _sum_of_words(table: Any, bias: Any) -> onnx.ModelProto:
    """logits (B, C) = sum over tokens of mask * table[id] + bias."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),  # (B, T, C)
        helper.make_node("Cast", ["attention_mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["m", "last"], ["mask"]),  # (B, T, 1)
        helper.make_node("Mul", ["rows", "mask"], ["spoken"]),
        helper.make_node("ReduceSum", ["spoken", "time"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"])
            for name in ("input_ids", "attention_mask")
        ],
        [
            helper.make_tensor_value_info(
                "logits", TensorProto.FLOAT, ["B", table.shape[1]]
            )
        ],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(np.array([-1], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "time"),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
