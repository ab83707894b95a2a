"""Questions a second over HTTP, against a bare loop of the same model in the same run.

    python tests/benchmarks/bench_classify.py [--artifact FOLDER] [--seconds 10]
        [--fastapi] [--shadow]

FOLDER holds an exported version (model.int8.onnx, tokenizer.json, labels.json), for
example one below var/artifacts; without it a tiny model shows what everything but the
model costs. Starts a PostgreSQL, a web server of two processes and its clients on this
machine: the clients' own time is part of every number. No question is asked twice, so
nothing is answered from a gold label or from memory. The bare loop is ONNX Runtime on
one thread a core with batches of 16, tokenising included. `--fastapi` measures the
usual server beside it (FastAPI, a transformers pipeline, two workers), as it comes and
with one thread a worker, `--shadow` a second version that answers all questions too.
"""

import argparse
import contextlib
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(ROOT / "tests" / "benchmarks")]

from http_load import Load, Plan, new_texts, start  # noqa: E402
from served import PROCESSES, Served, served  # noqa: E402

BATCH = 16
ROUNDS = 3
USUAL = {"FastAPI": (), "FastAPI, one thread a worker": ("1",)}
"""The usual server as it comes, and as somebody sets it up who has measured it."""


def bare(folder: Path, batch: int, seconds: float, seed: int) -> list[float]:
    """Milliseconds of each call of the model, one thread, nothing around it."""
    import numpy as np
    from tokenizers import Tokenizer

    from registry.onnx.session import open_session

    # With the product's own options: they are faster than the defaults.
    session = open_session(folder / "model.int8.onnx", threads=1)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=1)
    source = new_texts(seed)
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        rows = tokenizer.encode_batch_fast([next(source) for _ in range(batch)])
        session.run(
            ["logits"],
            {
                "input_ids": np.array([row.ids for row in rows]),
                "attention_mask": np.array([row.attention_mask for row in rows]),
            },
        )
        took.append((time.perf_counter() - began) * 1000)
    return took[1:]


def bare_on_all_cores(folder: Path, seconds: float, turn: int) -> float:
    """Texts a second of one bare loop a core, batches of 16."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        loops = [
            pool.submit(bare, folder, BATCH, seconds, 10 * turn + n)
            for n in range(PROCESSES)
        ]
        return sum(
            len(took) * BATCH * 1000 / sum(took)
            for took in (loop.result() for loop in loops)
        )


def over_http(port: int, plan: dict[str, Any]) -> Load:
    """One load of clients; each answer must be the model's."""
    load = start(Plan(port=port, **plan)).result()
    if load.failed or load.degraded or load.versions[""]:
        raise SystemExit(f"wrong answers: {load.statuses} {load.degraded} {load.shed}")
    return load


