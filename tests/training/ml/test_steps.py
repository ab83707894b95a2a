"""What one step does: its parts, how intents count, its numbers, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.training.ml.makers import make_examples, make_recipe
from tests.training.ml.test_loop import TOPICS, train
from training.ml import objective
from training.ml import processes as running
from training.ml.interface import Example, FitResult, TrainingError
from training.ml.processes import Processes


def losses(result: FitResult) -> list[float]:
    return [line.loss for line in result.history]


def still_base(tmp_path: Path) -> Path:
    """A tiny base without dropout, so that two trainings can be compared."""
    from tests.training.ml.makers import make_tiny_base

    return make_tiny_base(
        tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("balance", ["none", "weights"])
def test_a_step_in_parts_is_the_same_step(
    tmp_path: Path, multi: bool, balance: str
) -> None:
    base = still_base(tmp_path)
    runs = []
    for parts in (1, 3):
        # 62 rows: the last batch of a pass has 6, which makes parts of 2.
        recipe = make_recipe(gradient_accumulation=parts, class_balance=balance)
        out = tmp_path / f"{parts}-{multi}"
        runs.append(
            train(base, out, recipe=recipe, multi=multi, train=make_examples(62))
        )
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), rel=2e-3)
    a, b = (load_file(tmp_path / f"{n}-{multi}" / "head.safetensors") for n in (1, 3))
    torch.testing.assert_close(a["weight"], b["weight"], rtol=0.02, atol=0.02)


def test_parts_cover_a_step() -> None:
    batch = list(range(10))
    alone = Processes("auto")
    assert list(alone.parts(batch, 1)) == [batch]
    assert [len(part) for part in alone.parts(batch, 4)] == [3, 3, 3, 1]
    assert list(alone.parts([7], 4)) == [[7]]
    assert [row for part in alone.parts(batch, 3) for row in part] == batch


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_balance_helps_an_intent_with_few_rows(
    base: Path, tmp_path: Path, balance: str
) -> None:
    # "stock" has 4 of 100 rows, some of which say the same as those of "payment".
    many = make_examples(96, topics=("payment",), seed=5)
    few = [Example(many[i].text, ("stock",)) for i in range(4)]
    test = [Example(e.text, ("stock",)) for e in few]

    def share(name: str) -> float:
        """How likely the model calls the rare rows by their own intent."""
        recipe = make_recipe(class_balance=name, epochs=40, batch_size=50)
        out = tmp_path / name
        train(
            base,
            out,
            recipe=recipe,
            train=[*many, *few],
            validation=(),
            labels=("payment", "stock"),
        )
        return float(probabilities(out, test)[:, 1].mean())

    assert share(balance) > share("none") + 0.1


def probabilities(folder: Path, examples: list[Example]) -> np.ndarray:
    from registry.onnx.tokens import TextEncoder
    from training.ml import model as models
    from training.ml.data import Rows

    labels = ("payment", "stock")
    model = models.load(folder, len(labels), make_recipe())
    model.head.load_state_dict(load_file(folder / "head.safetensors"))
    model.eval()
    rows = Rows(examples, labels, TextEncoder(folder, max_length=32))
    with torch.inference_mode():
        return model(*rows.batch(range(len(rows)))).softmax(dim=1).numpy()


def test_positive_weights_balance_several_intents(base: Path, tmp_path: Path) -> None:
    # One intent in 40 rows: without weights "never" is a good answer.
    rows = [
        *make_examples(78, topics=("payment",)),
        *make_examples(2, topics=("stock",)),
    ]
    recalls = []
    for balance in ("none", "weights"):
        recipe = make_recipe(class_balance=balance, epochs=2, encoder_lr=1e-4)
        out = tmp_path / balance
        labels = ("payment", "stock")
        train(
            base,
            out,
            train=rows,
            validation=(),
            labels=labels,
            multi=True,
            recipe=recipe,
        )
        head = load_file(out / "head.safetensors")
        recalls.append(head["bias"][1].item() - head["bias"][0].item())
    assert recalls[1] > recalls[0]


def test_new_rows_may_start_fresh(base: Path, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    old = TOPICS[:3]
    train(base, parent, labels=old, train=make_examples(60, topics=old), validation=())
    still = make_recipe(encoder_lr=1e-12, head_lr=1e-12, epochs=1, new_rows="fresh")
    result = train(base, tmp_path / "child", parent=parent, recipe=still)
    before, after = (
        load_file(folder / "head.safetensors")
        for folder in (parent, tmp_path / "child")
    )
    torch.testing.assert_close(before["weight"], after["weight"][:3])
    new = after["weight"][3]
    assert 0.0 < new.abs().max() < 0.1
    assert after["bias"][3].abs() < 1e-6
    # A fresh row answers for nothing: an imprinted one does (see test_loop).
    assert result.accuracy is not None
    assert result.accuracy <= 0.75


@pytest.mark.parametrize(
    ("wanted", "got"), [("auto", "float32"), ("float32", "float32"), ("bf16", "bf16")]
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a CPU does")
def test_precision(base: Path, tmp_path: Path, wanted: str, got: str) -> None:
    matrices = torch.backends.mkldnn.matmul
    before = matrices.fp32_precision
    recipe = make_recipe(precision=wanted, frozen_layers=1)
    result = train(base, tmp_path / "out", recipe=recipe)
    assert (result.precision, result.processes) == (got, 1)
    assert result.accuracy is not None
    assert result.accuracy > 0.85
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights["encoder.layer.1.output.dense.weight"].dtype == torch.float32
    assert matrices.fp32_precision == before


def test_bf16_is_refused_by_a_gpu_that_lacks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    gpu = torch.device("cuda")
    assert running._precision("auto", gpu) == "float32"
    with pytest.raises(TrainingError, match="does not compute in bf16"):
        running._precision("bf16", gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert running._precision("auto", gpu) == "bf16"
    assert running._precision("auto", torch.device("mps")) == "float32"


def test_the_best_device_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, device in (
        (True, True, "cuda"),
        (False, True, "mps"),
        (False, False, "cpu"),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert running.best_device().type == device


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(TrainingError, match="3 processes want a GPU each"):
        Processes("auto")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_learns_on_a_gpu_in_bf16(base: Path, tmp_path: Path) -> None:
    result = train(base, tmp_path / "out", recipe=make_recipe(frozen_layers=1))
    assert (result.device, result.precision) == ("cuda", "bf16")
    assert result.accuracy is not None
    assert result.accuracy > 0.85


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (lambda logits: logits.sum() * float("nan"), "The loss is no longer a number"),
        # The square root of 0 is a number; its slope is none.
        (lambda logits: (logits * 0).abs().sqrt().sum(), "The gradients are no longer"),
    ],
)
def test_what_is_no_number_ends_the_training(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: Any, words: str
) -> None:
    plain, calls = objective.loss, []

    def loss(logits: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        calls.append(1)
        value = plain(logits, *rest, **named)
        return value + breaks(logits) if len(calls) == 3 else value

    monkeypatch.setattr(objective, "loss", loss)
    with pytest.raises(TrainingError, match=rf"{words}.* at step 3: lower"):
        train(base, tmp_path / "out")
    assert not (tmp_path / "out").exists()
