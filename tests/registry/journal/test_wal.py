"""The write-ahead log: whole, in order, shared writes, bounded, and never torn."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from registry.serving.journal import folders, wal
from registry.serving.journal.folders import Folder
from registry.serving.journal.wal import Full, Wal

LIMIT = 1 << 20


def put(log: Wal, payload: bytes) -> wal.Ticket:
    ticket = log.append(payload)
    log.commit(ticket)
    return ticket


def fill(log: Wal) -> list[wal.Ticket]:
    """Puts records until there is no room for another."""
    tickets: list[wal.Ticket] = []
    with contextlib.suppress(Full):
        while len(tickets) < 1000:
            tickets.append(put(log, b"x" * 400))
    return tickets


def payloads(log: Wal, start: int = 0, most: int = 10_000) -> list[bytes]:
    records = log.pending(start, most=most, most_bytes=LIMIT)
    return [record.payload for record in records]


def test_what_is_committed_is_read_in_its_order(tmp_path: Path) -> None:
    log = Wal(tmp_path, limit_bytes=LIMIT)
    tickets = [put(log, f"n{n}".encode()) for n in range(20)]
    assert payloads(log) == [f"n{n}".encode() for n in range(20)]
    assert payloads(log, tickets[4].end, most=3) == [b"n5", b"n6", b"n7"]
    assert log.payload(tickets[7]) == b"n7"
    assert log.durable == tickets[-1].end


def test_what_is_not_committed_is_not_read(tmp_path: Path) -> None:
    log = Wal(tmp_path, limit_bytes=LIMIT)
    put(log, b"there")
    log.append(b"not yet")
    assert payloads(log) == [b"there"]


def test_threads_share_writes_and_none_returns_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Wal(tmp_path, limit_bytes=LIMIT)
    writes = []
    write = os.write

    def slow(fd: int, data: bytes) -> int:
        writes.append(len(data))
        threading.Event().wait(0.002)  # a disk that takes its time
        return write(fd, data)

    monkeypatch.setattr(os, "write", slow)
    start, early = threading.Barrier(16), []

    def work(n: int) -> None:
        start.wait()
        for i in range(25):
            ticket = put(log, f"{n}-{i}".encode())
            if log.payload(ticket) != f"{n}-{i}".encode():
                early.append(ticket)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not early
    found = [payload.decode() for payload in payloads(log)]
    assert len(found) == len(set(found)) == 400
    for n in range(16):  # each thread's own order is kept
        own = [payload for payload in found if payload.startswith(f"{n}-")]
        assert own == [f"{n}-{i}" for i in range(25)]
    assert len(writes) < 200  # of 400 records


def test_a_full_file_is_followed_by_another_and_removed_when_drained(
    tmp_path: Path,
) -> None:
    log = Wal(tmp_path, limit_bytes=8 * 1000)  # files of 1000 bytes
    tickets = [put(log, b"x" * 400) for _ in range(9)]
    assert len(log.folder.segments()) == 3
    assert len(payloads(log)) == 9
    log.drop(tickets[2].end)  # the first file's last
    assert len(log.folder.segments()) == 2
    assert payloads(log, tickets[2].end) == [b"x" * 400] * 6
    assert log.payload(tickets[0]) is None
    log.drop(tickets[-1].end)
    assert len(log.folder.segments()) == 1  # the one that is being written
    put(log, b"after")
    assert payloads(log, tickets[-1].end) == [b"after"]


def test_a_full_journal_says_so_until_there_is_room(tmp_path: Path) -> None:
    log = Wal(tmp_path, limit_bytes=8 * 1000)
    tickets = fill(log)
    with pytest.raises(Full):
        put(log, b"x" * 400)
    assert 7000 < folders.size(tmp_path) <= 8000
    log.drop(tickets[9].end)
    put(log, b"x" * 400)


def test_the_bound_is_on_all_processes_together(tmp_path: Path) -> None:
    other = Wal(tmp_path, limit_bytes=8 * 1000)
    for _ in range(15):
        put(other, b"x" * 400)
    assert len(fill(Wal(tmp_path, limit_bytes=8 * 1000))) == 4
    assert folders.size(tmp_path) <= 8000


@pytest.mark.parametrize("cut", [1, 5, 9, 11])
def test_a_torn_end_is_left_out(tmp_path: Path, cut: int) -> None:
    """A kill in the middle of a write leaves less than was to be written."""
    log = Wal(tmp_path, limit_bytes=LIMIT)
    put(log, b"whole")
    put(log, b"torn")
    (path,) = log.folder.segments()
    os.truncate(path, path.stat().st_size - cut)
    assert [record.payload for record in wal.read(path)] == [b"whole"]


def test_damage_is_told_from_a_torn_end(tmp_path: Path) -> None:
    log = Wal(tmp_path, limit_bytes=LIMIT)
    put(log, b"whole")
    put(log, b"damaged")
    (path,) = log.folder.segments()
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    found = []
    with pytest.raises(wal.Damaged):
        found += [record.payload for record in wal.read(path)]
    assert payloads(log) == [b"whole"]
    (kept,) = (tmp_path / folders.REJECTED).iterdir()
    assert kept.read_bytes() == data


@pytest.mark.parametrize("taken", [0, 6, 1000])
def test_a_failed_write_is_said_and_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """Also where the bytes are there and only their way to the disk failed."""
    log = Wal(tmp_path, limit_bytes=LIMIT)
    first = put(log, b"first")
    write = os.write

    def full(fd: int, data: memoryview) -> int:
        write(fd, data[:taken])
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "write", full)
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            put(log, b"lost")
    monkeypatch.undo()
    put(log, b"second")
    assert payloads(log) == [b"first", b"second"]
    assert payloads(log, first.end) == [b"second"]
    on_disk = [r.payload for p in log.folder.segments() for r in wal.read(p)]
    assert on_disk == [b"first", b"second"]


def test_a_sealed_log_takes_nothing_more(tmp_path: Path) -> None:
    log = Wal(tmp_path, limit_bytes=LIMIT)
    ticket = log.append(b"under way")
    log.seal()
    assert log.payload(ticket) == b"under way"
    with pytest.raises(Full):
        log.append(b"late")
    log.remove()
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys, pathlib, django
django.setup()
from registry.serving.journal.wal import Wal
log = Wal(pathlib.Path(sys.argv[1]), limit_bytes=1 << 20)
n = 0
while True:
    log.commit(log.append(b"%d" % n))
    print(n, flush=True)
    n += 1
"""


def test_a_killed_process_leaves_an_orphan_with_all_it_acknowledged(
    tmp_path: Path,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(200)]
    assert list(folders.orphans(tmp_path)) == []  # it lives
    process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait()
    (folder,) = folders.orphans(tmp_path)
    assert list(folders.orphans(tmp_path)) == []  # one takes it
    (path,) = folder.segments()
    found = [int(record.payload) for record in wal.read(path)]
    assert found == list(range(len(found)))
    assert len(found) > int(said[-1])
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_not_claimed(tmp_path: Path) -> None:
    folder = Folder.make(tmp_path)
    assert Folder.claim(folder.path) is None
    folder.remove()
    assert Folder.claim(folder.path) is None
