"""Fifty annotators at a million questions, over HTTP, on one machine.

    python tests/benchmarks/bench_annotators.py [--questions N] [--clients N]
        [--seconds N] [--think-s N] [--overlap N] [--plans] [--home FOLDER]

A real web server as `manage.py up` starts it, and people who sign in, look, think for a
second, answer and fetch the next card, while a manager opens lists, searches and the
dashboard. Afterwards it checks that nobody got a question beyond its overlap and that
each acknowledged label is in the database exactly once. The times of the server are
those of its `Server-Timing` header. Ends with the claim's rate against "read the first,
then write" on the same questions. Starts a PostgreSQL of its own in a temporary folder,
or in FOLDER, where the questions stay for the next run.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from tests.benchmarks import annotators, bench_claim  # noqa: E402 (after the path)

INTENTS = 150
_EMBEDDED = 20_000
"""So many questions with vectors, those that come first and labelled ones: cards show
neighbours, and building the index of a million takes longer than the measurement."""

PAGES = {
    "dashboard": "/admin/",
    "list": "/admin/labeling/question/",
    "list of open": "/admin/labeling/question/?state__exact=open",
    "search": "/admin/labeling/question/?q=%E5%BA%93%E5%AD%98+4711",
    "rare search": "/admin/labeling/question/?q=xyzzy",
    "grid search": "/label/bench/grid?q=%E5%BA%93%E5%AD%98",
    "annotations": "/admin/labeling/annotation/",
    "who holds what": "/admin/labeling/lease/",
}

_QUESTIONS = """
INSERT INTO labeling_question (project_id, text, text_hash, occurrences, first_seen,
    last_seen, origin, state, split, trained_in, predicted, confidence, margin, method,
    predicted_by, is_conflict, priority, diversity, labelled_at, suspicion)
SELECT %(project)s,
    (ARRAY['查询库存', '客户付款通知', '今天几点打卡', '原料批次查询', '请假流程',
        'when is it shipped', '生产线温度', '工资什么时候发'])[1 + n %% 8] || ' ' || n,
    md5(n::text), (power(random(), 8) * 1000)::int,
    now() - n * interval '1 second', now() - n * interval '1 second', 'asked', state,
    CASE WHEN n %% 10 = 0 THEN 'test' WHEN n %% 10 = 1 THEN 'validation'
        ELSE 'train' END,
    '', jsonb_build_array(
        jsonb_build_object('code', 'intent_' || a, 'confidence', confidence),
        jsonb_build_object('code', 'intent_' || (a + b) %% %(intents)s,
            'confidence', (1 - confidence) / 2)),
    confidence, confidence - (1 - confidence) / 2, 'model', '3', n %% 20 = 0,
    CASE WHEN state = 'disputed' THEN n %% 7 / 10.0 ELSE random() END, 1,
    CASE WHEN state = 'labelled' THEN now() END,
    CASE WHEN state = 'labelled' AND n %% 9 = 0 THEN random() END
FROM (
    SELECT n, floor(power(random(), 2) * %(intents)s)::int AS a,
        1 + floor(power(random(), 2) * 5)::int AS b,
        0.34 + 0.66 * random() AS confidence,
        CASE WHEN n %% 50 = 3 THEN 'labelled' WHEN n %% 200 = 5 THEN 'disputed'
            WHEN n %% 200 = 7 THEN 'skipped' ELSE 'open' END AS state
    FROM generate_series(%(low)s, %(high)s) n
) drawn
"""
_GOLD = """
INSERT INTO labeling_goldlabel (question_id, intent_id, source, set_by_id, set_at)
SELECT q.id, i.id, 'annotation', %(user)s, now()
FROM labeling_question q
JOIN labeling_intent i ON i.project_id = q.project_id
    AND i.code = q.predicted #>> '{0,code}'
WHERE q.state = 'labelled'
"""
_VECTORS = """
INSERT INTO labeling_embedding (question_id, project_id, vector, is_labelled)
SELECT q.id, q.project_id, l2_normalize(ARRAY(
    SELECT random() - 0.5 + 0 * q.id FROM generate_series(1, 384)
)::real[]::halfvec(384)), q.state = 'labelled'
FROM (
    (SELECT * FROM labeling_question WHERE state = 'open' AND split <> 'test'
     ORDER BY priority DESC LIMIT %(half)s)
    UNION ALL
    (SELECT * FROM labeling_question WHERE state = 'labelled' LIMIT %(half)s)
) q
"""


def fill(questions: int, clients: int, overlap: int) -> None:
    """A project with annotators, a manager and questions in all states."""
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User
    from django.db import connection

    from labeling import access
    from labeling.models import Intent, Project

    project = Project.objects.create(slug="bench", name="bench", overlap=overlap)
    for n in range(INTENTS):
        Intent.objects.create(project=project, code=f"intent_{n}", name=f"意图 {n}")
    access.sync_groups()
    password = make_password(annotators.PASSWORD)  # slow on purpose
    for name in [*(f"c{n}" for n in range(clients)), "boss"]:
        user = User.objects.create(username=name, password=password)
        role = "manager" if name == "boss" else "annotator"
        access.add_member(project, user, role=role)
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes"
            " WHERE tablename = 'labeling_question'"
            " AND indexname LIKE 'question_%' AND indexdef NOT LIKE '%UNIQUE%'"
        )
        indexes = cursor.fetchall()
        for name, _definition in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        values = {"project": project.pk, "intents": INTENTS}
        step = 100_000
        for low in range(1, questions + 1, step):
            values |= {"low": low, "high": min(low + step - 1, questions)}
            cursor.execute(_QUESTIONS, values)
        for _name, definition in indexes:
            cursor.execute(definition)
        cursor.execute(_GOLD, {"user": user.pk})
        cursor.execute(_VECTORS, {"half": _EMBEDDED // 2})
        cursor.execute("VACUUM ANALYZE")


def print_plans() -> None:
    """Each queue's claim on the full table; the lease that it takes goes again."""
    from django.contrib.auth.models import User
    from django.db import connection, transaction

    from labeling.models import Project
    from labeling.queue.claims import claim_values
    from labeling.queue.sources import SOURCES, claim_sql

    project = Project.objects.get(slug="bench")
    boss = User.objects.get(username="boss")
    codes = {"pair": ("intent_0", "intent_1"), "intent": ("intent_0",)}
    for queue in SOURCES:
        values = claim_values(project, boss, queue, codes.get(queue, ()), limit=1)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS) " + claim_sql(queue), values)
            print(f"\n--- {queue}")
            print("\n".join(line for (line,) in cursor.fetchall()))
            transaction.set_rollback(True)


