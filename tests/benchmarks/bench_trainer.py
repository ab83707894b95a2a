"""How long a training takes beside transformers' Trainer, used plainly.

    python tests/benchmarks/bench_trainer.py FOLDER [--rows 1500] [--set epochs=2 ...]

FOLDER holds train.jsonl and test.jsonl with `text` and `label` on each line. Both sides
learn the same rows by the same recipe: base model, head, learning rates and schedule,
frozen word embeddings, batch size, passes, seed. Trainer gets what its tutorials give
it: rows padded to 128 tokens and shuffled, a head that starts random. Nothing is
validated on either side. Seconds are from the base model's folder to the trained one,
loading, tokenising and saving included, in the process's CPU time, too: that is the one
to go by on a busy machine.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from transformers import (
    AutoModel,
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

from bench_training import read

from registry.onnx.tokens import TextEncoder
from training.bases import DEFAULT_BASE
from training.ml import loop
from training.ml import model as models
from training.ml.base import resolve
from training.ml.data import Rows
from training.ml.interface import Example
from training.recipe import PRESETS, Recipe

PADDED_TO = 128
"""Tokens of every row that Trainer sees."""


@dataclass(frozen=True)
class Side:
    """What one of the two did."""

    name: str
    wall_s: float
    cpu_s: float
    accuracy: float


class Classifier(nn.Module):
    """An encoder, mean pooling and a linear head, as one would write it."""

    def __init__(self, folder: Path, classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(
            folder, dtype=torch.float32, add_pooling_layer=False
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.encoder.config.hidden_size, classes)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return logits (B, C), and the loss where labels (B,) are given."""
        hidden = self.encoder(input_ids, attention_mask).last_hidden_state
        logits = self.head(self.dropout(models.mean_pool(hidden, attention_mask)))
        if labels is None:
            return {"logits": logits}
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def main() -> int:
    """Run both and print them side by side."""
    options = _options()
    if not (options.folder / "train.jsonl").is_file():
        print(f"skipped: {options.folder} has no train.jsonl")
        return 0
    train = read(options.folder / "train.jsonl")
    random.Random(options.seed).shuffle(train)
    train = train[: options.rows]
    labels = sorted({example.labels[0] for example in train})
    test = read(options.folder / "test.jsonl")
    random.Random(options.seed).shuffle(test)
    test = [e for e in test if e.labels[0] in labels][: options.test_rows]
    changes = dict(item.split("=", 1) for item in options.set)
    recipe = PRESETS["first"].with_overrides({"min_steps": "0", **changes})
    base = resolve(options.base, Path(tempfile.gettempdir()) / "tuneloop-bench-bases")
    steps = recipe.total_steps(len(train))
    print(f"{len(train)} rows, {len(labels)} intents, {steps} steps", flush=True)
    with tempfile.TemporaryDirectory() as work:
        arguments = (train, test, labels, base, recipe, Path(work))
        ours = timed("tuneloop", tuneloop, *arguments)
        plain = timed("Trainer", trainer, *arguments)
    for side in (ours, plain):
        rows_per_s = steps * recipe.batch_size / side.cpu_s
        print(
            f"{side.name:9} {side.wall_s:7.1f} s, CPU {side.cpu_s:7.1f} s,"
            f" {rows_per_s:6.1f} rows per CPU second, test accuracy {side.accuracy:.4f}"
        )
    print(
        f"ratio: {ours.wall_s / plain.wall_s:.2f} of Trainer's time,"
        f" {ours.cpu_s / plain.cpu_s:.2f} of its CPU time"
    )
    return 0


def timed(name: str, run: Callable[..., Callable[[], float]], *arguments: Any) -> Side:
    """Time a training, but not what measures it."""
    wall_s, cpu_s = time.monotonic(), time.process_time()
    accuracy = run(*arguments)
    wall_s, cpu_s = time.monotonic() - wall_s, time.process_time() - cpu_s
    return Side(name, wall_s, cpu_s, accuracy())


def tuneloop(
    train: Sequence[Example],
    test: Sequence[Example],
    labels: Sequence[str],
    base: Path,
    recipe: Recipe,
    work: Path,
) -> Callable[[], float]:
    """Train with the engine of this project; returns what measures the model."""
    out = work / "tuneloop"
    loop.fit(
        train=train,
        validation=(),
        labels=labels,
        multi=False,
        base=base,
        parent=None,
        recipe=recipe,
        out=out,
        checkpoints=None,
        report=lambda progress: None,
    )

    def measure() -> float:
        model = models.load(out, len(labels), recipe)
        model.head.load_state_dict(load_file(out / models.HEAD_FILE))
        return accuracy(model, test, labels, base)

    return measure


def trainer(
    train: Sequence[Example],
    test: Sequence[Example],
    labels: Sequence[str],
    base: Path,
    recipe: Recipe,
    work: Path,
) -> Callable[[], float]:
    """Train with transformers' Trainer; returns what measures the model."""
    torch.manual_seed(recipe.seed)
    model = Classifier(base, len(labels), recipe.dropout)
    if recipe.freeze_embeddings:
        model.encoder.get_input_embeddings().requires_grad_(False)
    rows = Rows(train, labels, TextEncoder(base, max_length=recipe.max_length))
    dataset = [_padded(rows, row) for row in range(len(rows))]
    groups = loop._groups(
        {n: p for n, p in model.named_parameters() if p.requires_grad}, recipe
    )
    optimizer = torch.optim.AdamW(
        [
            {key: value for key, value in group.items() if key != "peak_lr"}
            | {"lr": group["peak_lr"]}
            for group in groups
        ]
    )
    steps = recipe.total_steps(len(train))
    schedule = get_linear_schedule_with_warmup(
        optimizer, round(recipe.warmup_fraction * steps), steps
    )
    Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(work / "trainer"),
            max_steps=steps,
            per_device_train_batch_size=recipe.batch_size,
            seed=recipe.seed,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=dataset,
        optimizers=(optimizer, schedule),
    ).train()
    torch.save(model.state_dict(), work / "trainer.pt")

    def forward(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return model.cpu()(ids, mask)["logits"]

    model.eval()
    return lambda: accuracy(forward, test, labels, base)


def _padded(rows: Rows, row: int) -> dict[str, torch.Tensor]:
    ids = rows.ids[row]
    missing = PADDED_TO - len(ids)
    return {
        "input_ids": torch.tensor([*ids, *[rows.pad_id] * missing]),
        "attention_mask": torch.tensor([*[1] * len(ids), *[0] * missing]),
        "labels": torch.tensor(rows.targets[row].argmax()),
    }


def accuracy(
    forward: Any, test: Sequence[Example], labels: Sequence[str], base: Path
) -> float:
    """Share of test rows on which the largest logit is the right one."""
    if isinstance(forward, nn.Module):
        forward.eval()
    rows = Rows(test, labels, TextEncoder(base, max_length=64))
    right = 0
    for batch in rows.in_order(2048):
        with torch.inference_mode():
            chosen = forward(*rows.batch(batch)).argmax(dim=1).numpy()
        right += int((chosen == rows.targets[batch].argmax(axis=1)).sum())
    return right / len(test)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--base", default=DEFAULT_BASE)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--set", nargs="+", default=["epochs=2"], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
