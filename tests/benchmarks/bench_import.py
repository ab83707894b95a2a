"""How fast questions come in and go out, against bulk_create in the same run.

    python tests/benchmarks/bench_import.py [--rows 100000] [--formats jsonl,csv]
        [--full] [--no-baseline] [--without INDEX,…]

Everything but the baseline goes through `transfers.run`, as a worker would do it; each
step runs in a process of its own, so that its peak of memory is its own. With
`--without`, indexes are dropped first, to see what they cost an import. Starts a
PostgreSQL of its own in a temporary folder and removes it afterwards.
"""

import argparse
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

INTENTS = 150
SYLLABLES = "今天昨天谁没打卡查询库存原料批次发货付款通知订单客户生产线温度报表工资请假"


def write_file(path: Path, rows: int, *, labelled: bool) -> None:
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
            label = f', "label": "intent_{n % INTENTS}"' if labelled else ""
            file.write(f'{{"text": "{text}"{label}}}\n')


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu_s(pid: int | str) -> float:
    """Seconds of processor time that a process has had."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def measured(name: str, rows: int, what: Callable[[], object]) -> float:
    """Runs a step in a process of its own, prints and returns its seconds.

    Beside them stands the processor time of the step and of its database session, which
    hardly depends on what else the machine does.
    """
    from django.db import connection, connections

    connections.close_all()
    sys.stdout.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            connection.ensure_connection()
            database = connection.connection.info.backend_pid
            start, before = time.perf_counter(), cpu_s("self")
            what()
            took = time.perf_counter() - start
            busy = cpu_s("self") - before
            values = (took, peak_mb(), busy, cpu_s(database))
            os.write(writer, " ".join(map(str, values)).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    _pid, status = os.waitpid(pid, 0)
    if status:
        sys.exit(f"{name} failed")
    seconds, peak, busy, database_busy = map(float, answer.split())
    per_s = f"{rows / seconds:9,.0f} rows/s"
    busy_for = f"cpu {busy:6.1f} s + database {database_busy:6.1f} s"
    print(f"{name:20}{seconds:8.1f} s  {per_s}  {busy_for}  peak {peak:4.0f} MB")
    sys.stdout.flush()
    return seconds


def plain(project: Any, file: Path) -> None:
    """The obvious way: all rows in memory, model instances, bulk_create."""
    from django.utils import timezone

    from labeling import formats
    from labeling.models import GoldLabel, Intent, Question
    from labeling.normalise import split_of, text_hash

    now = timezone.now()
    read = list(formats.read(file.open("rb"), kind="jsonl"))
    rows = {text_hash(row.text): row for row in reversed(read)}
    codes = {row.labels[0] for row in rows.values()}
    intents = {c: Intent.objects.create(project=project, code=c) for c in codes}
    shares = {
        "test_share": project.test_share,
        "validation_share": project.validation_share,
    }
    Question.objects.bulk_create(
        (
            Question(
                project=project,
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
    ids = dict(Question.objects.of(project).values_list("text_hash", "id"))
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


def bench(folder: Path, options: argparse.Namespace) -> None:
    from django.contrib.auth.models import User
    from django.core.files import File
    from django.core.files.storage import default_storage
    from django.db import connection, transaction

    from labeling import transfers
    from labeling.models import Project, Transfer
    from labeling.transfers import queueing

    queueing.put = lambda *args: None  # run here, not by a worker
    user = User.objects.create(username="bench")
    rows = options.rows

    def project(slug: str) -> Project:
        return Project.objects.create(slug=slug, name=slug)

    def taken_in(name: str, into: Project, file: Path, kind: str) -> float:
        with file.open("rb") as data, transaction.atomic():
            stored = transfers.keep(File(data, name=file.name))
            transfer = transfers.start_import(
                into, stored, format=kind, options={"create_intents": True}, by=user
            )
        return run(name, transfer)

    def written(name: str, of: Project, kind: str) -> Path:
        transfer = transfers.start_export(of, format=kind, by=user)
        run(name, transfer)
        transfer.refresh_from_db()
        print(f"{'':20}{transfer.size / 1e6:8.1f} MB")
        return Path(default_storage.path(transfer.stored_as))

    def run(name: str, transfer: Transfer) -> float:
        seconds = measured(name, rows, lambda: transfers.run(transfer.pk))
        transfer.refresh_from_db()
        if transfer.state != "succeeded":
            sys.exit(f"{name}: {transfer.state} {transfer.error}")
        return seconds

    if options.without:
        with connection.cursor() as cursor:
            for index in options.without.split(","):
                cursor.execute(f'DROP INDEX "{index}"')
    labelled, unlabelled = folder / "labelled.jsonl", folder / "open.jsonl"
    write_file(labelled, rows, labelled=True)
    write_file(unlabelled, rows, labelled=False)
    first, other = project("labelled"), project("open")
    seconds = taken_in("import, labelled", first, labelled, "jsonl")
    taken_in("import, open", other, unlabelled, "jsonl")
    for kind in options.formats.split(","):
        file = written(f"export {kind}", first, kind)
        taken_in(f"import {kind}", project(f"from-{kind}"), file, kind)
    if options.full:
        written("export full", first, "full")
    taken_in("import, again", first, labelled, "jsonl")
    if options.no_baseline:
        return
    base = project("plain")
    plain_s = measured("bulk_create", rows, lambda: plain(base, labelled))
    print(f"the import takes {seconds / plain_s:.2f} of bulk_create's time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--formats", default="jsonl,csv,xlsx,rasa")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--without", default="")
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
            bench(Path(folder), options)
        finally:
            embedded.release()


if __name__ == "__main__":
    main()
