"""Activations and roll backs while 32 clients keep asking.

    python tests/benchmarks/bench_swaps.py [--artifact FOLDER] [--times 100]
        [--minutes 5]

FOLDER holds an exported version, for example one below var/artifacts; the project gets
two versions with its files. Starts a PostgreSQL, a web server of two processes and its
clients on this machine. Printed: failed requests, how long after an activation every
process serves the version, latency with and without switches, and memory before and
after, once every process has switched a few times.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(ROOT / "tests" / "benchmarks")]

from http_load import Load, Plan, start  # noqa: E402
from served import Served, served  # noqa: E402

CLIENTS = 32
_POLL_S = 0.01


class Watcher:
    """Sees when each process says that it serves a version."""

    def __init__(self, project_id: int) -> None:
        self._project = str(project_id)

    def served_by_all(self, number: int, *, within_s: float) -> float | None:
        """Seconds until every process serves it; None if that takes too long."""
        from django.db import connection

        began = time.perf_counter()
        while (took := time.perf_counter() - began) < within_s:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT serving -> %s ->> 'version' FROM registry_servingprocess"
                    " WHERE seen_at > now() - interval '3 s'",
                    [self._project],
                )
                said = [row[0] for row in cursor.fetchall()]
            if said and set(said) == {str(number)}:
                return took
            time.sleep(_POLL_S)
        return None


def memory_mb(server: Any) -> float:
    """Of all web processes together, as they say themselves."""
    return float(sum(row.rss_mb for row in server.rows()))


def switch(bed: Served, times: int, pause_s: float) -> tuple[list[float], list[float]]:
    """Activates and rolls back in turn.

    Returns:
        Seconds of each call, and from its end until every process served the version.
    """
    from registry import versions

    watcher = Watcher(bed.project.pk)
    took: list[float] = []
    seen: list[float] = []
    for i in range(times):
        due = time.monotonic() + pause_s
        began = time.perf_counter()
        if i % 2:
            done = versions.roll_back(bed.project, by=None)
        else:
            other = bed.versions[1]
            other.refresh_from_db()
            done = versions.activate(other, by=None, force=True, reason="benchmark")
        took.append(time.perf_counter() - began)
        served_after = watcher.served_by_all(done.version.number, within_s=10)
        seen.append(float("inf") if served_after is None else served_after)
        time.sleep(max(0.0, due - time.monotonic()))
    return took, seen


def load(server: Any, bed: Served, seconds: float, seed: int) -> Any:
    return start(Plan(server.port, bed.secret, CLIENTS, seconds, seed=seed))


def bench(bed: Served, times: int, minutes: float) -> None:
    pause_s = minutes * 60 / times
    with bed.serve() as server:
        load(server, bed, 3, 1).result()
        quiet: Load = load(server, bed, 20, 2).result()
        warm = load(server, bed, 4 * pause_s + 5, 3)
        switch(bed, 4, pause_s)
        warm.result()
        time.sleep(2)
        before = memory_mb(server)
        running = load(server, bed, minutes * 60, 4)
        took, seen = switch(bed, times, pause_s)
        during: Load = running.result()
        time.sleep(3)
        after = memory_mb(server)
    print(f"{times} switches in {minutes:g} minutes, {CLIENTS} clients")
    print(f"answers {len(during.ms)}, by version {dict(during.versions)}")
    print(f"failed requests: {during.failed}, degraded answers: {during.degraded}")
    print(
        f"an activation: median {statistics.median(took):.2f} s, longest"
        f" {max(took):.2f} s; then on every process: median"
        f" {statistics.median(seen):.2f} s, longest {max(seen):.2f} s"
    )
    for name, one in (("without switches", quiet), ("with switches", during)):
        p50, p99 = one.percentile(0.5), one.percentile(0.99)
        print(f"{name:17} {one.rate:6.0f}/s  p50 {p50:.1f} ms  p99 {p99:.1f} ms")
    ratio = during.percentile(0.99) / quiet.percentile(0.99)
    print(f"p99 during switches: {ratio:.2f} x without")
    print(f"memory: {before:.0f} MB before, {after:.0f} MB after: {after / before:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with served(options.artifact, versions=2) as bed:
        bench(bed, options.times, options.minutes)


if __name__ == "__main__":
    main()
