"""The embedded servers: shared by processes, and gone with the last of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from tests.homes import ROOT, temporary_home
from tuneloop.embedded.keeper import server_for
from tuneloop.embedded.locks import is_locked, try_lock, wait_lock
from tuneloop.embedded.paths import make_private_folder, run_file, socket_folder
from tuneloop.embedded.share import ServiceError, Share

USER = """
import sys
from pathlib import Path
from tuneloop.embedded.share import Share
share = Share(sys.argv[1], Path(sys.argv[2]))
print(share.acquire(), flush=True)
sys.stdin.readline()
share.release()
"""


def start_user(service: str, home: Path, **kwargs: object) -> "subprocess.Popen[str]":
    """A process that holds the service until it gets a line, or is killed."""
    return subprocess.Popen(
        [sys.executable, "-c", USER, service, str(home)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **kwargs,  # type: ignore[call-overload]
    )


def end(user: "subprocess.Popen[str]") -> int:
    user.communicate("\n", timeout=30)
    return user.returncode


def eventually(holds: Callable[[], bool], *, within_s: float = 30) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_stopped(service: str, home: Path) -> bool:
    """No process works on the data: the server and all its children hold this lock."""
    return not is_locked(run_file(home, f"{service}.data"))


def keeper_pid(service: str, home: Path) -> int:
    wanted = ["-m", "tuneloop.embedded.keeper", service, str(home)]
    found = [p.pid for p in psutil.process_iter() if command(p)[1:] == wanted]
    assert len(found) == 1, found
    return found[0]


def server_pid(service: str, home: Path) -> int:
    return psutil.Process(keeper_pid(service, home)).children()[0].pid


def command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """One data folder for the module: making a database takes a while."""
    with temporary_home() as folder:
        yield folder


@pytest.fixture
def postgres(home: Path) -> Iterator[Share]:
    share = Share("postgres", home)
    share.acquire()
    yield share
    share.release()


@pytest.fixture
def valkey(home: Path) -> Iterator[Share]:
    share = Share("valkey", home)
    share.acquire()
    yield share
    share.release()


def test_both_servers_answer_and_stop_with_their_only_user(home: Path) -> None:
    postgres, valkey = Share("postgres", home), Share("valkey", home)
    with psycopg.connect(postgres.acquire()) as connection:
        row = connection.execute(
            "SELECT current_database(), lower('ÄÖ'), count(*) FROM"
            " pg_available_extensions WHERE name = 'vector'"
        ).fetchone()
    assert row == ("tuneloop", "äö", 1)
    assert redis.Redis.from_url(valkey.acquire()).ping()
    assert not is_stopped("postgres", home)
    assert not is_stopped("valkey", home)

    postgres.release()
    valkey.release()

    assert is_stopped("postgres", home)
    assert is_stopped("valkey", home)


def test_no_server_listens_on_the_network(postgres: Share, valkey: Share) -> None:
    for share in (postgres, valkey):
        server = psutil.Process(server_pid(share.service, share.home))
        assert server.net_connections(kind="inet") == []


@pytest.mark.parametrize("service", ["postgres", "valkey"])
def test_commands_that_start_at_once_share_one_server(home: Path, service: str) -> None:
    users = [start_user(service, home) for _ in range(4)]
    addresses = {user.stdout.readline() for user in users if user.stdout}
    assert len(addresses) == 1
    assert addresses != {""}
    pid = server_pid(service, home)

    assert [end(user) for user in users[:3]] == [0, 0, 0]
    assert server_pid(service, home) == pid, "the last user lost its server"
    assert end(users[3]) == 0
    assert is_stopped(service, home)


@pytest.mark.parametrize("service", ["postgres", "valkey"])
def test_killed_users_leave_nothing_running(home: Path, service: str) -> None:
    users = [start_user(service, home) for _ in range(2)]
    for user in users:
        assert user.stdout is not None
        assert user.stdout.readline()
        user.kill()
        user.wait()
    assert eventually(lambda: is_stopped(service, home))
    assert eventually(lambda: not is_locked(run_file(home, f"{service}.keeper")))


def test_a_server_outlives_the_command_that_started_it(home: Path) -> None:
    first = start_user("valkey", home)
    assert first.stdout is not None
    first.stdout.readline()
    second = Share("valkey", home)
    client = redis.Redis.from_url(second.acquire())
    end(first)
    assert client.ping()
    second.release()
    assert is_stopped("valkey", home)


def test_a_killed_postgres_comes_back_with_its_data(postgres: Share) -> None:
    address = run_file(postgres.home, "postgres.url").read_text()
    with psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS n")
    os.kill(server_pid("postgres", postgres.home), signal.SIGKILL)

    def kept() -> bool:
        try:
            with psycopg.connect(address) as connection:
                row = connection.execute("SELECT n FROM kept").fetchone()
                return row == (42,)
        except psycopg.OperationalError:
            return False

    assert eventually(kept)


def test_a_killed_valkey_comes_back_with_its_queue(valkey: Share) -> None:
    address = run_file(valkey.home, "valkey.url").read_text()
    redis.Redis.from_url(address).rpush("queue", "job")
    os.kill(server_pid("valkey", valkey.home), signal.SIGKILL)

    def kept() -> bool:
        try:
            return redis.Redis.from_url(address).lrange("queue", 0, -1) == [b"job"]
        except redis.ConnectionError:
            return False

    assert eventually(kept)


@pytest.mark.parametrize("service", ["postgres", "valkey"])
def test_a_killed_keeper_takes_its_server_along(home: Path, service: str) -> None:
    share = Share(service, home)
    address = share.acquire()
    os.kill(keeper_pid(service, home), signal.SIGKILL)
    assert eventually(lambda: is_stopped(service, home))

    assert share.revive() is True
    assert share.revive() is False
    assert run_file(home, f"{service}.url").read_text() == address
    share.release()
    assert is_stopped(service, home)


def test_starts_after_everything_was_killed_at_once(home: Path) -> None:
    share = Share("postgres", home)
    share.acquire()
    pids = [keeper_pid("postgres", home), server_pid("postgres", home)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: is_stopped("postgres", home))
    # What a killed server leaves, with a number that is another process's by now.
    pid_file = home / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    after = Share("postgres", home)
    with psycopg.connect(after.acquire()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    after.release()
    share.release()
    assert is_stopped("postgres", home)


def test_a_start_waits_until_the_old_server_has_finished(home: Path) -> None:
    # An orphan of a killed keeper, still writing: it holds the lock of its data.
    orphan = try_lock(run_file(home, "valkey.data"))
    assert orphan is not None
    user = start_user("valkey", home)
    time.sleep(1)
    assert not run_file(home, "valkey.url").exists()
    os.close(orphan)
    assert user.stdout is not None
    assert user.stdout.readline().startswith("unix://")
    end(user)


@pytest.mark.parametrize("service", ["postgres", "valkey"])
def test_a_data_folder_may_have_any_name_and_length(service: str) -> None:
    with temporary_home() as folder:
        home = folder / "a b%20+'ü 数据" / ("long" * 30)
        home.mkdir(parents=True)
        share = Share(service, home)
        address = share.acquire()
        sockets = server_for(service, home).sockets
        try:
            if service == "postgres":
                psycopg.connect(address).close()
            else:
                assert redis.Redis.from_url(address).ping()
            assert sockets.stat().st_mode & 0o077 == 0
        finally:
            share.release()
        assert not sockets.exists()


def test_django_reads_the_addresses(home: Path) -> None:
    import environ

    config = environ.Env.db_url_config(server_for("postgres", home).url)
    assert config["NAME"] == "tuneloop"
    assert config["OPTIONS"]["host"] == str(home / "postgres")


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "valkey").write_text("a file where the data folder should be")
    share = Share("valkey", tmp_path)
    with pytest.raises(ServiceError, match=r"valkey did not start: .*exists.*log"):
        share.acquire()
    share.release()
    assert not is_locked(run_file(tmp_path, "valkey.keeper"))


def test_a_folder_in_tmp_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    assert socket_folder(tmp_path, "valkey", tmp_path, "s") == tmp_path
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        make_private_folder(open_to_all, owner=os.getuid())


def test_locks_end_with_their_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = try_lock(path)
    assert first is not None
    assert try_lock(path) is None
    assert try_lock(path, shared=True) is None
    assert wait_lock(path, timeout_s=0.1) is None
    os.close(first)
    shared = [try_lock(path, shared=True) for _ in range(2)]
    assert None not in shared
    assert try_lock(path) is None
    assert not is_locked(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_has_servers_too() -> None:
    import pwd

    nobody = pwd.getpwnam("nobody")
    with temporary_home() as home:
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        kwargs = {
            "user": nobody.pw_uid,
            "group": nobody.pw_gid,
            "extra_groups": [],
            "cwd": home,
        }
        user = start_user("postgres", home, **kwargs)
        assert user.stdout is not None
        assert user.stdout.readline().startswith("postgresql://")
        assert psutil.Process(server_pid("postgres", home)).username() == "nobody"
        assert end(user) == 0
        assert is_stopped("postgres", home)
