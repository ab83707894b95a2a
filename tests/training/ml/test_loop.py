"""The training loop, on tiny models: what it learns, keeps, resumes and refuses."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from registry.onnx.tokens import TextEncoder
from tests.training.ml.makers import make_examples, make_recipe
from training.ml import model as models
from training.ml.data import Rows
from training.ml.interface import Example, FitResult, Progress, TrainingError
from training.ml.loop import fit

TOPICS = ("attendance", "stock", "payment", "shipping")


def train(base: Path, out: Path, **overrides: Any) -> FitResult:
    arguments: dict[str, Any] = {
        "train": make_examples(64),
        "validation": make_examples(24, seed=1),
        "labels": TOPICS,
        "multi": False,
        "base": base,
        "parent": None,
        "recipe": make_recipe(),
        "out": out,
        "checkpoints": None,
        "report": lambda progress: None,
        **overrides,
    }
    return fit(**arguments)


def test_learns_and_writes_a_whole_folder(base: Path, tmp_path: Path) -> None:
    result = train(base, tmp_path / "out")
    assert result.accuracy is not None
    assert result.accuracy > 0.85
    assert result.macro_f1 == max(line.macro_f1 or 0 for line in result.history)
    assert result.steps == 48
    assert result.resumed_from_step == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "head.safetensors",
        "labels.json",
    } <= names
    document = json.loads((tmp_path / "out" / "labels.json").read_text("utf-8"))
    assert document == {"labels": list(TOPICS), "multi": False, "max_length": 32}


def test_word_embeddings_and_frozen_layers_stay(base: Path, tmp_path: Path) -> None:
    train(base, tmp_path / "out", recipe=make_recipe(frozen_layers=1))
    before = load_file(base / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)


def test_frozen_layers_computed_once_give_the_same_training(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(frozen_layers=1)
    cached = train(base, tmp_path / "cached", recipe=recipe)
    monkeypatch.setattr("training.ml.frozen._LARGEST_CACHE_BYTES", 0)
    plain = train(base, tmp_path / "plain", recipe=recipe)
    losses = [[line.loss for line in run.history] for run in (cached, plain)]
    # The cache is float16.
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)


def test_two_runs_with_one_seed_are_alike(base: Path, tmp_path: Path) -> None:
    first = train(base, tmp_path / "a")
    second = train(base, tmp_path / "b")
    assert [x.loss for x in first.history] == pytest.approx(
        [x.loss for x in second.history], rel=1e-4
    )


@pytest.mark.parametrize("finished_steps", [3, 21])
def test_resumes_to_the_same_result(
    base: Path, tmp_path: Path, finished_steps: int
) -> None:
    recipe = make_recipe(checkpoint_every_s=1e-6)
    whole = train(base, tmp_path / "whole", recipe=recipe)

    die = functools.partial(interrupt, after=finished_steps)
    folder = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        train(base, tmp_path / "half", recipe=recipe, checkpoints=folder, report=die)
    resumed = train(base, tmp_path / "half", recipe=recipe, checkpoints=folder)
    assert resumed.resumed_from_step == finished_steps
    assert resumed.steps == whole.steps
    assert [x.step for x in resumed.history] == [x.step for x in whole.history]
    a = load_file(tmp_path / "whole" / "model.safetensors")
    b = load_file(tmp_path / "half" / "model.safetensors")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-3)


def test_a_finished_run_is_only_saved_again(base: Path, tmp_path: Path) -> None:
    recipe = make_recipe(checkpoint_every_s=1e-6)
    folder = tmp_path / "checkpoints"
    train(base, tmp_path / "a", recipe=recipe, checkpoints=folder)
    phases: list[str] = []
    again = train(
        base,
        tmp_path / "b",
        recipe=recipe,
        checkpoints=folder,
        report=lambda progress: phases.append(progress.phase),
    )
    assert again.resumed_from_step == again.steps == 48
    assert "validate" not in phases


def test_a_damaged_checkpoint_is_passed_over(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = make_recipe(checkpoint_every_s=1e-6)
    folder = tmp_path / "checkpoints"
    train(base, tmp_path / "a", recipe=recipe, checkpoints=folder)
    (newest,) = folder.glob("step-*")
    path = newest / "tensors.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    result = train(base, tmp_path / "b", recipe=recipe, checkpoints=folder)
    assert result.resumed_from_step == 0
    assert "checksum" in caplog.text


def test_a_checkpoint_of_other_rows_is_not_taken_up(base: Path, tmp_path: Path) -> None:
    recipe = make_recipe(checkpoint_every_s=1e-6)
    folder = tmp_path / "checkpoints"
    train(base, tmp_path / "a", recipe=recipe, checkpoints=folder)
    other = train(
        base,
        tmp_path / "b",
        recipe=recipe,
        checkpoints=folder,
        train=make_examples(64, seed=7),
    )
    assert other.resumed_from_step == 0


def test_new_intents_join_and_old_ones_keep_their_rows(
    base: Path, tmp_path: Path
) -> None:
    parent = tmp_path / "parent"
    old = ("stock", "attendance", "payment")
    train(
        base,
        parent,
        labels=old,
        train=make_examples(60, topics=old),
        validation=(),
    )
    # A learning rate too small to move anything: what is left is how the head starts.
    still = make_recipe(encoder_lr=1e-12, head_lr=1e-12, epochs=1)
    result = train(base, tmp_path / "child", parent=parent, recipe=still)
    before, after = (
        load_file(folder / "head.safetensors")
        for folder in (parent, tmp_path / "child")
    )
    for name in old:
        torch.testing.assert_close(
            before["weight"][old.index(name)], after["weight"][TOPICS.index(name)]
        )
    new = after["weight"][TOPICS.index("shipping")].norm()
    assert new == pytest.approx(before["weight"].norm(dim=1).mean().item(), rel=1e-4)
    # The imprinted row answers for its intent without any training.
    assert result.macro_f1 is not None
    assert result.macro_f1 > 0.7


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_best_pass_is_kept(base: Path, tmp_path: Path, interrupted: bool) -> None:
    # Validation rows whose intents are swapped: training makes them worse and worse.
    swapped = [
        replace(e, labels=(TOPICS[(TOPICS.index(e.labels[0]) + 1) % 4],))
        for e in make_examples(24, seed=1)
    ]
    recipe = make_recipe(
        early_stopping_patience=2, head_lr=1e-3, epochs=12, checkpoint_every_s=1e-6
    )
    folder = tmp_path / "checkpoints"

    def run(report: Callable[[Progress], None] = lambda progress: None) -> FitResult:
        return train(
            base,
            tmp_path / "out",
            validation=swapped,
            recipe=recipe,
            checkpoints=folder,
            report=report,
        )

    if interrupted:
        # After the first validation, so that the best weights lie in the checkpoint.
        with pytest.raises(KeyboardInterrupt):
            run(functools.partial(interrupt, after=12))
    result = run()
    assert bool(result.resumed_from_step) == interrupted
    assert result.best_epoch < result.epochs < 12
    assert result.macro_f1 == max(line.macro_f1 or 0.0 for line in result.history)
    assert accuracy_of(tmp_path / "out", swapped) == result.accuracy
    assert result.accuracy != result.history[-1].accuracy


def interrupt(progress: Progress, *, after: int) -> None:
    if progress.step > after:
        raise KeyboardInterrupt


def accuracy_of(folder: Path, examples: list[Example]) -> float:
    """Accuracy of a written model, computed with plain torch."""
    model = models.load(folder, len(TOPICS), make_recipe())
    model.head.load_state_dict(load_file(folder / "head.safetensors"))
    model.eval()
    rows = Rows(examples, TOPICS, TextEncoder(folder, max_length=32))
    with torch.inference_mode():
        chosen = model(*rows.batch(range(len(rows)))).argmax(dim=1).numpy()
    return float((chosen == rows.targets.argmax(axis=1)).mean())


def test_several_intents_a_question(base: Path, tmp_path: Path) -> None:
    pairs = [
        Example(f"{a.text} {b.text}", (*a.labels, *b.labels))
        for a, b in zip(
            make_examples(64, topics=("stock", "payment")),
            make_examples(64, topics=("shipping", "attendance"), seed=3),
            strict=True,
        )
    ]
    rows = [*pairs, *make_examples(64), Example("hello weather", ())]
    result = train(
        base,
        tmp_path / "out",
        train=rows,
        validation=rows[::3],
        multi=True,
        recipe=make_recipe(epochs=12),
    )
    assert result.macro_f1 is not None
    assert result.macro_f1 > 0.85


def test_adapters_are_merged(base: Path, tmp_path: Path) -> None:
    recipe = make_recipe(lora_rank=4, lora_alpha=8.0, encoder_lr=1e-2)
    result = train(base, tmp_path / "out", recipe=recipe)
    before = load_file(base / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert set(before) == set(after)
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved
    assert all("attention.self" in name for name in moved)
    assert result.accuracy is not None
    assert result.accuracy > 0.8


def test_what_report_raises_ends_the_run(base: Path, tmp_path: Path) -> None:
    class CancelledError(Exception):
        pass

    def cancel(progress: Progress) -> None:
        if progress.step == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        train(base, tmp_path / "out", report=cancel)
    assert not (tmp_path / "out").exists()


def test_progress_is_told_at_every_step(base: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    train(base, tmp_path / "out", report=seen.append)
    assert next(p.phase for p in seen) == "prepare"
    assert seen[-1].phase == "save"
    steps = [p.step for p in seen]
    assert steps == sorted(steps)
    assert set(steps) == set(range(49))
    assert all(p.total_steps == 48 for p in seen)
    assert seen[-1].eta_s == 0.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": []}, "no labelled questions"),
        ({"train": make_examples(20, topics=("stock",))}, "same intent"),
        ({"train": [Example("x", ("gone",)), *make_examples(8)]}, "“gone”"),
        ({"train": [Example("x", ("stock", "payment"))]}, "2 intents"),
        ({"labels": ("stock", "stock")}, "named twice"),
        ({"recipe": make_recipe(encoder_lr=0.99, head_lr=0.99)}, "not a number|longer"),
    ],
)
def test_refuses(
    base: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    if "recipe" in change:
        # Weights that are already broken: the first loss is not a number.
        tensors = load_file(base / "model.safetensors")
        tensors["encoder.layer.1.output.dense.bias"].fill_(float("nan"))
        from safetensors.torch import save_file

        save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingError, match=words):
        train(base, tmp_path / "out", **change)
