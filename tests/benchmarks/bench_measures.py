"""What measuring costs a request: our sums in memory beside Prometheus's own client.

    python tests/benchmarks/bench_measures.py

CPU time, so that a busy machine changes little. A request is measured about 12 times.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

ROUNDS = 50_000


def cost_us(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """CPU microseconds of one call."""
    work()
    began = time.process_time()
    for _ in range(rounds):
        work()
    return (time.process_time() - began) / rounds * 1e6


def main() -> None:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="bench-measures-")
    from prometheus_client import CollectorRegistry, Counter, Histogram

    from registry.serving import measures

    def ours_stage() -> None:
        with measures.stage("model"):
            pass

    registry = CollectorRegistry()
    histogram = Histogram("stage_seconds", "x", ["stage"], registry=registry)
    counter = Counter(
        "answers", "x", ["project", "version", "method"], registry=registry
    )

    def theirs_stage() -> None:
        with histogram.labels(stage="model").time():
            pass

    labels = {"project": "shop", "version": "3", "method": "model"}
    rows = [
        ("a stage", cost_us(ours_stage), cost_us(theirs_stage)),
        (
            "a counter with three labels",
            cost_us(lambda: measures.count("answers", **labels)),
            cost_us(lambda: counter.labels(**labels).inc()),
        ),
    ]
    print(f"{'CPU µs a call':30} {'ours':>8} {'multiprocess':>14} {'ratio':>7}")
    for name, ours, theirs in rows:
        print(f"{name:30} {ours:8.2f} {theirs:14.2f} {theirs / ours:7.1f}")
    request = [10 * rows[0][n] + 2 * rows[1][n] for n in (1, 2)]
    print(f"{'a request: 10 and 2 of them':30} {request[0]:8.1f} {request[1]:14.1f}")
    print(f"{'once a second: the copy':30} {cost_us(measures.measures.tick, 500):8.1f}")
    print(f"{'once a second: the row':30} {cost_us(measures.snapshot, 500):8.1f}")


if __name__ == "__main__":
    main()
