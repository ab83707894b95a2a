"""How fast questions are handed out, against "read the first, then write" in one run.

    python tests/benchmarks/bench_claim.py [--questions N] [--clients N] [--seconds N]

Each client is a process that claims a question, answers it, and claims the next; only
the claim is timed. Starts a PostgreSQL of its own in a temporary folder.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
INTENT = "pay"


@dataclass
class Run:
    """What one client did."""

    claims_ms: list[float]
    question_ids: list[int]
    collisions: int


def client(
    name: str,
    way: str,
    seconds: float,
    ready: Any,
    results: Any,
) -> None:
    """One annotator in a process of its own."""
    import django

    django.setup()
    from django.contrib.auth.models import User

    from labeling.models import Lease, Project, Question

    project = Project.objects.get(slug="bench")
    user = User.objects.get(username=name)
    claim = {"ours": _ours, "plain": _plain}[way]
    run = Run([], [], 0)
    ready.wait()
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        question_id, collisions = claim(project, user)
        run.claims_ms.append((time.perf_counter() - start) * 1000)
        run.question_ids.append(question_id)
        run.collisions += collisions
        # Answered, by the shortest way: the next claim sees it gone.
        Question.objects.filter(pk=question_id).update(state="labelled")
        Lease.objects.filter(question_id=question_id).delete()
    results.put(run)


def _ours(project: Any, user: Any) -> tuple[int, int]:
    from labeling import queue

    [claimed] = queue.claim(project, user)
    return claimed.question.pk, 0


def _plain(project: Any, user: Any) -> tuple[int, int]:
    """The obvious way: read the first free question, then write who has it."""
    from datetime import timedelta

    from django.db import IntegrityError, transaction
    from django.db.models import Exists, OuterRef
    from django.utils import timezone

    from labeling.labels.annotations import next_token
    from labeling.models import Lease, Question

    collisions = 0
    while True:
        now = timezone.now()
        held = Lease.objects.filter(question=OuterRef("pk"), expires_at__gt=now)
        question = (
            Question.objects.filter(~Exists(held), project=project, state="open")
            .order_by("-priority", "id")
            .first()
        )
        assert question is not None
        try:
            with transaction.atomic():
                Lease.objects.create(
                    question=question,
                    holder=user,
                    token=next_token(),
                    claimed_at=now,
                    expires_at=now + timedelta(minutes=5),
                )
            return question.pk, collisions
        except IntegrityError:  # somebody was quicker
            collisions += 1


def measure(way: str, clients: int, seconds: float) -> float:
    """Runs the clients; prints and returns their claims a second together."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(clients), context.Queue()
    processes = [
        context.Process(target=client, args=(f"c{n}", way, seconds, ready, results))
        for n in range(clients)
    ]
    for process in processes:
        process.start()
    runs: list[Run] = [results.get() for _process in processes]
    for process in processes:
        process.join()
    times = sorted(ms for run in runs for ms in run.claims_ms)
    twice = Counter(pk for run in runs for pk in run.question_ids)
    rate = len(times) / seconds
    print(
        f"{way:8} {rate:8.0f} claims/s   p50 {statistics.median(times):6.1f} ms   "
        f"p95 {times[int(len(times) * 0.95)]:6.1f} ms   "
        f"collisions {sum(run.collisions for run in runs)}   "
        f"handed out twice {sum(count > 1 for count in twice.values())}"
    )
    return rate


def fill(questions: int, clients: int) -> None:
    """Questions with spread-out priorities, and one person a client."""
    from django.contrib.auth.models import User
    from django.db import connection

    from labeling.models import Intent, Project

    project = Project.objects.create(slug="bench", name="bench")
    Intent.objects.create(project=project, code=INTENT)
    for n in range(clients):
        User.objects.create(username=f"c{n}")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO labeling_question (project_id, text, text_hash, occurrences,
                first_seen, last_seen, origin, state, split, trained_in, method,
                predicted_by, priority)
            SELECT %s, 'question number ' || n, lpad(to_hex(n), 32, '0'), 0,
                now(), now(), 'imported', 'open', 'train', '', '', '', random()
            FROM generate_series(1, %s) n
            """,
            [project.pk, questions],
        )
        cursor.execute("VACUUM ANALYZE")


def print_plan() -> None:
    """The claim's plan on the full queue; the lease that it takes goes again."""
    from django.contrib.auth.models import User
    from django.db import connection, transaction

    from labeling.models import Project
    from labeling.queue.claims import claim_values
    from labeling.queue.sources import claim_sql

    project = Project.objects.get(slug="bench")
    values = claim_values(project, User.objects.get(username="c0"))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS) " + claim_sql("priority"), values)
        print("\n".join(line for (line,) in cursor.fetchall()))
        transaction.set_rollback(True)


def in_own_database(work: Callable[[], None], home: Path | None = None) -> None:
    """Runs with a migrated database in a folder that is removed afterwards.

    A `home` of the caller's stays, so that the next run finds it filled.
    """
    with tempfile.TemporaryDirectory(prefix="tuneloop-bench-") as temporary:
        folder = str(home.resolve()) if home else temporary
        for name in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(name, None)
        os.environ["TUNELOOP_HOME"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "tuneloop.settings"
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
        from tuneloop import embedded
        from tuneloop.main import make_home

        embedded.provide(make_home())
        try:
            import django
            from django.core.management import call_command

            django.setup()
            call_command("migrate", verbosity=0)
            work()
        finally:
            embedded.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()

    def work() -> None:
        fill(options.questions, options.clients)
        print_plan()
        print(f"\n{options.questions} questions, {options.clients} clients")
        plain = measure("plain", options.clients, options.seconds)
        ours = measure("ours", options.clients, options.seconds)
        print(f"the claim hands out {ours / plain:.1f} times as many")

    in_own_database(work)


if __name__ == "__main__":
    main()
