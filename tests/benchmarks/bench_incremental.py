"""New intents for a trained model: the preset `incremental` beside a full retraining.

Needs no database: it calls the training code itself. For each seed: a version is
trained on 100 intents with all their rows, drawn by the seed; then 50 more intents come
with 10 labelled rows each (and one validation row, as the split by hash would give).
Measured are the exported models, on the test rows of all 150 intents:

    retrain        preset `first` from the base model, on everything
    incremental    the preset, from the version
    no replay      the preset without old rows
    plain          5e-6 for all weights, half replay, two thirds frozen, fresh head rows

    python tests/benchmarks/bench_incremental.py FOLDER [--seeds 0 1 2] [--bases FOLDER]
        [--results FILE]

Time is compared as CPU seconds of training and export, which other work on the machine
changes little. `--results` keeps each measurement, so that a run can be taken up again.

FOLDER holds train.jsonl, valid.jsonl and test.jsonl with `text` and `label` on each
line; rows with the label `oos` are left out. `--bases` keeps the versions of 100
intents for a next run: their training is no part of what is compared.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from bench_training import build, read, stratified

sys.path.insert(0, str(Path(__file__).parents[2]))

from registry.onnx.session import OnnxClassifier
from training.bases import DEFAULT_BASE
from training.ml.interface import Example
from training.recipe import PRESETS, Recipe

OLD_INTENTS, NEW_INTENTS = 100, 50
LABELS_A_NEW_INTENT = 10

PLAIN = Recipe(
    epochs=2,
    encoder_lr=5e-6,
    head_lr=5e-6,
    frozen_layers=2 / 3,
    replay=0.5,
    batch_size=8,
    new_rows="fresh",
)


@dataclass(frozen=True)
class Data:
    """Rows of one seed."""

    old: frozenset[str]
    """The intents that the version knows."""
    first: list[Example]
    """What it was trained on."""
    new: list[Example]
    """What came later."""
    validation: list[Example]
    test: list[Example]


@dataclass(frozen=True)
class Result:
    """One way to learn the new intents."""

    cpu_s: float
    """Training and export."""
    accuracy: float
    old: float
    new: float


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    if not (options.folder / "train.jsonl").is_file():
        print(f"skipped: {options.folder} has no train.jsonl")
        return 0
    found: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in options.seeds:
            work = Path(temporary) / str(seed)
            version = (options.bases or work) / f"base{seed}"
            for name, result in compare(options, seed, version, work):
                found.setdefault(name, []).append(result)
                print(f"seed {seed}  {_row(name, [result], found)}", flush=True)
                _remember(options.results, seed, name, result)
    print(f"\nmean of {len(options.seeds)} seeds")
    for name, results in found.items():
        print(_row(name, results, found))
    return 0


def compare(
    options: argparse.Namespace, seed: int, version: Path, work: Path
) -> Iterator[tuple[str, Result]]:
    """Train all ways on the rows of one seed."""
    known = _remembered(options.results, seed)
    data = draw(options.folder, seed)
    first = replace(PRESETS["first"], seed=13 + seed)
    incremental = replace(PRESETS["incremental"], seed=13 + seed)
    if not (version / "model.safetensors").is_file():
        held_out = [e for e in data.validation if e.labels[0] in data.old]
        build(data.first, held_out, options.base, None, first, version)
    ways = {
        "retrain": (first, None),
        "incremental": (incremental, version),
        "no replay": (replace(incremental, replay=0.0), version),
        "plain": (replace(PLAIN, seed=13 + seed), version),
    }
    for name, (recipe, parent) in ways.items():
        if name in known:
            yield name, known[name]
            continue
        rows = [*data.first, *data.new]
        if parent is not None:
            count = round(recipe.replay * len(data.new))
            rows = [*data.new, *stratified(data.first, count, recipe.seed)]
        started = time.process_time()
        build(rows, data.validation, options.base, parent, recipe, work)
        yield name, measure(work, data, time.process_time() - started)


def draw(folder: Path, seed: int) -> Data:
    """Choose intents and rows by a seed."""
    chance = random.Random(seed)
    train, valid, test = (
        [e for e in read(folder / f"{part}.jsonl") if e.labels[0] != "oos"]
        for part in ("train", "valid", "test")
    )
    intents = sorted({e.labels[0] for e in train})
    old = frozenset(chance.sample(intents, OLD_INTENTS))
    added = sorted(set(intents) - old)[:NEW_INTENTS]
    new, validation = [], [e for e in valid if e.labels[0] in old]
    for intent in added:
        own = [e for e in train if e.labels[0] == intent]
        new += chance.sample(own, LABELS_A_NEW_INTENT)
        validation.append(next(e for e in valid if e.labels[0] == intent))
    return Data(
        old=old,
        first=[e for e in train if e.labels[0] in old],
        new=new,
        validation=validation,
        test=[e for e in test if e.labels[0] in old.union(added)],
    )


def measure(folder: Path, data: Data, cpu_s: float) -> Result:
    """Let the exported model answer the test rows."""
    model = OnnxClassifier(folder, threads=1)
    chosen = model.logits([e.text for e in data.test]).argmax(axis=1)
    right = np.array(
        [model.labels[i] == e.labels[0] for i, e in zip(chosen, data.test, strict=True)]
    )
    is_old = np.array([e.labels[0] in data.old for e in data.test])
    return Result(
        cpu_s=cpu_s,
        accuracy=float(right.mean()),
        old=float(right[is_old].mean()),
        new=float(right[~is_old].mean()),
    )


def _row(name: str, results: Sequence[Result], found: dict[str, list[Result]]) -> str:
    """One line: means, and the share of the retraining's time in the same seeds."""

    def mean(values: Sequence[float]) -> float:
        return statistics.fmean(values)

    retrain = found["retrain"][-len(results) :]
    share = mean([r.cpu_s for r in results]) / mean([r.cpu_s for r in retrain])
    spread = ""
    if len(results) > 1:
        spread = f" ± {100 * statistics.stdev(r.accuracy for r in results):.1f}"
    return (
        f"{name:12s} all {100 * mean([r.accuracy for r in results]):5.1f}{spread} %"
        f"  old {100 * mean([r.old for r in results]):5.1f} %"
        f"  new {100 * mean([r.new for r in results]):5.1f} %"
        f"  {mean([r.cpu_s for r in results]):6.1f} CPU s ({share:.2f} of retraining)"
    )


def _remember(path: Path | None, seed: int, name: str, result: Result) -> None:
    if path is not None and name not in _remembered(path, seed):
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seed": seed, "way": name, **asdict(result)}) + "\n")


def _remembered(path: Path | None, seed: int) -> dict[str, Result]:
    """What an earlier run has measured of a seed."""
    if path is None or not path.exists():
        return {}
    lines = map(json.loads, path.read_text("utf-8").splitlines())
    return {
        line.pop("way"): Result(**line) for line in lines if line.pop("seed") == seed
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--base", default=DEFAULT_BASE)
    parser.add_argument("--bases", type=Path, help="folder for the first versions")
    parser.add_argument("--results", type=Path, help="file for the measurements")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
