"""A minute without PostgreSQL, a minute without Valkey, twenty kills: what is lost.

    python tests/benchmarks/bench_outages.py [ARTIFACT] [--seconds 60] [--kills 20]
        [--clients 8] [--only NAME ...]

ARTIFACT is the folder of an exported version (model.int8.onnx, tokenizer.json,
labels.json); without one a tiny model answers. Two web processes and the embedded
services in a data folder of their own; clients ask without a pause. For each outage it
prints how many answers were acknowledged, how many requests failed, how many
acknowledged answers the log holds exactly once when it is over, and how long that took.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

_WARM_S = 2.0
_A_KILL_S = 6.0
"""From one kill to the next: granian ends where the same process dies twice within
5.5 s, and a new one takes some seconds to serve."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="of each outage")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--only", nargs="*", choices=[*OUTAGES, "kills"])
    args = parser.parse_args()

    from tests.benchmarks.served import served

    with served(args.artifact) as bed:
        for name, away in OUTAGES.items():
            if not args.only or name in args.only:
                run(bed, args, name, args.seconds, lambda _s, a=away: a(bed, args))
        if args.kills and (not args.only or "kills" in args.only):
            seconds = args.kills * _A_KILL_S
            run(bed, args, "kills", seconds, lambda s: kills(bed, s, args.kills))


def stopped(service: str, sig: int) -> Callable[[Any, Any], None]:
    def away(bed: Any, args: Any) -> None:
        from tests.registry import outages

        with outages.stopped(bed.home, service, sig=sig):
            time.sleep(args.seconds)

    return away


def frozen(service: str) -> Callable[[Any, Any], None]:
    def away(bed: Any, args: Any) -> None:
        from tests.registry import outages

        with outages.frozen(bed.home, service):
            time.sleep(args.seconds)

    return away


OUTAGES = {
    "postgres-stopped": stopped("postgres", signal.SIGINT),
    "postgres-frozen": frozen("postgres"),
    "postgres-killed": stopped("postgres", signal.SIGKILL),
    "valkey-stopped": stopped("valkey", signal.SIGTERM),
    "valkey-frozen": frozen("valkey"),
}


def kills(bed: Any, server: Any, times: int) -> None:
    """kill -9, in turn: a web process, PostgreSQL, the worker, PostgreSQL's keeper."""
    from tests.registry import outages
    from tuneloop import embedded

    began = time.monotonic()
    worker = start_worker()
    for n in range(times):
        time.sleep(max(0.0, began + n * _A_KILL_S - time.monotonic()))
        kind = ("web", "postgres", "web", "keeper", "worker")[n % 5]
        if kind == "worker":
            worker.kill()
            worker.wait()
            worker = start_worker()
        elif kind == "web":
            pids = server.pids()
            if len(pids) == 2:  # else the one before has not been replaced yet
                os.kill(pids[0], signal.SIGKILL)
        elif kind == "postgres":
            outages.kill(bed.home, "postgres")
        else:
            os.kill(outages.keeper(bed.home, "postgres").pid, signal.SIGKILL)
            time.sleep(1)
            embedded.revive()  # as `manage.py up` does
    worker.kill()
    worker.wait()


def start_worker() -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(ROOT / "manage.py"), "rqworker", "default"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def run(
    bed: Any, args: Any, name: str, seconds: float, outage: Callable[[Any], None]
) -> None:
    from django.db import connection

    from tests.benchmarks import http_load

    with bed.serve() as server:
        plan = http_load.Plan(
            server.port,
            bed.secret,
            args.clients,
            seconds=seconds + 2 * _WARM_S + 1,
            keeps_ids=True,
        )
        future = http_load.start(plan)
        time.sleep(_WARM_S)
        outage(server)
        load = future.result()
        connection.close()
        began = time.monotonic()
        once = wait(lambda: in_log(load.ids) == len(load.ids), 120)
        took = time.monotonic() - began
        print(
            f"{name}: {len(load.ids)} acknowledged ({load.rate:.0f} a second, p99"
            f" {load.percentile(0.99):.0f} ms, longest {max(load.ms):.0f} ms);"
            f" failed {load.failed} (refused {load.failed - load.broken}, broken off"
            f" {load.broken}); in the log exactly once"
            f" {in_log(load.ids)}{'' if once else ' (!)'}, {took:.1f} s after the end;"
            f" counted more than logged: {overcounted()}",
            flush=True,
        )
        for body in load.shed[:2]:
            print(f"    {body}")


def in_log(ids: list[str]) -> int:
    """How many of these ids the log holds exactly once; 0 while nobody can say."""
    from django.db import Error, connection

    if len(set(ids)) != len(ids):
        raise AssertionError("an id was acknowledged twice")
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM (SELECT 1 FROM registry_classificationlog"
                " WHERE request_id = ANY(%s::uuid[])"
                " GROUP BY request_id HAVING count(*) = 1) once",
                [ids],
            )
            return int(cursor.fetchone()[0])
    except Error:
        connection.close()
        return 0


def overcounted() -> int:
    """By how many the questions' counts and the log's rows differ; 0 is right."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT sum(occurrences) FROM labeling_question)"
            " - (SELECT count(*) FROM registry_classificationlog)"
        )
        return int(cursor.fetchone()[0])


def wait(is_so: Callable[[], bool], seconds: float) -> bool:
    from tests.waiting import within

    return within(seconds, is_so)


if __name__ == "__main__":
    main()
