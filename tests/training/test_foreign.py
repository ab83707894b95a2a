"""Classifiers from elsewhere become versions; versions become folders for others."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.core.management import CommandError, call_command

from labeling.models import Intent, Project
from registry import artifacts, versions
from registry.models import Version
from registry.onnx.session import FLOAT32_FILE, OnnxClassifier
from registry.serving import engine
from tests.makers import make_intent, make_project
from tests.registry.makers import make_version
from tests.training.foreign_folders import (
    KINDS,
    TEXTS,
    make_classifier,
    their_logits,
)
from tests.training.makers import make_trainable
from tests.training.ml.makers import TOPICS, make_recipe, make_tiny_base
from training import batches, foreign
from training.ml import model as models
from training.ml.export import export as export_onnx
from training.ml.interface import TrainingError

pytestmark = pytest.mark.django_db


def float32_logits(version: Version, texts: list[str] = TEXTS) -> np.ndarray:
    folder = artifacts.open_verified(version)
    return OnnxClassifier(folder, file_name=FLOAT32_FILE).logits(texts)


def changed(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8")) | values
    path.write_text(json.dumps(config), "utf-8")
    return folder


def make_ours(project: Project, tmp_path: Path) -> Version:
    """A version with mean pooling, its weights random."""
    base = make_tiny_base(tmp_path / "ours")
    torch.manual_seed(7)
    model = models.load(base, len(TOPICS), make_recipe())
    torch.nn.init.normal_(model.head.weight, std=0.5)
    torch.nn.init.normal_(model.head.bias, std=0.5)
    out = tmp_path / "ours" / "model"
    models.save(
        model, out, source=base, labels=list(TOPICS), multi=False, max_length=24
    )
    export_onnx(out, out, samples=[], report=lambda _progress: None)
    return versions.register(
        project,
        folder=out,
        label_set=list(TOPICS),
        parent=None,
        provenance={},
        temperature=1.5,
        out_of_scope={"code": "none", "energy": 1.0, "margin": 0.0, "bias": 0.25},
    )


def run_readme(folder: Path, texts: list[str], monkeypatch: Any) -> np.ndarray:
    """Runs exactly the lines of the README and returns their logits."""
    text = (folder / "README.md").read_text("utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.setattr(sys, "argv", ["README", str(folder), *texts])
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(lines, "README.md", "exec"), names)
    logits: np.ndarray = names["logits"].numpy()
    return logits


# --- Import -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_version_answers_as_transformers_does(
    kind: str, tmp_path: Path
) -> None:
    project = make_trainable(questions=120)
    folder = make_classifier(tmp_path, kind=kind)
    version = foreign.import_folder(project, folder)
    layout = json.loads(
        (artifacts.open_verified(version) / "labels.json").read_text("utf-8")
    )
    theirs = their_logits(folder, TEXTS, max_length=layout["max_length"])
    np.testing.assert_allclose(float32_logits(version), theirs, atol=1e-3)
    assert np.ptp(theirs, axis=0).min() > 0.1, "answers that tell nothing apart"
    assert version.label_set == list(TOPICS)
    assert version.provenance["imported"]["folder"] == str(folder)
    exported = version.provenance["export"]
    assert exported["int8_kept"] == ("model.int8.onnx" in version.manifest)
    # Measured and judged like any other.
    assert version.gate in ("passed", "refused")
    assert {reason["code"] for reason in version.gate_reasons} >= {"int8_agrees"}
    assert version.evaluations.get().n == project.questions.filter(split="test").count()
    versions.activate(version, by=None, force=True, reason="to see it serve")
    (answer,) = engine.classify(
        engine.target_of(project), ["stock alert"], use_gold=False
    )
    assert (answer.version, answer.degraded) == ("1", False)


def test_labels_are_mapped_to_intents(tmp_path: Path) -> None:
    project = make_trainable(questions=8)
    theirs = ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3")
    folder = make_classifier(tmp_path, labels=theirs)
    (tmp_path / "map.json").write_text(
        json.dumps(dict(zip(theirs, TOPICS, strict=True)))
    )
    call_command(
        "import_model", project.slug, str(folder), map=str(tmp_path / "map.json")
    )
    version = project.versions.get()
    assert version.label_set == list(TOPICS)
    assert version.provenance["imported"]["labels"]["LABEL_1"] == "stock"


def test_labels_that_name_no_intent_are_named_or_made(tmp_path: Path) -> None:
    project = make_project()
    make_intent(project, "stock")
    folder = make_classifier(tmp_path, labels=("stock", "returns", "oos"))
    with pytest.raises(CommandError, match=r"returns.*oos.*--create-intents"):
        call_command("import_model", project.slug, str(folder))
    assert not project.versions.exists()
    assert set(project.intents.values_list("code", flat=True)) == {"stock"}
    call_command("import_model", project.slug, str(folder), create_intents=True)
    assert project.versions.get().label_set == ["stock", "returns", "oos"]
    assert Intent.objects.get(project=project, is_fallback=True).code == "oos"


def test_maps_that_do_not_fit(tmp_path: Path) -> None:
    project = make_trainable(questions=8)
    folder = make_classifier(tmp_path)
    with pytest.raises(foreign.ForeignError, match="payment, shipping"):
        foreign.import_folder(
            project, folder, codes={"attendance": "stock", "stock": "attendance"}
        )
    with pytest.raises(foreign.ForeignError, match="same intent: stock"):
        foreign.import_folder(project, folder, codes=dict.fromkeys(TOPICS, "stock"))
    (tmp_path / "map.json").write_text("[1]")
    with pytest.raises(CommandError, match="JSON object"):
        call_command(
            "import_model", project.slug, str(folder), map=str(tmp_path / "map.json")
        )


def test_folders_that_can_not_be_used(tmp_path: Path) -> None:
    project = make_trainable(questions=8)

    def refused(folder: Path, match: str) -> None:
        with pytest.raises((foreign.ForeignError, TrainingError), match=match):
            foreign.import_folder(project, folder)

    refused(tmp_path / "nowhere", "no folder")
    refused(tmp_path, "has no config.json")
    folder = make_classifier(tmp_path)
    refused(changed(folder, problem_type="multi_label_classification"), "several")
    refused(changed(folder, problem_type="regression"), "at least two")
    changed(folder, problem_type=None)
    refused(changed(folder, hidden_act="gelu_new"), "gelu_new")
    refused(changed(folder, hidden_act="gelu", num_hidden_layers=3), "lacks 16 weights")
    refused(changed(folder, architectures=["BertForMaskedLM"]), "BertForMaskedLM")
    changed(folder, architectures=["BertForSequenceClassification"])
    changed(folder, num_hidden_layers=2)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, r"pickle.*save_pretrained")
    assert not project.versions.exists()


def test_a_training_does_not_go_on_from_an_imported_version(tmp_path: Path) -> None:
    project = make_trainable(questions=40)
    version = foreign.import_folder(project, make_classifier(tmp_path))
    versions.activate(version, by=None, force=True, reason="to go on from it")
    with pytest.raises(batches.UnknownBase, match="imported"):
        batches.create(
            project, preset="incremental", by=None, force=True, enqueue=False
        )
    with pytest.raises(TrainingError, match="imported"):
        models.read_parent(artifacts.open_verified(version))
    # Its folder can be a base model, though.
    folder = version.provenance["imported"]["folder"]
    batches.create(
        project,
        preset="first",
        base=f"path:{folder}",
        by=None,
        force=True,
        enqueue=False,
    )


def test_a_bug_that_leaves_the_dense_layer_out_would_be_seen(tmp_path: Path) -> None:
    """The comparison above can fail: without the layer the answers are others."""
    from training.ml import classifier, graph
    from training.ml.export import _write

    folder = make_classifier(tmp_path)
    config, weights, head = classifier.read(folder)
    head["dense.bias"] = head["dense.bias"] * 0
    _write(graph.bert(config, weights, head, None), folder / FLOAT32_FILE)
    layout = {"labels": list(TOPICS), "multi": False, "max_length": 64}
    (folder / "labels.json").write_text(json.dumps(layout))
    ours = OnnxClassifier(folder, file_name=FLOAT32_FILE).logits(TEXTS)
    theirs = their_logits(folder, TEXTS, max_length=64)
    assert np.abs(ours - theirs).max() > 0.01


# --- Export -----------------------------------------------------------------------


def test_an_exported_version_loads_by_the_lines_of_its_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(accept_threshold=0.35)
    for topic in TOPICS:
        make_intent(project, topic)
    make_intent(project, "none", is_fallback=True)
    version = make_ours(project, tmp_path)
    folder = tmp_path / "exported"
    call_command("export_model", project.slug, "1", str(folder))
    logits = run_readme(folder, TEXTS, monkeypatch)
    np.testing.assert_allclose(logits, float32_logits(version), atol=1e-3)
    assert np.ptp(logits, axis=0).min() > 0.01
    reading = json.loads((folder / "reading.json").read_text("utf-8"))
    assert reading["temperature"] == 1.5
    assert reading["out_of_scope"]["bias"] == 0.25
    assert (reading["fallback"], reading["accept_threshold"]) == ("none", 0.35)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert list(config["id2label"].values()) == list(TOPICS)
    assert "sigmoid(1 * -lse" in (folder / "README.md").read_text("utf-8")
    assert not list(folder.glob("*.onnx"))
    assert not list(tmp_path.glob(".export-*"))


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_an_imported_version_goes_out_as_it_came_in(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_trainable(questions=8)
    version = foreign.import_folder(project, make_classifier(tmp_path, kind=kind))
    intent = project.intents.get(code="stock")
    intent.code = "inventory"
    intent.save()
    project.intents.get(code="inventory").aliases.create(project=project, code="stock")
    folder = foreign.export(version, tmp_path / "out")
    logits = run_readme(folder, TEXTS, monkeypatch)
    np.testing.assert_allclose(logits, float32_logits(version), atol=1e-3)
    # It can be imported again, under the names of today.
    again = foreign.import_folder(project, folder)
    assert again.label_set == ["attendance", "inventory", "payment", "shipping"]


def test_what_can_not_be_exported(tmp_path: Path) -> None:
    project = make_project()
    version = make_version(project)
    with pytest.raises(CommandError, match="no weights"):
        call_command("export_model", project.slug, "1", str(tmp_path / "out"))
    ours = make_ours(project, tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(foreign.ForeignError, match="not empty"):
        foreign.export(ours, tmp_path / "full")
    (tmp_path / "empty").mkdir()
    foreign.export(ours, tmp_path / "empty")
    assert (tmp_path / "empty" / "README.md").is_file()
    with pytest.raises(CommandError, match="no version 9"):
        call_command("export_model", project.slug, "9", str(tmp_path / "out"))
    assert version.pk != ours.pk
