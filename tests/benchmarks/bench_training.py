"""How long a training takes and how well it does, on a data set in JSONL files.

Needs no database: it calls the training code itself. Prints one line a stage and a
last one with the accuracy on the test file, for the served model and, as the floor
that any model must beat, for logistic regression on character n-grams.

    python tests/benchmarks/bench_training.py FOLDER [--rows 100] [--set epochs=3 ...]
    python tests/benchmarks/bench_training.py FOLDER --starve alarm_set alarm_query

FOLDER holds train.jsonl, test.jsonl and perhaps valid.jsonl, with `text` and `label` on
each line. `--starve A B` trains a first version on few rows of two intents, then an
incremental one with 100 more of each and the replay of the preset.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).parents[2]))

from registry.onnx.session import OnnxClassifier
from training.bases import DEFAULT_BASE
from training.ml.interface import Example, Progress
from training.recipe import PRESETS, Recipe

STARVED_ROWS = 5
"""Rows of each starved intent in the first training."""

NEW_ROWS = 100
"""Rows of each starved intent that come for the second."""


def main() -> int:
    """Run what the command line asks for."""
    started = time.monotonic()
    options = _options()
    folder: Path = options.folder
    if not (folder / "train.jsonl").is_file():
        print(f"skipped: {folder} has no train.jsonl")
        return 0
    train = read(folder / "train.jsonl")
    chance = random.Random(options.seed)
    chance.shuffle(train)
    validation = []
    if (folder / "valid.jsonl").is_file():
        validation = read(folder / "valid.jsonl")
    test = read(folder / "test.jsonl")
    changes = dict(item.split("=", 1) for item in options.set)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(options.keep or temporary)
        if options.starve:
            starve(train, validation, test, options, changes, work)
            return 0
        rows = train[: options.rows] if options.rows else train
        recipe = PRESETS[options.preset].with_overrides(changes)
        # A hundred rows leave none to spare for validation.
        held_out = [] if options.rows else validation
        seconds = build(rows, held_out, options.base, None, recipe, work)
        print(f"start to exported model {time.monotonic() - started:.1f} s")
        print(f"fit {seconds[0]:.1f} s, export {seconds[1]:.1f} s, {len(rows)} rows")
        print(f"accuracy {scores(work, test)}, floor {floor(rows, test):.4f}")
    return 0


def starve(
    train: list[Example],
    validation: list[Example],
    test: list[Example],
    options: argparse.Namespace,
    changes: dict[str, str],
    work: Path,
) -> None:
    """Train without, then with, rows of two intents, and print both versions."""
    pair = set(options.starve)
    scarce = [e for e in train if e.labels[0] in pair]
    plenty = [e for e in train if e.labels[0] not in pair][: options.rows or None]
    few, new = [], []
    for intent in sorted(pair):
        own = [e for e in scarce if e.labels[0] == intent]
        few += own[:STARVED_ROWS]
        new += own[STARVED_ROWS : STARVED_ROWS + NEW_ROWS]
    first_rows = plenty + few
    first = replace(PRESETS["first"], seed=options.seed)
    seconds = build(first_rows, validation, options.base, None, first, work / "1")
    print(f"first: {len(first_rows)} rows, fit {seconds[0]:.1f} s")
    print(f"  {scores(work / '1', test, pair)}", flush=True)
    recipe = PRESETS["incremental"].with_overrides(changes)
    again = stratified(first_rows, round(recipe.replay * len(new)), options.seed)
    rows = new + again
    seconds = build(rows, validation, options.base, work / "1", recipe, work / "2")
    print(f"incremental: {len(new)} new and {len(again)} old rows,", end=" ")
    print(f"fit {seconds[0]:.1f} s, export {seconds[1]:.1f} s")
    print(f"  {scores(work / '2', test, pair)}")


def build(
    rows: Sequence[Example],
    validation: Sequence[Example],
    base: str,
    parent: Path | None,
    recipe: Recipe,
    out: Path,
) -> tuple[float, float]:
    """Train and export; returns the seconds of both."""
    from training.ml.base import resolve
    from training.ml.export import export
    from training.ml.loop import fit

    labels = {example.labels[0] for example in rows}
    if parent is not None:
        labels |= set(json.loads((parent / "labels.json").read_text())["labels"])
    known = [example for example in validation if example.labels[0] in labels]
    cache = Path(tempfile.gettempdir()) / "tuneloop-bench-bases"
    result = fit(
        train=rows,
        validation=known,
        labels=sorted(labels),
        multi=False,
        base=resolve(base, cache),
        parent=parent,
        recipe=recipe,
        out=out,
        checkpoints=None,
        report=_Lines(),
    )
    for line in result.history:
        print(f"  step {line.step}: loss {line.loss:.3f}", end="")
        print("" if line.accuracy is None else f", validation {line.accuracy:.4f}")
    samples = [example.text for example in (*known, *rows)]
    exported = export(out, out, samples=samples, report=_Lines())
    print(f"  {exported.reason}", flush=True)
    return result.seconds, exported.seconds


def scores(
    folder: Path, test: Sequence[Example], pair: set[str] | None = None
) -> dict[str, float]:
    """Accuracy of the served model: all rows, without `oos`, the pair and the rest."""
    model = OnnxClassifier(folder, threads=2)
    chosen = model.logits([example.text for example in test]).argmax(axis=1)
    right = np.array(
        [model.labels[i] == e.labels[0] for i, e in zip(chosen, test, strict=True)]
    )
    inside = np.array([e.labels[0] != "oos" for e in test])
    found = {"all": right.mean(), "in_scope": right[inside].mean()}
    if pair:
        in_pair = np.array([e.labels[0] in pair for e in test])
        found |= {"pair": right[in_pair].mean(), "others": right[~in_pair].mean()}
    return {name: round(float(value), 4) for name, value in found.items()}


def floor(rows: Sequence[Example], test: Sequence[Example]) -> float:
    """Accuracy of logistic regression on character n-grams from the same rows."""
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    features = vectors.fit_transform([example.text for example in rows])
    model = LogisticRegression(C=10.0, max_iter=300)
    model.fit(features, [example.labels[0] for example in rows])
    answers = model.predict(vectors.transform([example.text for example in test]))
    return float(np.mean(answers == [example.labels[0] for example in test]))


def stratified(rows: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Pick rows, one intent after the other in turn."""
    chance = random.Random(seed)
    by_intent: dict[str, list[Example]] = {}
    for example in rows:
        by_intent.setdefault(example.labels[0], []).append(example)
    for own in by_intent.values():
        chance.shuffle(own)
    chosen: list[Example] = []
    while len(chosen) < min(count, len(rows)):
        for own in by_intent.values():
            if own:
                chosen.append(own.pop())
    return chosen[:count]


def read(path: Path) -> list[Example]:
    """Read `text` and `label` from each line."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Example(row["text"], (row["label"],)) for row in rows]


class _Lines:
    """Prints the progress every ten seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._last >= 10:
            self._last = time.monotonic()
            print(
                f"  {progress.phase} {progress.step}/{progress.total_steps}",
                f"loss {progress.loss:.3f}",
                flush=True,
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=0, help="0 = all")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="first")
    parser.add_argument("--base", default=DEFAULT_BASE)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--starve", nargs=2, metavar="INTENT")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--keep", type=Path, help="folder for the models")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
