"""How many labels the queue's order saves, against labelling in random order.

    python tests/benchmarks/bench_active_learning.py FOLDER --out RESULTS.jsonl
    python tests/benchmarks/bench_active_learning.py --report --out RESULTS.jsonl

FOLDER holds train.jsonl and test.jsonl with `text` and `label` on each line. The texts
of the first are imported without labels and in an order shuffled by the seed, the
second as labelled test questions. An annotator who knows the labels then claims and
submits until a size is reached, a version is trained by the preset `first` as `train`
does it, activated, and the queue is refreshed; and so on. Nothing but the product's own
functions is used:

- active: the queue `priority`.
- random: the queue `newest` over the shuffled import; no refresh is needed.

A validation share of a tenth is labelled like the rest and counts as labels.

One line a training is appended to RESULTS.jsonl. Started again with the same arguments
it goes on where it stopped: the projects lie in a data folder beside the results. The
report prints a table and draws RESULTS.svg.
"""

from __future__ import annotations

import argparse
import atexit
import io
import itertools
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "platform"))

from tests.benchmarks.learning_curves import (
    ACTIVE,
    METRICS,
    RANDOM,
    read_results,
    report,
)

FALLBACK = "oos"
AT_ONCE = 20
"""Questions that the annotator holds at a time."""


def main() -> int:
    """Runs what is missing, or reports what is there."""
    options = _options()
    if options.report:
        report(read_results(options.out), options.out.with_suffix(".svg"))
        return 0
    folder: Path | None = options.folder
    if folder is None or not (folder / "train.jsonl").is_file():
        print(f"skipped: {folder} has no train.jsonl")
        return 0
    _start_services(options)
    pool = read_rows(folder / "train.jsonl")
    test = read_rows(folder / "test.jsonl")
    if options.test_rows:
        test = random.Random(0).sample(test, options.test_rows)
    if options.pool_rows:
        pool = random.Random(0).sample(pool, options.pool_rows)
    sizes = {RANDOM: options.random, ACTIVE: options.active}
    for seed in options.seeds:
        for order in (RANDOM, ACTIVE):
            if order in options.orders:
                Arm(order, seed, pool, test, options).run(sorted(sizes[order]))
    return 0


