"""How fast labelled rows come in, against Django's bulk_create in the same run.

    python tests/benchmarks/bench_import.py [--rows 100000] [--no-baseline]

Starts a PostgreSQL of its own in a temporary folder and removes it afterwards.
"""

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

INTENTS = 150
SYLLABLES = "今天昨天谁没打卡查询库存原料批次发货付款通知订单客户生产线温度报表工资请假"


def write_file(path: Path, rows: int) -> None:
    """Questions of 10 to 40 characters, 2 % of them repeats in another spelling."""
    chance = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        text = ""
        for n in range(rows):
            if n % 50 == 49:
                text = f" {text}？"
            else:
                words = "".join(chance.choices(SYLLABLES, k=chance.randrange(6, 34)))
                text = f"{words} {n}"
            file.write(f'{{"text": "{text}", "label": "intent_{n % INTENTS}"}}\n')


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def bench(file: Path, *, baseline: bool) -> None:
    from django.utils import timezone

    from labeling import formats
    from labeling.intake import import_rows
    from labeling.models import GoldLabel, Intent, Project, Question
    from labeling.normalise import split_of, text_hash

    def read() -> formats.Iterator[formats.Row | formats.BadLine]:
        return formats.read(file.open("rb"), kind="jsonl")

    def ours() -> None:
        report = import_rows(project, read(), create_intents=True)
        print(" ", next(report.summary()))

    def plain() -> None:
        """The obvious way: all rows in memory, model instances, bulk_create."""
        now = timezone.now()
        rows = {text_hash(row.text): row for row in reversed(list(read()))}
        codes = {row.labels[0] for row in rows.values()}
        intents = {c: Intent.objects.create(project=other, code=c) for c in codes}
        shares = {
            "test_share": other.test_share,
            "validation_share": other.validation_share,
        }
        Question.objects.bulk_create(
            (
                Question(
                    project=other,
                    text=row.text.strip(),
                    text_hash=hash_,
                    first_seen=now,
                    last_seen=now,
                    state="labelled",
                    labelled_at=now,
                    split=split_of(hash_, **shares),
                )
                for hash_, row in rows.items()
            ),
            batch_size=5000,
            ignore_conflicts=True,
        )
        ids = dict(Question.objects.of(other).values_list("text_hash", "id"))
        GoldLabel.objects.bulk_create(
            (
                GoldLabel(
                    question_id=ids[hash_],
                    intent=intents[row.labels[0]],
                    source="import",
                    set_at=now,
                )
                for hash_, row in rows.items()
            ),
            batch_size=5000,
            ignore_conflicts=True,
        )

    project = Project.objects.create(slug="bench", name="bench")
    other = Project.objects.create(slug="plain", name="plain")
    lines = sum(1 for _ in file.open("rb"))
    before = peak_mb()
    first = timed(ours)
    print(f"import          {first:7.2f} s  {lines / first:9,.0f} rows/s", end="")
    print(f"  peak {peak_mb():.0f} MB ({before:.0f} MB before it began)")
    again = timed(ours)
    print(f"import again    {again:7.2f} s  {lines / again:9,.0f} rows/s")
    if not baseline:
        return
    base = timed(plain)
    print(f"bulk_create     {base:7.2f} s  {lines / base:9,.0f} rows/s", end="")
    print(f"  peak {peak_mb():.0f} MB")
    print(f"the import takes {first / base:.2f} of bulk_create's time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--no-baseline", action="store_true")
    options = parser.parse_args()
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
            file = Path(folder) / "rows.jsonl"
            write_file(file, options.rows)
            bench(file, baseline=not options.no_baseline)
        finally:
            embedded.release()


if __name__ == "__main__":
    main()
