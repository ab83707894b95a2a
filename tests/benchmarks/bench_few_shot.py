"""Five or ten labels an intent: the preset `few-shot` beside SetFit on the same base.

    python tests/benchmarks/bench_few_shot.py FOLDER [--labels 10] [--intents 50]
        [--seed 13] [--threads 1] [--setfit-python PATH] [--only few-shot tfidf ...]

FOLDER holds train.jsonl and test.jsonl with `text` and `label` on each line; rows out
of scope are left out. The seed picks the rows; everybody learns from the same ones, one
after the other, with as many threads. SetFit is trained where `--setfit-python` names
an interpreter that has it. Prints a line for each: accuracy as trained and as served (8
bits), seconds and CPU seconds of the training alone, and the export's; then the ratios
to SetFit. CPU seconds are what to compare on a machine that does other work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union

sys.path.insert(0, str(Path(__file__).parents[2]))

from registry.onnx.session import OnnxClassifier
from training.bases import DEFAULT_BASE
from training.ml.interface import Example, Progress
from training.recipe import PRESETS, Recipe

CONTENDERS = ("tfidf", "first", "few-shot", "setfit")
SETFIT = Path(__file__).with_name("setfit_side.py")


@dataclass
class Result:
    """What one contender did."""

    accuracy: float
    seconds: float
    cpu_s: float
    steps: int = 0
    texts: int = 0
    """Rows that went through the encoder and back while training."""

    served: float | None = None
    export_s: float = 0.0

    def line(self, name: str) -> str:
        """One row of the table."""
        served = "" if self.served is None else f"{self.served:.4f}"
        return (
            f"{name:10} {self.accuracy:8.4f} {served:>8} {self.seconds:8.0f}"
            f" {self.cpu_s:8.0f} {self.export_s:9.0f} {self.steps:6} {self.texts:7}"
        )


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    if not (options.folder / "train.jsonl").is_file():
        print(f"skipped: {options.folder} has no train.jsonl")
        return 0
    import torch

    from training.ml.base import resolve

    torch.set_num_threads(options.threads)
    train, test = pick(options.folder, options.labels, options.intents, options.seed)
    base = resolve(options.base, Path(tempfile.gettempdir()) / "tuneloop-bench-bases")
    intents = len({example.labels[0] for example in train})
    print(
        f"{len(train)} rows of {intents} intents, {len(test)} to test with", flush=True
    )
    print(
        f"{'':10} {'accuracy':>8} {'served':>8} {'seconds':>8} {'CPU s':>8}"
        f" {'export s':>9} {'steps':>6} {'texts':>7}",
        flush=True,
    )
    changes = dict(item.split("=", 1) for item in options.set)
    results: dict[str, Result] = {}
    for name in options.only:
        if name == "tfidf":
            result = floor(train, test)
        elif name == "setfit":
            if options.setfit_python is None:
                print("setfit     skipped: --setfit-python names no interpreter")
                continue
            result = setfit(train, test, base, options)
        else:
            recipe = replace(PRESETS[name], seed=options.seed)
            if name == "few-shot":
                recipe = recipe.with_overrides(changes)
            result = ours(train, test, base, recipe)
        results[name] = result
        print(result.line(name), flush=True)
    for name in results if "setfit" in results else ():
        other = results["setfit"]
        mine = results[name]
        print(
            f"{name} / setfit: accuracy {mine.accuracy - other.accuracy:+.4f},"
            f" time {mine.seconds / other.seconds:.3f},"
            f" CPU time {mine.cpu_s / other.cpu_s:.3f}"
        )
    return 0


def pick(
    folder: Path, labels: int, intents: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Choose `labels` training rows of each intent, and all their test rows."""
    chance = random.Random(seed)
    train = _read(folder / "train.jsonl")
    names = sorted({example.labels[0] for example in train})
    if intents:
        names = sorted(chance.sample(names, intents))
    rows: list[Example] = []
    for name in names:
        own = [example for example in train if example.labels[0] == name]
        rows += chance.sample(own, min(labels, len(own)))
    known = set(names)
    test = _read(folder / "test.jsonl")
    return rows, [example for example in test if example.labels[0] in known]


