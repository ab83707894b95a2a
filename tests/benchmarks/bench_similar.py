"""How fast texts become vectors, and how fast neighbours are found among many.

    python tests/benchmarks/bench_similar.py [--questions N] [--encoder FOLDER]

FOLDER holds a built encoder (`manage.py build_encoder` prints it); without it only the
search is measured. The vectors are random: directions spread around 2,000 centres, more
alike within one, so that a search has something near to find, as among real questions.
The yardstick is the exact search: the same question with every index turned off. Starts
a PostgreSQL of its own in a temporary folder.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

CENTRES = 2_000
LABELLED_SHARE = 0.05
PROBES = 300
EXACT_PROBES = 20
LIMIT = 5


def measure_encoder(folder: Path) -> None:
    """Texts a second, milliseconds of a single one, and what the session costs."""
    import psutil

    from registry.onnx.encoder import OnnxEncoder
    from tests.benchmarks.bench_classify import questions

    process = psutil.Process()
    before = process.memory_info().rss
    start = time.perf_counter()
    encoder = OnnxEncoder(folder)
    opened = time.perf_counter() - start
    grown = (process.memory_info().rss - before) / 2**20
    source = questions(1)
    texts = [next(source) for _ in range(2_000)]
    encoder.encode(texts[:64])
    start = time.perf_counter()
    encoder.encode(texts)
    rate = len(texts) / (time.perf_counter() - start)
    single = timed(
        [lambda text=text: encoder.encode([text]) for text in texts[:PROBES]]
    )
    print(
        f"encoder, one thread: opens in {opened:.1f} s and {grown:.0f} MiB; "
        f"{rate:.0f} texts/s in batches; one text {told(single)}"
    )


def timed(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """Milliseconds of each call, sorted."""
    took = []
    for call in calls:
        start = time.perf_counter()
        call()
        took.append((time.perf_counter() - start) * 1000)
    return sorted(took)


def told(ms: Sequence[float]) -> str:
    return f"p50 {statistics.median(ms):.1f} ms, p95 {ms[int(len(ms) * 0.95)]:.1f} ms"


def make_vectors(count: int, *, seed: int) -> Any:
    """Unit vectors (count, 384), float32."""
    import numpy as np

    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((CENTRES, 384), np.float32)
    noise = rng.standard_normal((count, 384), np.float32)
    vectors = centres[rng.integers(0, CENTRES, count)] + 0.7 * noise
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def fill(questions: int) -> None:
    """Questions of one project with vectors; the graphs are built afterwards."""
    from django.db import connection

    from labeling.models import Embedding, Project
    from labeling.search import similar

    project = Project.objects.create(slug="bench", name="bench")
    indexes = [index for index in Embedding._meta.indexes if "nearest" in index.name]
    with connection.schema_editor() as editor:
        for index in indexes:
            editor.remove_index(Embedding, index)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO labeling_question (project_id, text, text_hash, occurrences,
                first_seen, last_seen, origin, state, split, trained_in, method,
                predicted_by, priority)
            SELECT %s, 'question number ' || n, lpad(to_hex(n), 32, '0'), 0, now(),
                now(), 'imported',
                CASE WHEN random() < %s THEN 'labelled' ELSE 'open' END,
                CASE WHEN n %% 5 = 0 THEN 'test' ELSE 'train' END, '', '', '', random()
            FROM generate_series(1, %s) n
            """,
            [project.pk, LABELLED_SHARE, questions],
        )
        missing = similar.pending(project.pk, questions)
        for start in range(0, len(missing), 5_000):
            ids = [pk for pk, _text in missing[start : start + 5_000]]
            similar.store(
                project.pk,
                dict(zip(ids, make_vectors(len(ids), seed=start), strict=True)),
            )
        cursor.execute("SET maintenance_work_mem = '1GB'")
    start = time.perf_counter()
    with connection.schema_editor() as editor:
        for index in indexes:
            editor.add_index(Embedding, index)
    print(f"both graphs built in {time.perf_counter() - start:.0f} s")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def measure_search() -> None:
    """Each kind of search against the exact one, with its plan."""
    from django.db import connection

    from labeling.models import Project, Question
    from labeling.search import clusters, similar

    project = Project.objects.get(slug="bench")
    vectors = make_vectors(PROBES, seed=10**6)
    kinds: dict[str, dict[str, Any]] = {
        "any": {},
        "labelled": {"labelled": True},
        "labelled, no test": {"labelled": True, "without_test": True},
        "open, no test": {"labelled": False, "without_test": True},
    }
    for name, filters in kinds.items():

        def search(vector: Any, filters: dict[str, Any] = filters) -> list[int]:
            found = similar.nearest(project, vector, limit=LIMIT, **filters)
            return [neighbour.question.pk for neighbour in found]

        ours = timed([lambda v=v: search(v) for v in vectors])
        found = [set(search(vector)) for vector in vectors[:EXACT_PROBES]]
        plan = plan_of(lambda: search(vectors[0]))
        with connection.cursor() as cursor:
            cursor.execute("SET enable_indexscan = off")
            exact = timed([lambda v=v: search(v) for v in vectors[:EXACT_PROBES]])
            true = [set(search(vector)) for vector in vectors[:EXACT_PROBES]]
            cursor.execute("RESET enable_indexscan")
        hits = sum(len(a & b) for a, b in zip(found, true, strict=True))
        print(
            f"\nnearest {LIMIT}, {name}: {told(ours)}; exact {told(exact)}; "
            f"{hits / sum(map(len, true)):.0%} of the true ones found\n{plan}"
        )

    ids = list(Question.objects.order_by("pk").values_list("pk", flat=True)[:2_000])
    start = time.perf_counter()
    joined = clusters.assign(project.pk, ids)
    each = (time.perf_counter() - start) / len(ids) * 1000
    print(f"\nnear-duplicates: {each:.1f} ms a question ({joined} joined)")

    Question.objects.filter(pk__in=ids[:500]).delete()
    start = time.perf_counter()
    missing = similar.pending(project.pk, 2_000)
    print(f"pending, none missing: {(time.perf_counter() - start) * 1000:.0f} ms")
    assert not missing
    measure_store(project)


