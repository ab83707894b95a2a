"""Questions a second over HTTP, against a bare loop of the same model in the same run.

    python tests/benchmarks/bench_classify.py [--artifact FOLDER] [--seconds 10]

FOLDER holds an exported version (model.int8.onnx, tokenizer.json, labels.json), for
example one below var/artifacts; without it a tiny model shows what everything but the
model costs. Starts a PostgreSQL, a web server of two processes and its clients on this
machine: the clients' own time is part of every number. No question is asked twice, so
nothing is answered from a gold label.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

PROCESSES = 2
BATCH = 16
ROUNDS = 3
PARTS = (
    "今天",
    "昨天",
    "我",
    "打卡",
    "出勤",
    "原料",
    "批次",
    "库存",
    "付款",
    "发货",
    "查询",
)


def questions(seed: int) -> Iterator[str]:
    """Chinese questions of 8 to 14 characters, none twice."""
    rng = random.Random(seed)
    for n in itertools.count():
        yield "".join(rng.choices(PARTS, k=rng.randrange(3, 5))) + f"{seed}{n:x}"


def bare(folder: Path, batch: int, seconds: float, seed: int) -> list[float]:
    """Milliseconds of each call of the model, one thread, nothing around it."""
    from registry.onnx.session import OnnxClassifier

    model = OnnxClassifier(folder)
    source = questions(seed)
    model.logits([next(source) for _ in range(batch)])
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        model.logits([next(source) for _ in range(batch)])
        took.append((time.perf_counter() - start) * 1000)
    return took


def bare_on_all_cores(folder: Path, seconds: float, turn: int) -> float:
    """Texts a second of one bare loop a process, batches of 16."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(PROCESSES) as pool:
        jobs = [(folder, BATCH, seconds, 10 * turn + n) for n in range(PROCESSES)]
        return sum(
            len(took) * BATCH * 1000 / sum(took) for took in pool.starmap(bare, jobs)
        )


def over_http(
    server: Any, secret: str, clients: int, seconds: float, turn: int
) -> list[float]:
    """Milliseconds of each request; every answer must be the model's."""
    took: list[list[float]] = [[] for _ in range(clients)]
    wrong: list[Any] = []
    barrier = threading.Barrier(clients)

    def ask(i: int) -> None:
        client = server.client(secret)
        source = questions(100_000 * turn + 1000 * clients + i)
        client.post("classify", {"text": next(source)})
        barrier.wait()
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            status, answer = client.post("classify", {"text": next(source)})
            took[i].append((time.perf_counter() - start) * 1000)
            if status != 200 or answer["degraded"] or not answer["version"]:
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(f"wrong answer: {wrong[0]}")
    return [ms for own in took for ms in own]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def bench(artifact: Path | None, home: Path, seconds: float) -> None:
    import json
    import shutil

    from labeling.models import Intent
    from registry import artifacts, versions
    from tests.makers import make_key, make_project
    from tests.registry.makers import make_version
    from tests.registry.server import serve
    from tuneloop import web

    project = make_project(slug="bench")
    if artifact is None:
        words = {f"i{n}": [f"w{n}"] for n in range(20)}
        version = make_version(project, list(words), words=words)
    else:
        folder = home / "export"
        folder.mkdir()
        for path in artifact.iterdir():
            if path.suffix in artifacts.SUFFIXES and path.name != "model.safetensors":
                shutil.copyfile(path, folder / path.name)
        labels = json.loads((folder / "labels.json").read_text())["labels"]
        for code in labels:
            Intent.objects.create(project=project, code=code, name=code)
        version = versions.register(
            project, folder=folder, label_set=labels, parent=None, provenance={}
        )
    versions.activate(version, by=None, force=True, reason="benchmark")
    # Not even an unsure answer is to be anything but the model's.
    project.accept_threshold = 0.0
    project.save()
    secret = make_key(project)[1]
    folder = artifacts.open_verified(version)

    one: list[float] = []
    everywhere: list[float] = []
    asked: dict[int, list[float]] = {1: [], 32: []}
    with serve(web.environment(), home / "web.log", processes=PROCESSES) as server:
        # In turns: what else the machine does meanwhile weighs on all alike.
        for turn in range(ROUNDS):
            one += bare(folder, 1, seconds / ROUNDS, 100 + turn)
            everywhere.append(bare_on_all_cores(folder, seconds / ROUNDS, turn))
            for clients, took in asked.items():
                took += over_http(server, secret, clients, seconds / ROUNDS, turn)
        memory = ", ".join(f"{row.rss_mb:.0f} MB" for row in server.rows())
    all_cores = sum(everywhere) / ROUNDS
    print(f"{'':28} {'texts/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'of bare':>8}")
    print(f"{f'bare loop, batches of {BATCH}':28} {all_cores:8.0f}")
    for name, took in (
        ("bare, one text", one),
        *((f"HTTP, clients: {clients}", took) for clients, took in asked.items()),
    ):
        rate = 1000 * len(one) / sum(one) if took is one else len(took) / seconds
        p50, p99 = (percentile(took, at) for at in (0.5, 0.99))
        print(f"{name:28} {rate:8.0f} {p50:8.1f} {p99:8.1f} {rate / all_cores:8.2f}")
    ratio = percentile(asked[1], 0.5) / percentile(one, 0.5)
    print(f"one client: p50 {ratio:.2f} x bare")
    ratio = percentile(asked[32], 0.99) / percentile(asked[32], 0.5)
    print(f"32 clients: p99 {ratio:.1f} x p50")
    print(f"memory of the web processes: {memory}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuneloop-bench-") as name:
        for variable in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(variable, None)
        os.environ["TUNELOOP_HOME"] = name
        os.environ["DJANGO_SETTINGS_MODULE"] = "tuneloop.settings"
        from tuneloop import embedded
        from tuneloop.main import make_home

        embedded.provide(make_home())
        try:
            import django
            from django.core.management import call_command

            django.setup()
            call_command("migrate", verbosity=0)
            bench(options.artifact, Path(name), options.seconds)
        finally:
            embedded.release()


if __name__ == "__main__":
    main()