def work_together(clients: int, seconds: float, think_s: float) -> annotators.Seen:
    """Runs the web server, the annotators and the manager; returns what they saw."""
    from tests.registry.server import serve
    from tuneloop import web

    context = multiprocessing.get_context("spawn")
    names = [f"c{n}" for n in range(clients)]
    groups = [names[n::2] for n in range(2)]
    ready, results = context.Barrier(len(groups) + 1), context.Queue()
    codes = [f"intent_{n}" for n in range(INTENTS)]
    log = Path(tempfile.mkdtemp()) / "web.log"
    with serve(web.environment(), log) as server:
        shared = (seconds, ready, results)
        processes = [
            context.Process(
                target=annotators.annotators,
                args=(server.port, group, codes, think_s, *shared),
            )
            for group in groups
        ]
        processes.append(
            context.Process(
                target=annotators.manager, args=(server.port, "boss", PAGES, *shared)
            )
        )
        for process in processes:
            process.start()
        seen = annotators.Seen()
        for _process in processes:
            seen.add(results.get(timeout=seconds + 300))
        for process in processes:
            process.join()
    return seen


def check(seen: annotators.Seen, overlap: int, since: datetime) -> bool:
    """Prints what was handed out too often, lost or doubled; whether nothing was."""
    from labeling.models import Annotation, Lease

    people = Counter(question for question, _person in set(seen.handed))
    beyond = [pk for pk, number in people.items() if number > overlap]
    slots = Counter(Lease.objects.values_list("question_id", flat=True))
    beyond += [pk for pk, number in slots.items() if number > overlap]
    written = Counter(
        Annotation.objects.filter(created_at__gte=since).values_list(
            "question_id", "annotator__username", "intents__code"
        )
    )
    said = Counter(seen.labelled)
    lost = [label for label in said if not written[label]]
    doubled = [label for label in said if said[label] > 1 or written[label] > 1]
    unknown = [label for label in written if label not in said]
    print(
        f"{len(people)} questions handed out, {len(said)} labels acknowledged;"
        f" beyond the overlap {len(beyond)}, lost {len(lost)}, doubled {len(doubled)},"
        f" written but not acknowledged {len(unknown)}, refused {len(seen.refused)}"
    )
    for line in seen.refused[:5]:
        print("  refused:", line)
    return not (beyond or lost or doubled or unknown)


def report(seen: annotators.Seen, seconds: float) -> None:
    """Times by what was asked for."""
    print(f"{len(seen.labelled) / seconds:.0f} labels a second together")
    for side, times in (("server", seen.server), ("client", seen.client)):
        for what, ms in sorted(times.items()):
            print(
                f"{side:7}{what:22}{len(ms):7}   p50 {percentile(ms, 0.5):7.1f} ms"
                f"   p95 {percentile(ms, 0.95):7.1f} ms   max {max(ms):7.1f} ms"
            )


def percentile(values: list[float], share: float) -> float:
    """The value that so large a share is not above."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--think-s", type=float, default=1.0)
    parser.add_argument("--overlap", type=int, default=1)
    parser.add_argument("--plans", action="store_true", help="print each claim's plan")
    parser.add_argument("--home", type=Path, help="kept; filled if it is new")
    parser.add_argument("--fill-only", action="store_true")
    options = parser.parse_args()
    fine = True

    def work() -> None:
        nonlocal fine
        from django.utils import timezone

        from labeling.models import Lease, Project

        if not Project.objects.filter(slug="bench").exists():
            start = time.perf_counter()
            fill(options.questions, options.clients, options.overlap)
            print(f"filled in {time.perf_counter() - start:.0f} s", flush=True)
        if options.fill_only:
            return
        Project.objects.update(overlap=options.overlap)
        Lease.objects.all().delete()
        if options.plans:
            print_plans()
        print(
            f"\n{options.questions} questions, {options.clients} annotators,"
            f" overlap {options.overlap}, {options.think_s:g} s to think,"
            f" load {os.getloadavg()[0]:.1f} before",
            flush=True,
        )
        since = timezone.now()
        seen = work_together(options.clients, options.seconds, options.think_s)
        fine = check(seen, options.overlap, since)
        report(seen, options.seconds)
        processes = min(8, options.clients)
        print(f"\nclaims alone, from {processes} processes", flush=True)
        Lease.objects.all().delete()
        plain = bench_claim.measure("plain", processes, 8)
        ours = bench_claim.measure("ours", processes, 8)
        print(f"the claim hands out {ours / plain:.1f} times as many")

    bench_claim.in_own_database(work, options.home)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