def measure_store(project: Any) -> None:
    """What a vector more costs while both graphs stand."""
    from django.utils import timezone

    from labeling.models import Question
    from labeling.search import similar

    now = timezone.now()
    new = Question.objects.bulk_create(
        Question(
            project=project,
            text=f"new {n}",
            text_hash=f"new {n}",
            first_seen=now,
            last_seen=now,
            split="train",
            state="labelled" if n % 2 else "open",
        )
        for n in range(1_000)
    )
    vectors = make_vectors(len(new), seed=7)
    start = time.perf_counter()
    for first in range(0, len(new), similar.CHUNK):
        rows = range(first, min(first + similar.CHUNK, len(new)))
        similar.store(project.pk, {new[row].pk: vectors[row] for row in rows})
    each = (time.perf_counter() - start) / len(new) * 1000
    print(f"store, half of them labelled: {each:.1f} ms a vector")


def plan_of(search: Callable[[], Any]) -> str:
    """The plan of the statement that searches."""
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    from labeling.search import similar

    with CaptureQueriesContext(connection) as captured:
        search()
    (sql,) = [q["sql"] for q in captured if "ORDER BY e.vector" in q["sql"]]
    with transaction.atomic(), connection.cursor() as cursor:
        similar.set_up_search()
        cursor.execute("EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF) " + sql)
        lines = [line for (line,) in cursor.fetchall()]
    return "\n".join(line[:160] for line in lines)


def in_own_database(work: Callable[[], None]) -> None:
    """Runs with a migrated database in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="tuneloop-bench-") as folder:
        for name in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(name, None)
        os.environ["TUNELOOP_HOME"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "tuneloop.settings"
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
    parser.add_argument("--encoder", type=Path)
    options = parser.parse_args()
    if options.encoder is not None:
        measure_encoder(options.encoder)

    def work() -> None:
        fill(options.questions)
        print(f"{options.questions} questions")
        measure_search()

    in_own_database(work)


if __name__ == "__main__":
    main()
