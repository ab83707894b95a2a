"""A web process's journal: drained in order, adopted when it dies, each answer once."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.utils import timezone

from labeling.models import Project, Question
from registry import jobs
from registry.models import ClassificationLog
from registry.serving import journal
from registry.serving.engine import Answer
from registry.serving.fusion import Method
from registry.serving.journal import drain, folders, store, wal
from registry.serving.journal.entry import (
    Entry,
    Line,
    answer_of,
    decode,
    encode,
    line,
)
from registry.serving.journal.own import Journal, JournalFull
from registry.serving.journal.store import RequestIdTaken
from tests.makers import make_project
from tests.waiting import within

pytestmark = pytest.mark.django_db(transaction=True)

ANSWER = Answer(
    text="谁没打卡",
    intents=[
        {"code": "a", "name": "A", "confidence": 0.6, "sources": {"model": 0.6}},
        {"code": "b", "name": "B", "confidence": 0.1, "sources": {"rules": 0.1}},
    ],
    confidence=0.6,
    margin=0.5,
    method=Method.MODEL,
    version="3",
    needs_review=True,
    truncated=True,
    trace={"model": [{"code": "a", "confidence": 0.6}], "rules": []},
    is_conflict=True,
)


def make_line(project: Project, text: str = "谁没打卡", **changes: Any) -> Line:
    entry = Entry(uuid4(), replace(ANSWER, text=text), 1.5)
    made = line(project, entry, client=None, at=timezone.now())
    return made._replace(**changes)


class Away:
    """A database that is away while `is_away` is set."""

    def __init__(self) -> None:
        self.is_away = True

    def __call__(self, write: Callable[..., Any], lines: Any, **options: Any) -> Any:
        if self.is_away:
            raise OperationalError("the database is away")
        return write(lines, **options)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Away:
    """The drains of this process don't reach the database until told to."""
    state, write = Away(), store.insert_new
    monkeypatch.setattr(store, "insert_new", partial(state, write))
    return state


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Journal]]:
    begun = []

    def begin(**options: Any) -> Journal:
        begun.append(Journal(tmp_path, **{"limit_bytes": 1 << 20, **options}))
        return begun[-1]

    yield begin
    for one in begun:
        one._drain.end(5)


def logged() -> list[str]:
    return list(ClassificationLog.objects.order_by("id").values_list("text", flat=True))


def test_a_line_is_read_as_it_was_written() -> None:
    project = make_project()
    made = make_line(project)
    (read,) = decode(encode([made]))
    assert read == made
    again = answer_of(read, {"a": "New A"})
    assert again.intents[0]["name"] == "New A"
    assert (again.text, again.method, again.confidence) == ("谁没打卡", "model", 0.6)
    with pytest.raises(ValueError, match="format 9"):
        decode(b"[9,[]]")
    with pytest.raises(ValueError, match="not a record"):
        decode(b"[1,[7]]")


def test_what_is_recorded_reaches_the_log_with_everything(
    begin: Callable[..., Journal],
) -> None:
    project, journal = make_project(), begin()
    made = make_line(project, scores={"model": {"a": 0.6}, "rules": {}})
    journal.record([made])
    assert journal.flush(10)
    row = ClassificationLog.objects.get()
    assert row.request_id == UUID(made.request_id)
    assert (row.text, row.method, row.version) == ("谁没打卡", "model", "3")
    assert row.intents == made.intents
    assert (row.needs_review, row.degraded, row.truncated) == (True, False, True)
    assert (row.created_at, row.latency_ms) == (made.at, 1.5)
    assert row.scores == made.scores
    question = Question.objects.get(pk=row.question_id)
    assert (question.occurrences, question.trace) == (1, made.trace)
    assert question.predicted == [
        {"code": "a", "confidence": 0.6},
        {"code": "b", "confidence": 0.1},
    ]
    assert (question.is_conflict, question.margin) == (True, 0.5)
    assert journal.depth() == (0, 0, 0.0)