class Arm:
    """One project that is labelled in one order, from nothing to its largest size."""

    def __init__(
        self,
        order: str,
        seed: int,
        pool: list[tuple[str, str]],
        test: list[tuple[str, str]],
        options: argparse.Namespace,
    ) -> None:
        self.order, self.seed, self.options = order, seed, options
        self.pool, self.test = list(pool), test
        random.Random(seed).shuffle(self.pool)
        self.key = {
            "order": order,
            "seed": seed,
            "pool": len(pool),
            "test": len(test),
            "set": sorted(options.set),
        }

    def run(self, sizes: Sequence[int]) -> None:
        """Labels and trains up to each size that has no result yet."""
        done = {
            result["labels"]
            for result in read_results(self.options.out)
            if result.items() >= self.key.items()
        }
        if done >= set(sizes):
            print(f"{self.order} {self.seed}: done", flush=True)
            return
        self.prepare(sizes)
        for size in sizes:
            if size not in done:
                self.one_round(size)
            if self.order == ACTIVE and self.is_enough():
                break
            if self.order == ACTIVE:
                self.serve_latest()
                self.refresh()

    def is_enough(self) -> bool:
        """Whether `--until-reached`, and both accuracies of random are reached."""
        if not self.options.until_reached:
            return False
        mine = {**self.key, "order": RANDOM}
        results = read_results(self.options.out)
        other = [r for r in results if r.items() >= mine.items()]
        own = [r for r in results if r.items() >= self.key.items()]
        target = max(other, key=lambda r: r["labels"], default=None)
        return target is not None and all(
            max(r[metric] for r in own) >= target[metric] for metric in METRICS
        )

    def prepare(self, sizes: Sequence[int]) -> None:
        """The project with its questions, made once."""
        from django.contrib.auth.models import User

        from labeling import access
        from labeling.models import Intent, Project

        slug = f"{self.order}-{self.seed}-{len(self.pool)}-{len(self.test)}"
        steps = [b - a for a, b in itertools.pairwise(sizes)] or [sizes[0]]
        self.project, is_new = Project.objects.get_or_create(
            slug=slug,
            defaults={
                "name": slug,
                "test_share": 0.0,
                "validation_share": 0.1,
                "audit_share": 0.0,  # the test questions are labelled already
                "min_labels_first": sizes[0],
                "min_labels_next": round(statistics.mean(steps)),
            },
        )
        self.annotator, _made = User.objects.get_or_create(username="oracle")
        access.sync_groups()
        if is_new:
            access.add_member(self.project, self.annotator, role="annotator")
            codes = sorted({label for _text, label in (*self.pool, *self.test)})
            for code in codes:
                Intent.objects.create(
                    project=self.project, code=code, is_fallback=code == FALLBACK
                )
        self._import()
        if self.order == ACTIVE:
            self.refresh()

    def _import(self) -> None:
        """Test questions first: a text that stands in both stays one. Repeatable."""
        from labeling.formats import Row
        from labeling.intake import import_rows
        from labeling.normalise import text_hash

        numbered = enumerate(self.test, 1)
        rows = [Row(line, text, (label,)) for line, (text, label) in numbered]
        import_rows(self.project, rows, split="test")
        bare = [Row(line, text, None) for line, (text, _) in enumerate(self.pool, 1)]
        import_rows(self.project, bare)
        self.gold = {text_hash(text): label for text, label in self.pool}

    def one_round(self, size: int) -> None:
        """Labels up to `size`, trains, and writes the result down."""
        seconds = self.label(size)
        cpu = time.process_time()
        trained = self.train()
        cpu = time.process_time() - cpu
        metrics = trained["metrics"]
        result = {
            **self.key,
            "labels": size,
            "accuracy": metrics["accuracy"],
            "in_scope_accuracy": metrics["in_scope_accuracy"],
            "macro_f1": metrics["macro_f1"],
            "intents": self.intents_labelled(),
            "version": trained["version"],
            "train_s": trained["seconds"],
            "train_cpu_s": round(cpu, 1),
            "label_s": round(seconds, 1),
        }
        with self.options.out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)
        if self.order == RANDOM:
            self._drop_files_but()

    def label(self, size: int) -> float:
        """The annotator answers what the queue hands out; returns the seconds."""
        from labeling import queue
        from labeling.models import Queue

        source = Queue.PRIORITY if self.order == ACTIVE else Queue.NEWEST
        started = time.monotonic()
        if self.labelled() > size:
            raise SystemExit(f"{self.project} has more labels than {size}: a new --out")
        while (missing := size - self.labelled()) > 0:
            held = queue.claim(
                self.project, self.annotator, queue=source, limit=min(missing, AT_ONCE)
            )
            if not held:
                raise SystemExit(f"the queue is empty, {missing} labels before {size}")
            for one in held:
                queue.submit(
                    one.question.pk,
                    self.annotator,
                    token=one.token,
                    intents=[self.gold[one.question.text_hash]],
                )
        return time.monotonic() - started

    def labelled(self) -> int:
        from labeling.models import Question

        labelled = Question.objects.of(self.project).labelled()
        return int(labelled.exclude(split="test").count())

    def intents_labelled(self) -> int:
        from labeling.models import GoldLabel

        own = GoldLabel.objects.filter(question__project=self.project)
        own = own.exclude(question__split="test")
        return own.values("intent").distinct().count()

    def train(self) -> dict[str, Any]:
        """`train PROJECT --preset first`; returns what it prints."""
        from django.core.management import call_command

        self._end_leftovers()
        out = io.StringIO()
        call_command(
            "train",
            self.project.slug,
            preset="first",
            overrides=[*self.options.set, f"seed={self.seed}"],
            force=True,
            json=True,
            stdout=out,
        )
        return dict(json.loads(out.getvalue().splitlines()[-1]))

    def _end_leftovers(self) -> None:
        """A killed run leaves its batch running until that is seen to be stale."""
        from training import batches
        from training.batches import sweeping
        from training.models import TrainingBatch

        unfinished = TrainingBatch.objects.filter(
            project=self.project, finished_at=None
        )
        for batch in unfinished:
            batches.cancel(batch, None)
        while unfinished.exists():
            time.sleep(5)
            sweeping.sweep()

    def serve_latest(self) -> None:
        """Activates the newest version, whatever the gate says."""
        from registry import versions

        latest = self.project.versions.order_by("-number").first()
        if latest is None or latest.state == latest.State.ACTIVE:
            return
        versions.activate(latest, by=None, force=True, reason="benchmark")
        self._drop_files_but(latest.pk)

    def refresh(self) -> None:
        """Runs the product's refresh to its end."""
        from registry import refresh

        started, total = time.monotonic(), 0
        while True:
            done = refresh.run(self.project.pk)
            total += done.predicted if done else 0
            if done is None or done.is_done:
                break
        print(
            f"  refreshed {total} answers in {time.monotonic() - started:.0f} s",
            flush=True,
        )

    def _drop_files_but(self, kept: int = 0) -> None:
        """A version's files take a gigabyte."""
        from registry import artifacts

        for version in self.project.versions.exclude(pk=kept):
            if (Path(os.environ["TUNELOOP_HOME"]) / "artifacts").exists():
                artifacts.remove(version)