def ours(
    train: Sequence[Example], test: Sequence[Example], base: Path, recipe: Recipe
) -> Result:
    """Train by a recipe, without validation rows: none are to spare."""
    from training.ml.export import export
    from training.ml.loop import fit

    labels = sorted({example.labels[0] for example in train})
    texts = [example.text for example in test]
    truth = [labels.index(example.labels[0]) for example in test]
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        with _clock() as took:
            result = fit(
                train=train,
                validation=[],
                labels=labels,
                multi=False,
                base=base,
                parent=None,
                recipe=recipe,
                out=out,
                checkpoints=None,
                report=_silent,
            )
        trained = _answers(out, texts, recipe)
        samples = [example.text for example in train]
        exported = export(out, out, samples=samples, report=_silent)
        served = OnnxClassifier(out, threads=1).logits(texts).argmax(axis=1)
    return Result(
        accuracy=float(np.mean(trained == truth)),
        seconds=took[0],
        cpu_s=took[1],
        steps=result.steps,
        texts=round(result.steps / -(-len(train) // recipe.batch_size) * len(train)),
        served=float(np.mean(served == truth)),
        export_s=exported.seconds,
    )


def setfit(
    train: Sequence[Example],
    test: Sequence[Example],
    base: Path,
    options: argparse.Namespace,
) -> Result:
    """Train SetFit in an interpreter of its own."""
    job = {
        "folder": str(base),
        "train": [(example.text, example.labels[0]) for example in train],
        "test": [(example.text, example.labels[0]) for example in test],
        "iterations": options.iterations,
        "seed": options.seed,
        "threads": options.threads,
    }
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(job), "utf-8")
        # What it says on the way goes to stderr: it takes long.
        done = subprocess.run(
            [options.setfit_python, SETFIT, path],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=environment,
        )
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def floor(train: Sequence[Example], test: Sequence[Example]) -> Result:
    """Logistic regression on words and characters."""
    with _clock() as took:
        vectors = make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True),
        )
        features = vectors.fit_transform([example.text for example in train])
        model = LogisticRegression(C=10.0, max_iter=300)
        model.fit(features, [example.labels[0] for example in train])
    answers = model.predict(vectors.transform([example.text for example in test]))
    truth = [example.labels[0] for example in test]
    return Result(float(np.mean(answers == truth)), took[0], took[1])


def _answers(folder: Path, texts: Sequence[str], recipe: Recipe) -> np.ndarray:
    """Return the trained model's choice for each text, in float32."""
    import torch

    from registry.onnx.tokens import TextEncoder, pad
    from training.ml import model as models

    parent = models.read_parent(folder)
    model = models.load(folder, len(parent.labels), replace(recipe, lora_rank=0)).eval()
    model.head.load_state_dict({"weight": parent.weight, "bias": parent.bias})
    encoder = TextEncoder(folder, max_length=recipe.max_length)
    ids = encoder.encode(texts).ids
    chosen = np.empty(len(ids), np.int64)
    by_length = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    with torch.inference_mode():
        for start in range(0, len(ids), 64):
            rows = by_length[start : start + 64]
            tokens, mask = pad([ids[row] for row in rows], encoder.pad_id)
            logits = model(torch.from_numpy(tokens), torch.from_numpy(mask))
            chosen[rows] = logits.argmax(dim=1).numpy()
    return chosen


@contextmanager
def _clock() -> Iterator[list[float]]:
    """Give a list that holds seconds and CPU seconds at the end."""
    took: list[float] = []
    started, cpu = time.monotonic(), time.process_time()
    yield took
    took += [time.monotonic() - started, time.process_time() - cpu]


def _read(path: Path) -> list[Example]:
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Example(r["text"], (r["label"],)) for r in rows if r["label"] != "oos"]


def _silent(progress: Progress) -> None:
    del progress


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labels", type=int, default=10, help="rows of each intent")
    parser.add_argument("--intents", type=int, default=0, help="0 = all")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--base", default=DEFAULT_BASE)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--setfit-python", type=Path, help="interpreter with setfit")
    parser.add_argument("--iterations", type=int, default=20, help="SetFit's pairs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
