"""A day of steady traffic in miniature: does memory or latency grow?

    python tests/benchmarks/bench_steady.py [--artifact FOLDER] [--requests 1000000]

Questions come as people ask them, few often and many rarely, 300,000 different ones.
Every twentieth of the requests prints a line: rate, latency, memory of the web
processes, rows of the log. Growth is told between the second and the last line, because
the first one still fills what is kept in memory.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(ROOT / "tests" / "benchmarks")]

from http_load import Plan, daily_texts, start  # noqa: E402
from served import Served, served  # noqa: E402

PARTS = 20
CLIENTS = 32


def bench(bed: Served, requests: int) -> None:
    from registry.models import ClassificationLog

    rows: list[tuple[float, float, float]] = []
    failed = answered = 0
    print(f"{'requests':>9} {'per s':>6} {'p50 ms':>7} {'p99 ms':>7} {'MB':>6} log")
    with bed.serve() as server:
        for part in range(PARTS):
            load = start(
                Plan(
                    server.port,
                    bed.secret,
                    CLIENTS,
                    requests=requests // PARTS,
                    seed=part,
                    texts=daily_texts,
                )
            ).result()
            failed += load.failed
            answered += len(load.ms)
            time.sleep(2)  # the processes report once a second
            memory = sum(row.rss_mb or 0.0 for row in server.rows())
            rows.append((load.percentile(0.5), load.percentile(0.99), memory))
            logged = ClassificationLog.objects.count()
            print(
                f"{answered:9} {load.rate:6.0f} {rows[-1][0]:7.1f} {rows[-1][1]:7.1f}"
                f" {memory:6.0f} {logged}",
                flush=True,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if (logged := ClassificationLog.objects.count()) >= answered:
                break
            time.sleep(1)
    early, late = rows[1:4], rows[-3:]
    for at, name in enumerate(("p50", "p99", "memory")):
        ratio = statistics.median(r[at] for r in late) / statistics.median(
            r[at] for r in early
        )
        print(f"{name}: last three parts {ratio:.2f} x the second to fourth")
    print(f"answered {answered}, failed {failed}, in the log {logged}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--requests", type=int, default=1_000_000)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with served(options.artifact) as bed:
        bench(bed, options.requests)


if __name__ == "__main__":
    main()
