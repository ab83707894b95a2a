"""What the journal costs: an answer appended, and one brought to the database.

    python tests/benchmarks/bench_journal.py [--entries 20000] [--threads 16]

Beside them in the same run: a bare write of as many bytes with a sync each (what the
disk takes), and one transaction an answer, as a server without a journal writes it.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=16)
    args = parser.parse_args()

    from tests.benchmarks.served import served

    with served(None) as bed, tempfile.TemporaryDirectory(dir=bed.home) as folder:
        answers = make_answers(bed, args.entries)
        disk(Path(folder))
        append(Path(folder), bed.project, answers, threads=1)
        append(Path(folder), bed.project, answers, threads=args.threads)
        one_by_one(bed, answers[:500])
        drain(bed, answers)


def make_answers(bed: Any, n: int) -> list[Any]:
    """Answers as the engine gives them: texts of which a third came before."""
    from registry.serving import engine

    target = engine.target_of(bed.project)
    texts = [f"w{i % 20} 今天谁没打卡 {i * 2 // 3}" for i in range(n)]
    return [
        answer
        for i in range(0, n, 256)
        for answer in engine.classify(target, texts[i : i + 256])
    ]


def disk(folder: Path) -> None:
    fd = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    began = time.perf_counter()
    for _ in range(100):
        os.write(fd, b"x" * 600)
    print(f"disk: {(time.perf_counter() - began) * 1e4:.0f} µs a synced write")
    os.close(fd)


def append(folder: Path, project: Any, answers: list[Any], *, threads: int) -> None:
    from django.utils import timezone

    from registry.serving.journal import Entry
    from registry.serving.journal.entry import encode, line
    from registry.serving.journal.wal import Wal

    log = Wal(folder, limit_bytes=1 << 30)
    share = answers[: 1000 if threads == 1 else len(answers)]
    seconds: list[float] = []

    def work(mine: list[Any]) -> None:
        for answer in mine:
            began = time.perf_counter()
            entry = Entry(uuid.uuid4(), answer, 1.0)
            record = encode([line(project, entry, client=None, at=timezone.now())])
            log.commit(log.append(record))
            seconds.append(time.perf_counter() - began)

    took, cpu = _timed(
        lambda: _in_threads(
            [lambda k=k: work(share[k::threads]) for k in range(threads)]
        )
    )
    seconds.sort()
    size = sum(path.stat().st_size for path in log.folder.segments())
    print(
        f"append, {threads} threads: {cpu / len(share) * 1e6:.0f} µs CPU an answer,"
        f" {len(share) / took:.0f} answers a second, wait p50"
        f" {seconds[len(seconds) // 2] * 1e3:.2f} ms, p99"
        f" {seconds[len(seconds) * 99 // 100] * 1e3:.2f} ms,"
        f" {size / len(share):.0f} bytes each"
    )
    log.remove()


def one_by_one(bed: Any, answers: list[Any]) -> None:
    from django.utils import timezone

    from registry.serving.journal import Entry, record

    def work() -> None:
        for answer in answers:
            entry = Entry(uuid.uuid4(), answer, 1.0)
            record(bed.project, [entry], client=None, at=timezone.now())

    _say("a transaction an answer", len(answers), bed, work)


def drain(bed: Any, answers: list[Any]) -> None:
    from django.utils import timezone

    from registry.models import ClassificationLog
    from registry.serving.journal import Entry
    from registry.serving.journal import drain as drains
    from registry.serving.journal.entry import encode, line

    at = timezone.now()
    records = [
        encode([line(bed.project, Entry(uuid.uuid4(), a, 1.0), client=None, at=at)])
        for a in answers
    ]
    for size in (10, 50, 500):
        part, records = records[: len(answers) // 4], records[len(answers) // 4 :]

        def work(part: list[bytes] = part, size: int = size) -> None:
            for i in range(0, len(part), size):
                drains.write(part[i : i + size], root=bed.home, may_be_there=False)

        _say(f"drained, {size} at once", len(part), bed, work)
    part = records
    _say("drained, 500 at once, again", len(part), bed, lambda: work(part, 500))
    before = ClassificationLog.objects.count()
    _say("found in the log already", len(part), bed, lambda: work(part, 500))
    assert ClassificationLog.objects.count() == before


def _say(what: str, n: int, bed: Any, work: Callable[[], None]) -> None:
    from tests.registry.outages import server

    def database() -> float:
        main = server(bed.home, "postgres")
        times = [p.cpu_times() for p in (main, *main.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))

    before = database()
    took, cpu = _timed(work)
    theirs = database() - before
    print(
        f"{what}: {cpu / n * 1e6:.0f} µs CPU here and {theirs / n * 1e6:.0f} µs in"
        f" PostgreSQL an answer, {n / took:.0f} answers a second"
    )


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def _in_threads(jobs: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