def test_what_is_begun_together_is_written_at_once(
    begin: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, journal = make_project(), begin()
    real = journal._wal._store
    writes: list[int] = []

    def store(data: bytes, start: int) -> None:
        writes.append(len(data))
        real(data, start)

    monkeypatch.setattr(journal._wal, "_store", store)
    ends = [journal.begin([make_line(project, f"q{n}")]) for n in range(5)]
    assert not writes
    for end in ends:
        end()
    assert len(writes) == 1
    assert journal.flush(10)
    assert ClassificationLog.objects.count() == 5


def test_nothing_is_written_before_it_is_durable_or_late(
    begin: Callable[..., Journal], tmp_path: Path, away: Away
) -> None:
    """It is on disk when `record` returns, whatever the database does."""
    project, journal = make_project(), begin()
    made = [make_line(project, f"q{n}") for n in range(3)]
    journal.record(made)
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    (path,) = folder.glob("*.wal")
    assert [decode(r.payload) for r in wal.read(path)] == [made]
    depth = journal.depth()
    assert depth.entries == 3
    assert 500 < depth.bytes < 5000
    assert not journal.flush(0.05)


def test_an_outage_is_drained_in_order_when_the_database_is_back(
    begin: Callable[..., Journal], away: Away
) -> None:
    project, journal = make_project(), begin()
    for n in range(1200):
        journal.record([make_line(project, f"q{n}")])
    assert logged() == []
    assert journal.depth().entries == 1200
    assert journal.depth().oldest_s > 0
    away.is_away = False
    assert journal.flush(30)
    assert logged() == [f"q{n}" for n in range(1200)]
    assert Question.objects.count() == 1200
    assert journal.depth().entries == 0


def test_a_text_asked_often_is_counted_on_one_question(
    begin: Callable[..., Journal], away: Away
) -> None:
    project, other, journal = make_project(), make_project(), begin()
    for n in range(60):
        journal.record([make_line(project, ("Pay!", "pay", "ＰＡＹ")[n % 3])])
        journal.record([make_line(other, "pay", version=str(n))])
    away.is_away = False
    assert journal.flush(10)
    assert Question.objects.of(project).get().occurrences == 60
    question = Question.objects.of(other).get()
    assert (question.occurrences, question.predicted_by) == (60, "59")


def test_threads_that_record_at_once_lose_nothing(
    begin: Callable[..., Journal],
) -> None:
    project, journal = make_project(), begin()
    start = threading.Barrier(8)

    def ask(n: int) -> None:
        start.wait()
        for i in range(50):
            journal.record(
                [make_line(project, f"q{n}-{i}"), make_line(project, "same")]
            )

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.flush(30)
    assert ClassificationLog.objects.count() == 800
    assert Question.objects.get(text="same").occurrences == 400
    assert Question.objects.count() == 401


@pytest.mark.parametrize("is_written", [True, False])
def test_a_connection_lost_at_the_commit_writes_nothing_twice(
    begin: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    """Whether the commit was done is not known then."""
    lost = threading.Event()
    insert = store.insert_new

    def losing(lines: Any, **options: Any) -> Any:
        if not lost.is_set():
            lost.set()
            if is_written:
                insert(lines, **options)
            connection.close()
            raise OperationalError("server closed the connection unexpectedly")
        return insert(lines, **options)

    monkeypatch.setattr(store, "insert_new", losing)
    project, journal = make_project(), begin()
    journal.record([make_line(project, f"q{n % 4}") for n in range(10)])
    assert journal.flush(10)
    assert lost.is_set()
    assert ClassificationLog.objects.count() == 10
    counted = Question.objects.order_by("text").values_list("text", "occurrences")
    assert list(counted) == [("q0", 3), ("q1", 3), ("q2", 2), ("q3", 2)]


def test_a_drained_answer_is_on_the_databases_disk(
    begin: Callable[..., Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed server loses commits that did not wait, and local disk had them."""
    seen = []
    insert = store.insert

    def watching(lines: Any) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            seen.append(cursor.fetchone()[0])
        return insert(lines)

    monkeypatch.setattr(store, "insert", watching)
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        if cursor.fetchone()[0] != "off":
            pytest.skip("a server whose own commits wait")
    project, journal = make_project(), begin()
    journal.record([make_line(project)])
    assert journal.flush(10)
    assert seen == ["on"]


@pytest.mark.parametrize("look", [True, False])
def test_a_batch_that_is_there_in_part_is_completed(look: bool) -> None:
    project = make_project()
    lines = [make_line(project, f"q{n}") for n in range(6)]
    store.insert(lines[2:4])
    assert store.insert_new([*lines, lines[5]], may_be_there=look) == []
    assert ClassificationLog.objects.count() == 6
    assert set(Question.objects.values_list("occurrences", flat=True)) == {1}


def test_one_id_in_two_processes_at_once_is_logged_once(
    begin: Callable[..., Journal], away: Away
) -> None:
    project = make_project()
    one, other = begin(), begin()
    made = make_line(project)
    one.record([made])
    other.record([made._replace(at=timezone.now())])
    away.is_away = False
    assert one.flush(10)
    assert other.flush(10)
    assert ClassificationLog.objects.count() == 1
    assert Question.objects.get().occurrences == 1


def test_an_id_that_is_another_answers_is_kept_for_people(
    begin: Callable[..., Journal], tmp_path: Path
) -> None:
    project, journal = make_project(), begin()
    made = make_line(project, "first")
    store.insert([made])
    journal.record([made._replace(text="second"), make_line(project, "third")])
    assert journal.flush(10)
    assert logged() == ["first", "third"]
    (kept,) = (tmp_path / folders.REJECTED).iterdir()
    assert json.loads(kept.read_text())["line"]["text"] == "second"
    assert not Question.objects.filter(text="second").exists()


def test_an_id_is_known_while_it_waits_and_after(
    begin: Callable[..., Journal], away: Away
) -> None:
    project, journal = make_project(), begin()
    made = make_line(project)
    journal.record([made])
    with pytest.raises(RequestIdTaken):
        journal.record([made])
    assert journal.recall(made.request_id) == made
    assert journal.recall(str(uuid4())) is None
    away.is_away = False
    assert journal.flush(10)
    assert journal.recall(made.request_id) == made


def test_what_no_longer_fits_into_memory_is_read_from_disk(
    begin: Callable[..., Journal], away: Away
) -> None:
    project, journal = make_project(), begin(recent_bytes=2000)
    made = [make_line(project, f"q{n}") for n in range(30)]
    for one in made:
        journal.record([one])
    assert [journal.recall(one.request_id) for one in made] == made
    with pytest.raises(RequestIdTaken):
        journal.record([made[0]])
    away.is_away = False
    assert journal.flush(10)
    assert journal.recall(made[0].request_id) is None  # the log knows it now
    assert journal.recall(made[-1].request_id) == made[-1]


def test_a_full_journal_refuses_and_goes_on_when_drained(
    begin: Callable[..., Journal], away: Away
) -> None:
    project, journal = make_project(), begin(limit_bytes=20_000)
    refused = make_line(project, "refused")
    n = 0
    with contextlib.suppress(JournalFull):
        for n in range(1000):
            journal.record([make_line(project, f"q{n}")])
    with pytest.raises(JournalFull):
        journal.record([refused])
    assert journal.recall(refused.request_id) is None
    away.is_away = False
    assert journal.flush(10)
    journal.record([refused])  # its id was not taken by the failure
    assert journal.flush(10)
    assert len(logged()) == n + 1


def test_answers_that_the_database_refuses_keep_nobody_waiting(
    begin: Callable[..., Journal], tmp_path: Path, away: Away
) -> None:
    project, journal = make_project(), begin()
    made = [make_line(project, f"q{n}") for n in range(20)]
    made[7] = made[7]._replace(version="x" * 21)  # longer than the column
    made[13] = made[13]._replace(text="NUL \x00")
    for one in made:
        journal.record([one])
    away.is_away = False
    assert journal.flush(10)
    assert logged() == [f"q{n}" for n in range(20) if n not in (7, 13)]
    kept = [json.loads(p.read_text()) for p in (tmp_path / folders.REJECTED).iterdir()]
    assert {one["line"]["text"] for one in kept} == {"q7", "NUL \x00"}
    assert all(one["why"] for one in kept)
    assert Question.objects.filter(text="q7").count() == 0


def test_what_the_database_is_not_ready_for_waits(
    begin: Callable[..., Journal], tmp_path: Path
) -> None:
    """A new release's process before the migration: nothing is thrown away."""
    project, journal = make_project(), begin()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE registry_classificationlog RENAME scores TO s")
    try:
        journal.record([make_line(project)])
        assert not journal.flush(0.5)
        assert journal.depth().entries == 1
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE registry_classificationlog RENAME s TO scores")
    assert journal.flush(10)
    assert len(logged()) == 1
    assert not (tmp_path / folders.REJECTED).exists()


def test_answers_of_a_project_that_is_gone_go_with_it(
    begin: Callable[..., Journal], away: Away, tmp_path: Path
) -> None:
    project, gone, journal = make_project(), make_project(), begin()
    journal.record([make_line(gone)])
    journal.record([make_line(project)])
    gone.delete()
    away.is_away = False
    assert journal.flush(10)
    assert ClassificationLog.objects.get().project == project
    assert not (tmp_path / folders.REJECTED).exists()


def test_an_older_answer_that_comes_later_is_counted_and_changes_nothing(
    begin: Callable[..., Journal],
) -> None:
    """As it does from a process that was killed, and whose log is drained late."""
    project, journal = make_project(), begin()
    old, new = make_line(project), make_line(project, version="4", margin=0.9)
    journal.record([new])
    assert journal.flush(10)
    journal.record([old])
    assert journal.flush(10)
    question = Question.objects.get()
    assert (question.predicted_by, question.margin) == ("4", 0.9)
    assert question.occurrences == 2
    assert (question.first_seen, question.last_seen) == (old.at, new.at)


def leave(root: Path, lines: list[Line], *, torn: bytes = b"") -> None:
    """What a killed process leaves: a log that nobody holds."""
    log = wal.Wal(root, limit_bytes=1 << 20, segment_bytes=4000)  # several files
    for one in lines:
        log.commit(log.append(encode([one])))
    path = log.folder.segments()[-1]
    path.write_bytes(path.read_bytes() + torn)
    log.folder.release()


def test_what_a_killed_process_left_is_adopted_by_a_living_one(
    begin: Callable[..., Journal], tmp_path: Path
) -> None:
    project = make_project()
    lines = [make_line(project, f"q{n}") for n in range(40)]
    store.insert(lines[:15])  # it was killed before it removed them
    leave(tmp_path, lines, torn=b"\x80\x00\x00\x00 torn")
    begin()
    assert within(10, lambda: len(logged()) == 40)
    assert logged() == [f"q{n}" for n in range(40)]
    assert set(Question.objects.values_list("occurrences", flat=True)) == {1}
    assert within(10, lambda: len(list(tmp_path.iterdir())) == 1)  # its own


def test_the_workers_sweep_adopts(tmp_path: Path, settings: Any) -> None:
    settings.HOME = tmp_path
    project = make_project()
    jobs.adopt_journals()  # before anybody served
    leave(tmp_path / "journal", [make_line(project)])
    jobs.adopt_journals()
    assert logged() == ["谁没打卡"]


def test_adopters_at_once_write_everything_once(tmp_path: Path) -> None:
    project = make_project()
    for k in range(6):
        leave(tmp_path, [make_line(project, f"q{k}-{n}") for n in range(30)])
    start, counts = threading.Barrier(3), []

    def work() -> None:
        try:
            start.wait()
            counts.append(drain.adopt(tmp_path))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 180
    assert ClassificationLog.objects.count() == 180
    assert list(tmp_path.iterdir()) == []


def test_an_adoption_that_fails_is_taken_up_again(tmp_path: Path, away: Away) -> None:
    project = make_project()
    leave(tmp_path, [make_line(project, f"q{n}") for n in range(30)])
    with pytest.raises(DatabaseError):
        drain.adopt(tmp_path)
    away.is_away = False
    assert drain.adopt(tmp_path) == 30
    assert drain.adopt(tmp_path) == 0
    assert len(logged()) == 30


def test_a_damaged_file_is_drained_as_far_as_it_goes_and_kept(tmp_path: Path) -> None:
    project = make_project()
    log = wal.Wal(tmp_path, limit_bytes=1 << 20)
    for n in range(5):
        ticket = log.append(encode([make_line(project, f"q{n}")]))
        log.commit(ticket)
    (path,) = log.folder.segments()
    data = bytearray(path.read_bytes())
    data[ticket.start + 20] ^= 1
    path.write_bytes(data)
    log.folder.release()
    assert drain.adopt(tmp_path) == 4
    assert logged() == ["q0", "q1", "q2", "q3"]
    (kept,) = (tmp_path / folders.REJECTED).iterdir()
    assert kept.read_bytes() == data


def test_a_closed_journal_is_empty_or_stays_on_disk(
    begin: Callable[..., Journal], tmp_path: Path, away: Away
) -> None:
    project, journal = make_project(), begin()
    journal.record([make_line(project, "kept")])
    began = time.monotonic()
    assert not journal.close(0.2)
    assert time.monotonic() - began < 5
    with pytest.raises(JournalFull):
        journal.record([make_line(project)])
    away.is_away = False
    other = begin()
    other.record([make_line(project, "drained")])
    assert other.close(10)
    assert "drained" in logged()
    # The first one's folder is locked as long as its process lives.
    (left,) = tmp_path.iterdir()
    assert [decode(r.payload)[0].text for r in wal.read(next(left.glob("*.wal")))] == [
        "kept"
    ]
    journal._wal.folder.release()
    assert drain.adopt(tmp_path) == 1
    assert sorted(logged()) == ["drained", "kept"]


def test_an_answer_of_a_neighbour_is_known(
    begin: Callable[..., Journal], away: Away
) -> None:
    project = make_project()
    one, other = begin(), begin()
    made = [make_line(project, f"q{n}") for n in range(50)]
    for line_ in made:
        one.record([line_, make_line(project)])
    assert other.recall(made[20].request_id) is None
    assert other.recall_of_others(made[20].request_id) == made[20]
    assert one.recall_of_others(made[20].request_id) is None
    assert other.recall_of_others(str(uuid4())) is None


def test_a_web_process_has_one_journal_and_others_write_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> None:
    settings.HOME = tmp_path
    project = make_project()

    def ask(text: str) -> UUID:
        entry = Entry(uuid4(), replace(ANSWER, text=text), 1.0)
        journal.record(project, [entry], client=None, at=timezone.now())
        return entry.request_id

    ask("at once")
    assert logged() == ["at once"]
    monkeypatch.setenv("TUNELOOP_ROLE", "web")
    monkeypatch.setattr(journal.drain, "LINGER_S", 30)
    id_ = ask("soon")
    assert logged() == ["at once"]
    assert journal.depth().entries == 1
    assert journal.is_on_disk(id_)
    recalled = journal.recall(project, id_)
    assert recalled is not None
    assert recalled.text == "soon"
    with pytest.raises(RequestIdTaken):
        journal.recall(make_project(), id_)
    assert journal.flush(10)
    assert logged() == ["at once", "soon"]
    ask("at the end")
    assert journal.close()
    assert logged() == ["at once", "soon", "at the end"]
    assert list((tmp_path / "journal").iterdir()) == []
    assert journal.close()  # again: nothing to do
