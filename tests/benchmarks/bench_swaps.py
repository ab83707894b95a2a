"""Activations and roll backs of a project's real versions while clients keep asking.

    TUNELOOP_HOME=var python tests/benchmarks/bench_swaps.py PROJECT [--times 20]

PROJECT has an active version and a newer or older one that passed its gate (`manage.py
demo` leaves such a project behind). Starts two web processes and eight clients on this
machine, and ends where it began. Failed requests, and answers by a version that was not
active while their request was in flight, are printed; both should be 0.
"""

import argparse
import os
import statistics
import sys
import tempfile
import uuid
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", help="slug")
    parser.add_argument("--times", type=int, default=20)
    args = parser.parse_args()

    from tuneloop import embedded
    from tuneloop.main import make_home

    embedded.provide(make_home())
    os.environ["DJANGO_SETTINGS_MODULE"] = "tuneloop.settings"
    import django

    django.setup()
    try:
        measure(args.project, args.times)
    finally:
        embedded.release()


def measure(slug: str, times: int) -> None:
    from labeling import access
    from labeling.models import Project
    from registry.models import Version
    from tests.registry.load import CLIENTS, Load, swap, unexplained
    from tests.registry.server import serve
    from tuneloop import web

    project = Project.objects.get(slug=slug)
    others = project.versions.filter(gate=Version.Gate.PASSED)
    other = others.exclude(state=Version.State.ACTIVE).latest("number")
    key, secret = access.issue_key(
        project, name=f"swaps {uuid.uuid4()}", scope="classify"
    )
    log = Path(tempfile.mkdtemp()) / "web.log"
    try:
        with serve(web.environment(), log) as server, Load(server, secret) as load:
            spans, took = swap(project, other, times=times, pause_s=0.5)
    finally:
        access.revoke_key(key)
    latency_ms = sorted(1000 * (end - start) for start, end, *_rest in load.answers)
    by = Counter(answer["version"] for _start, _end, answer, _text in load.answers)
    print(
        f"{CLIENTS} clients, {times} switches, {len(load.answers)} answers: {dict(by)}"
    )
    print(f"failed requests: {len(load.refused) + load.broken}")
    print(f"answers by a version not active then: {len(unexplained(load, spans))}")
    print(
        f"latency p50 {latency_ms[len(latency_ms) // 2]:.0f} ms,"
        f" p99 {latency_ms[len(latency_ms) * 99 // 100]:.0f} ms;"
        f" a switch: median {statistics.median(took):.2f} s, longest {max(took):.2f} s"
    )


if __name__ == "__main__":
    main()