# --- Encoding, remembered -------------------------------------------------------------

_remembered: dict[str, Any] = {}


def embed(texts: Sequence[str]) -> Any:
    """The product's encoder; each text once, though every project holds it."""
    from registry import encoder

    new = [text for text in dict.fromkeys(texts) if text not in _remembered]
    if new:
        _remembered.update(zip(new, encoder.embed(new), strict=True))
    return np.array([_remembered[text] for text in texts])


# --- Files and services ---------------------------------------------------------------


def read_rows(path: Path) -> list[tuple[str, str]]:
    """Text and label of each line."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["text"], row["label"]) for row in rows]


def _start_services(options: argparse.Namespace) -> None:
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    home = options.home or options.out.with_suffix(".home")
    os.environ["TUNELOOP_HOME"] = str(home.resolve())
    os.environ["TUNELOOP_SERVING_VERSIONS"] = "1"
    os.environ["DJANGO_SETTINGS_MODULE"] = "tuneloop.settings"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # Imported as a module, too: settings name the encoder by its dotted path.
    sys.modules["bench_active_learning"] = sys.modules[__name__]
    from tuneloop import embedded
    from tuneloop.main import make_home

    atexit.register(embedded.release)
    embedded.provide(make_home())
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    settings.LABELING_ENCODER = "bench_active_learning.embed"
    call_command("migrate", verbosity=0)
    call_command("build_encoder", stdout=io.StringIO())


def _options() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",") if part]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, required=True, help="results, JSON lines")
    parser.add_argument("--home", type=Path, help="data folder; beside the results")
    parser.add_argument("--seeds", type=numbers, default=[1, 2, 3])
    parser.add_argument("--orders", nargs="+", default=[RANDOM, ACTIVE])
    parser.add_argument("--random", type=numbers, default=[500, 1000, 2000])
    parser.add_argument("--active", type=numbers, default=[400, 700, 1000, 1300, 1600])
    parser.add_argument("--pool-rows", type=int, default=0, help="0 = all")
    parser.add_argument("--test-rows", type=int, default=0, help="0 = all")
    parser.add_argument(
        "--until-reached",
        action="store_true",
        help="end the active order where it has reached the random one's last size",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--report", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
