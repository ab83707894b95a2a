"""Transfers among real processes: one run at a time, killed ones are taken up again."""

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.utils import timezone

from labeling import transfers
from labeling.intake import staging
from labeling.models import Question, Transfer
from tests.makers import make_person, make_project
from tests.processes import Process, Start, go, outputs

pytestmark = pytest.mark.django_db(transaction=True)

_START = """
import sys, django
django.setup()
from django.conf import settings
settings.MEDIA_ROOT = sys.argv[1]
from labeling import transfers
from labeling.intake import bulk
bulk.CHUNK_ROWS = 100
read = transfers.running.formats.read
def slow(*args, **kwargs):
    import time
    for row in read(*args, **kwargs):
        time.sleep(float(sys.argv[3]))
        yield row
transfers.running.formats.read = slow
print("ready", flush=True)
sys.stdin.readline()
print(transfers.run(int(sys.argv[2])), flush=True)
"""
Work = Callable[..., Process]


@pytest.fixture
def work(start: Start, settings: Any, tmp_path: Path) -> Work:
    """Starts a worker that waits: `work(transfer, row_s=...)`."""
    settings.MEDIA_ROOT = tmp_path

    def work(transfer: Transfer, *, row_s: float) -> Process:
        return start(_START, tmp_path, transfer.pk, row_s)

    return work


def an_import(rows: int) -> Transfer:
    project = make_project()
    lines = (json.dumps({"text": f"q{n}", "label": "a"}) + "\n" for n in range(rows))
    return transfers.start_import(
        project,
        ContentFile("".join(lines).encode(), "q.jsonl"),
        format="jsonl",
        options={"create_intents": True},
        by=make_person("mia", project),
    )


def wait_until(done: Callable[[], bool], *, timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end, list(Transfer.objects.values())
        time.sleep(0.1)


def test_of_many_workers_one_runs_it(work: Work) -> None:
    transfer = an_import(300)
    workers = [work(transfer, row_s=0.005) for _n in range(3)]
    go(workers)
    assert sorted(outputs(workers)) == [["False"], ["False"], ["True"]]
    transfer.refresh_from_db()
    assert (transfer.state, transfer.report["created"]) == ("succeeded", 300)


def test_a_killed_import_is_taken_up_and_ends_the_same(work: Work) -> None:
    transfer = an_import(1000)
    worker = work(transfer, row_s=0.01)
    go([worker])
    wait_until(lambda: Question.objects.count() >= 200)
    worker.kill()
    worker.wait()
    half = Question.objects.count()
    assert half < 1000
    assert transfers.sweep() == []  # it might still be alive
    Transfer.objects.update(beat_at=timezone.now() - timedelta(seconds=31))
    assert transfers.sweep() == [transfer.pk]
    again = work(transfer, row_s=0)
    go([again])
    assert outputs([again]) == [["True"]]
    transfer.refresh_from_db()
    assert transfer.state == "succeeded"
    assert transfer.report["rows"] == 1000
    assert transfer.report["created"] == 1000 - half
    assert Question.objects.filter(state="labelled").count() == 1000
    assert default_storage.listdir("transfers")[1] == []


def test_a_running_import_obeys_a_cancel_within_seconds(work: Work) -> None:
    transfer = an_import(10_000)
    worker = work(transfer, row_s=0.01)
    go([worker])
    wait_until(lambda: Question.objects.count() >= 100)
    transfers.cancel(transfer, by=transfer.by)
    worker.communicate(timeout=60)
    transfer.refresh_from_db()
    assert transfer.state == "cancelled"
    assert transfer.done < transfer.total
    assert 100 <= Question.objects.count() < 2000
    assert default_storage.listdir("transfers")[1] == []


def test_a_statement_that_waits_is_cancelled_too(work: Work) -> None:
    """Another import of the project holds the lock that this one waits for."""
    transfer = an_import(10)
    released, is_held = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                staging.lock(cursor, transfer.project_id)
                is_held.set()
                released.wait(60)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert is_held.wait(10)
        worker = work(transfer, row_s=0)
        go([worker])
        wait_until(lambda: Transfer.objects.get().state == "running")
        transfers.cancel(transfer, by=transfer.by)
        worker.communicate(timeout=10)
    finally:
        released.set()
        holder.join()
    transfer.refresh_from_db()
    assert transfer.state == "cancelled"
    assert not Question.objects.exists()
