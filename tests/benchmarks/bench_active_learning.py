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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(Path(__file__).parent)]

RANDOM, ACTIVE = "random", "active"
FALLBACK = "oos"
AT_ONCE = 20
"""Questions that the annotator holds at a time."""

Result = dict[str, Any]


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
            if self.order == ACTIVE:
                self.serve_latest()
                self.refresh()

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


# --- Report ---------------------------------------------------------------------------


def report(results: list[Result], picture: Path) -> None:
    """Prints means over the seeds, what the active order saves, and draws it."""
    curves = {order: mean_curve(results, order) for order in (RANDOM, ACTIVE)}
    print("| labels | order | accuracy | in scope | seeds |")
    print("|---|---|---|---|---|")
    for order, curve in curves.items():
        for size, rows in curve.items():
            print(
                f"| {size} | {order} | {_mean_sd(rows, 'accuracy')}"
                f" | {_mean_sd(rows, 'in_scope_accuracy')} | {len(rows)} |"
            )
    if not curves[RANDOM] or not curves[ACTIVE]:
        return
    most = max(curves[RANDOM])
    for metric in ("accuracy", "in_scope_accuracy"):
        target = statistics.mean(r[metric] for r in curves[RANDOM][most])
        needed = labels_for(target, means(curves[ACTIVE], metric))
        print(f"\n{metric} of random at {most}: {target:.4f}")
        if needed is None:
            print("  the active order does not reach it")
            continue
        print(f"  the active order needs {needed:.0f}: {1 - needed / most:.0%} fewer")
        for seed in sorted({r["seed"] for r in results}):
            own = [r for r in results if r["seed"] == seed]
            at = {r["labels"]: r[metric] for r in own if r["order"] == RANDOM}
            line = {r["labels"]: r[metric] for r in own if r["order"] == ACTIVE}
            single = labels_for(at[most], line) if most in at else None
            print(f"  seed {seed}: {'-' if single is None else round(single)}")
    picture.write_text(draw(curves), "utf-8")
    print(f"\n{picture}")


def mean_curve(results: list[Result], order: str) -> dict[int, list[Result]]:
    """Results of an order by size."""
    own = [r for r in results if r["order"] == order]
    sizes = sorted({r["labels"] for r in own})
    return {size: [r for r in own if r["labels"] == size] for size in sizes}


def means(curve: dict[int, list[Result]], metric: str) -> dict[int, float]:
    """Mean of a metric by size."""
    return {n: statistics.mean(r[metric] for r in rows) for n, rows in curve.items()}


def labels_for(target: float, curve: dict[int, float]) -> float | None:
    """Where a curve first reaches the target, on straight lines between its points."""
    points = sorted(curve.items())
    if points and points[0][1] >= target:
        return float(points[0][0])
    for (n, low), (m, high) in itertools.pairwise(points):
        if high >= target:
            return n + (m - n) * (target - low) / (high - low)
    return None


def _mean_sd(rows: list[Result], metric: str) -> str:
    values = [r[metric] for r in rows]
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 720, 420, 64, 48, 24, 24
_COLOURS = {RANDOM: "#8a8f98", ACTIVE: "#1c7f67"}
_NAMES = {RANDOM: "random order", ACTIVE: "Tuneloop's queue"}


def draw(curves: dict[str, dict[int, list[Result]]]) -> str:
    """Both curves as SVG: means as lines, single seeds as dots."""
    sizes = [size for curve in curves.values() for size in curve]
    values = [
        r["accuracy"] for c in curves.values() for rows in c.values() for r in rows
    ]
    most, low, high = max(sizes), min(values) - 0.02, max(values) + 0.02

    def x(size: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * size / most

    def y(value: float) -> float:
        share: float = (value - low) / (high - low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * share

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    parts += _axes(x, y, most, low, high)
    target = statistics.mean(r["accuracy"] for r in curves[RANDOM][max(curves[RANDOM])])
    parts.append(
        f'<line x1="{x(0):.1f}" x2="{x(most):.1f}" y1="{y(target):.1f}"'
        f' y2="{y(target):.1f}" stroke="#8a8f98" stroke-dasharray="4 4"/>'
    )
    for place, (order, curve) in enumerate(curves.items()):
        colour = _COLOURS[order]
        line = means(curve, "accuracy")
        points = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in line.items())
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}"'
            ' stroke-width="2.5"/>'
        )
        parts += [
            f'<circle cx="{x(r["labels"]):.1f}" cy="{y(r["accuracy"]):.1f}" r="3"'
            f' fill="{colour}" fill-opacity="0.55"/>'
            for rows in curve.values()
            for r in rows
        ]
        at = _HEIGHT - _BOTTOM - 40 + 20 * place
        parts.append(
            f'<rect x="{_WIDTH - 190}" y="{at - 9}" width="18" height="4"'
            f' fill="{colour}"/>'
            f'<text x="{_WIDTH - 165}" y="{at - 2}" fill="#374151">'
            f"{_NAMES[order]}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _axes(x: Any, y: Any, most: int, low: float, high: float) -> Iterator[str]:
    for tick in range(0, most + 1, 500 if most > 1000 else 100):
        yield (
            f'<text x="{x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 20}" fill="#6b7280"'
            f' text-anchor="middle">{tick}</text>'
        )
    step = 0.05 if high - low > 0.12 else 0.02
    for n in range(int(low / step) + 1, int(high / step) + 1):
        yield (
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(n * step):.1f}"'
            f' y2="{y(n * step):.1f}" stroke="#e5e7eb"/>'
            f'<text x="{_LEFT - 8}" y="{y(n * step) + 4:.1f}" fill="#6b7280"'
            f' text-anchor="end">{100 * n * step:.0f} %</text>'
        )
    yield (
        f'<text x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 8}" fill="#374151"'
        ' text-anchor="middle">labels</text>'
        f'<text x="16" y="{_HEIGHT / 2:.0f}" fill="#374151" text-anchor="middle"'
        f' transform="rotate(-90 16 {_HEIGHT / 2:.0f})">test questions right</text>'
    )


# --- Files and services ---------------------------------------------------------------


def read_rows(path: Path) -> list[tuple[str, str]]:
    """Text and label of each line."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["text"], row["label"]) for row in rows]


def read_results(path: Path) -> list[Result]:
    """What is written down already."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


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
    parser.add_argument("--random", type=numbers, default=[1000, 2000])
    parser.add_argument("--active", type=numbers, default=[400, 700, 1000, 1300])
    parser.add_argument("--pool-rows", type=int, default=0, help="0 = all")
    parser.add_argument("--test-rows", type=int, default=0, help="0 = all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--report", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