@contextlib.contextmanager
def fastapi(folder: Path, *threads: str) -> Iterator[int]:
    """The usual server, ready, with so many threads a worker; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, str(Path(__file__).with_name("fastapi_side.py"))]
    command += [str(folder), str(port), str(PROCESSES), *threads]
    server = subprocess.Popen(command)
    try:
        for _ in range(240):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=1),
            ):
                break
            time.sleep(0.5)
        time.sleep(5)  # the second worker
        yield port
    finally:
        server.terminate()
        server.wait()


class Table:
    """Loads of several rounds, by name."""

    def __init__(self) -> None:
        self._loads: dict[str, list[Load]] = {}

    def add(self, name: str, load: Load) -> None:
        self._loads.setdefault(name, []).append(load)

    def rate(self, name: str) -> float:
        loads = self._loads[name]
        return sum(len(x.ms) for x in loads) / sum(x.seconds for x in loads)

    def percentile(self, name: str, share: float) -> float:
        together = Load(ms=[ms for load in self._loads[name] for ms in load.ms])
        return together.percentile(share)

    def print(self, all_cores: float) -> None:
        print(f"{'':30} {'texts/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'of bare':>8}")
        print(f"{f'bare loops, batches of {BATCH}':30} {all_cores:8.0f}")
        for name in self._loads:
            rate = self.rate(name)
            p50, p99 = (self.percentile(name, at) for at in (0.5, 0.99))
            print(
                f"{name:30} {rate:8.0f} {p50:8.1f} {p99:8.1f} {rate / all_cores:8.2f}"
            )


def bench(bed: Served, artifact: Path | None, options: argparse.Namespace) -> None:
    seconds = options.seconds / ROUNDS
    one: list[float] = []
    everywhere: list[float] = []
    table = Table()
    asked = {"1 client": 1, "32 clients": 32}
    with bed.serve() as server:
        # In turns: what else the machine does meanwhile weighs on all alike.
        for turn in range(ROUNDS):
            one += bare(bed.folder, 1, seconds, 100 + turn)
            everywhere.append(bare_on_all_cores(bed.folder, seconds, turn))
            for name, clients in asked.items():
                plan = {"secret": bed.secret, "clients": clients}
                over_http(server.port, {**plan, "seconds": 1.0, "seed": 900 + turn})
                plan |= {"seconds": seconds, "seed": 10 * turn + clients}
                table.add(name, over_http(server.port, plan))
        memory = ", ".join(f"{row.rss_mb:.0f} MB" for row in server.rows())
        if options.shadow:
            shadow(bed, server, table, options.seconds)
    if options.fastapi and artifact is not None:
        plan = {"secret": "", "path": "/classify", "seconds": options.seconds}
        for server_name, threads in USUAL.items():
            with fastapi(artifact, *threads) as port:
                for name, clients in asked.items():
                    over_http(port, {**plan, "clients": clients, "seconds": 2.0})
                    load = over_http(port, {**plan, "clients": clients, "seed": 7})
                    table.add(f"{server_name}, {name}", load)
    all_cores = sum(everywhere) / ROUNDS
    table.print(all_cores)
    alone = Load(ms=one).percentile(0.5)
    print(f"bare, one text: p50 {alone:.2f} ms")
    print(f"1 client: p50 {table.percentile('1 client', 0.5) / alone:.2f} x bare")
    p50, p99 = (table.percentile("32 clients", at) for at in (0.5, 0.99))
    print(f"32 clients: p99 {p99 / p50:.1f} x p50")
    if options.fastapi and artifact is not None:
        for server_name in USUAL:
            ratio = table.rate("32 clients") / table.rate(f"{server_name}, 32 clients")
            print(f"32 clients: {ratio:.1f} x {server_name} + transformers pipeline")
    if options.shadow:
        ratio = table.rate("32 clients, shadow") / table.rate("32 clients, no shadow")
        print(f"shadow at 100 %: {ratio:.2f} of the throughput without")
    print(f"memory of the web processes: {memory}")


def shadow(bed: Served, server: Any, table: Table, seconds: float) -> None:
    """The same load without and with a second version that answers everything too."""
    from registry.rollout import running as rollouts

    plan = {"secret": bed.secret, "clients": 32, "seconds": seconds / 2}
    for turn in range(2):
        table.add(
            "32 clients, no shadow", over_http(server.port, {**plan, "seed": 50 + turn})
        )
        running = rollouts.start(bed.versions[1], mode="shadow", share=1.0, by=None)
        over_http(server.port, {**plan, "seconds": 5.0, "seed": 60 + turn})
        table.add(
            "32 clients, shadow", over_http(server.port, {**plan, "seed": 70 + turn})
        )
        rollouts.end(running, by=None)
        time.sleep(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--fastapi", action="store_true")
    parser.add_argument("--shadow", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the bare loops', too
    with served(options.artifact, versions=2 if options.shadow else 1) as bed:
        bench(bed, options.artifact, options)


if __name__ == "__main__":
    main()
