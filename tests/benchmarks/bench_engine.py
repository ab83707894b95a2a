"""What a text costs in the engine, in milliseconds of one core, stage by stage.

    python tests/benchmarks/bench_engine.py ARTIFACT [--rounds 8] [--plain FILE]

ARTIFACT is the folder of an exported version, for example one below var/artifacts. The
model runs on short Chinese questions, no two alike, padded to the longest as a plain
loop would and as the engine does it; FILE is another model file to compare with. The
times are of the processor, not of the clock, so that it may be used by others too. No
database.
"""

import argparse
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

SIZES = (1, 8, 16, 32)
TEXTS = 64
KEYWORDS = 10_000
PARTS = ("今天", "昨天", "我", "打卡", "出勤", "原料", "批次", "库存", "付款", "发货")


def questions(seed: int) -> Iterator[str]:
    """Chinese questions of 8 to 14 characters, none twice."""
    rng = random.Random(seed)
    for n in itertools.count():
        yield "".join(rng.choices(PARTS, k=rng.randrange(3, 5))) + f"{seed}{n:x}"


def cost(call: Callable[[], object]) -> float:
    """Milliseconds of this process's processor time."""
    start = time.process_time()
    call()
    return (time.process_time() - start) * 1000


def in_batches(
    run: Callable[[Sequence[Any]], object], items: Sequence[Any], n: int
) -> None:
    """Runs items, `n` at a time."""
    for start in range(0, len(items), n):
        run(items[start : start + n])


def models(folder: Path, plain: Path | None, rounds: int) -> None:
    """Prints milliseconds a text of the model by batch size."""
    from registry.onnx.session import OnnxClassifier, open_session
    from registry.onnx.tokens import pad

    model = OnnxClassifier(folder)
    pad_id = model._encoder.pad_id

    def padded(path: Path) -> Callable[[Sequence[Any]], object]:
        session = open_session(path, threads=1)

        def run(ids: Sequence[Any]) -> object:
            input_ids, mask = pad(ids, pad_id)
            return session.run(None, {"input_ids": input_ids, "attention_mask": mask})

        return run

    ways: dict[str, Callable[[Sequence[Any]], object]] = {}
    if plain is not None:
        ways[f"padded, {plain}"] = padded(plain)
    ways[f"padded, {model.file_name}"] = padded(folder / model.file_name)
    ways["engine"] = model.run
    source = questions(1)
    ids = model.tokenise([next(source) for _ in range(TEXTS)]).ids
    best: dict[tuple[str, int], float] = {}
    # In turns: what else the machine does meanwhile weighs on all alike.
    for _, (way, run), n in itertools.product(range(rounds), ways.items(), SIZES):
        took = cost(partial(in_batches, run, ids, n)) / TEXTS
        best[way, n] = min(took, best.get((way, n), took))
    print(f"{'model, ms a text; batches of':40}", *(f"{n:>7}" for n in SIZES))
    for way in ways:
        print(f"{way[-40:]:40}", *(f"{best[way, n]:7.3f}" for n in SIZES))


def stages(folder: Path, rounds: int) -> None:
    """Prints milliseconds a text of everything but the model."""
    from labeling.models import Project
    from labeling.normalise import normalise
    from registry import artifacts
    from registry.models import Version
    from registry.onnx.session import OnnxClassifier
    from registry.serving import engine
    from registry.serving.bundle import Bundle
    from registry.serving.matcher import Rule, RuleMatcher
    from registry.serving.rulebook import Rulebook

    project = Project(pk=1, slug="bench", name="bench")
    labels = OnnxClassifier(folder).labels
    name, manifest = artifacts.write(folder, "bench/1-00000000")
    version = Version(
        pk=1, project=project, number=1, artifact=name, manifest=manifest,
        label_set=labels,
    )  # fmt: skip
    bundle = Bundle(version)
    rng = random.Random(2)
    book: Any = object.__new__(Rulebook)  # without the database
    book.names, book.fallback, book._renamed = dict.fromkeys(labels, ""), None, {}
    # A hundred are found in the questions, the others just fill the automaton.
    pairs = ["".join(pair) for pair in itertools.product(PARTS, repeat=2)]
    pairs += [f"{rng.choice(pairs)}{n:x}" for n in range(KEYWORDS - len(pairs))]
    book.matcher = RuleMatcher(
        Rule(n, pattern, rng.choice(labels), 0.9) for n, pattern in enumerate(pairs)
    )
    target = engine.Target(project, 1, 1)
    call = engine._Call(target, book, bundle.columns(book), 3)
    source = questions(3)
    texts = [next(source) for _ in range(TEXTS)]
    ids = bundle._classifier.tokenise(texts).ids
    said = bundle.ask(texts)

    def fused() -> None:
        for pair in zip(texts, said, strict=True):
            call.by_sides(*pair)

    def matched() -> None:
        for text in texts:
            book.matcher.match(normalise(text))

    pool = ThreadPoolExecutor(16)

    def at_once() -> None:
        for _said in pool.map(lambda text: bundle._batched([text]), texts):
            pass

    ways: dict[str, Callable[[], object]] = {
        "tokenise": lambda: in_batches(bundle._classifier.tokenise, texts, 1),
        f"rules, {KEYWORDS} keywords": matched,
        "rules, fusion, trace": fused,
        "remembered answer": lambda: in_batches(bundle.ask, texts, 1),
        "model, batches of 16": lambda: in_batches(bundle._model, ids, 16),
        "model, tokenise; 16 threads": at_once,
    }
    best: dict[str, float] = {}
    for _, (way, run) in itertools.product(range(rounds), ways.items()):
        took = cost(run) / TEXTS
        best[way] = min(took, best.get(way, took))
    print(f"\nstages, ms a text ({len(labels)} intents)")
    for way, took in best.items():
        print(f"{way:40} {took:7.3f}")
    print(f"memory of the version: {bundle.bytes / 2**20:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--plain", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuneloop-bench-") as home:
        os.environ["TUNELOOP_HOME"] = home
        os.environ["DJANGO_SETTINGS_MODULE"] = "tuneloop.settings"
        import django

        django.setup()
        folder = Path(home, "export")
        folder.mkdir()
        served = next(
            path
            for path in (
                options.artifact / n for n in ("model.int8.onnx", "model.onnx")
            )
            if path.is_file()
        )
        for name in (served.name, "tokenizer.json", "labels.json"):
            (folder / name).write_bytes((options.artifact / name).read_bytes())
        models(folder, options.plain, options.rounds)
        stages(folder, options.rounds)


if __name__ == "__main__":
    main()
