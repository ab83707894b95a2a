"""The keeper of one embedded server: starts it, restarts it, stops it when unused.

Three lock files tell everything, and none of them can go stale:

    <service>.users   shared by every process that needs the server; the keeper stops
                      the server once it gets this lock for itself
    <service>.keeper  held by the one keeper
    <service>.data    inherited by the server and all its children: free exactly when
                      nothing works on the data folder any more

Run as `python -m tuneloop.embedded.keeper SERVICE HOME`.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Protocol

from .locks import try_lock, wait_lock
from .parent import die_with_parent
from .paths import RunAs, run_file
from .postgres import Postgres
from .valkey import Valkey

_POLL_S = 0.1
_OLD_SERVER_ENDS_S = 30.0
_READY_S = 170.0
"""Recovery after a power cut takes time; nobody waits longer than this."""
_STOP_S = 20.0


class Server(Protocol):
    """What the keeper needs to know of a server."""

    title: str
    url: str
    data: Path
    stop_signal: signal.Signals

    @property
    def run_as(self) -> RunAs: ...
    def prepare(self) -> None: ...
    def command(self) -> list[str]: ...
    def is_ready(self) -> bool: ...
    def clean_up(self) -> None: ...


def server_for(service: str, home: Path) -> Server:
    """The server that a service's name stands for."""
    servers: dict[str, type[Postgres] | type[Valkey]]
    servers = {"postgres": Postgres, "valkey": Valkey}
    return servers[service](home)


def keep(service: str, home: Path) -> None:
    """Runs the server until nobody uses it or this process is told to end.

    Raises:
        OSError: The server cannot be started; the log says more.
        subprocess.CalledProcessError: Its data folder cannot be made.
    """
    server = server_for(service, home)
    # Somebody who only looks whether a keeper lives holds the lock for a moment.
    keeper_lock = wait_lock(run_file(home, f"{service}.keeper"), timeout_s=2)
    if keeper_lock is None:
        return
    stop = False

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGTERM, on_terminate)
    # Ctrl-C belongs to the command; the server must outlive the command's last query.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = _start(server, service, home)
    address = run_file(home, f"{service}.url")
    try:
        _wait_until_ready(server, process)
        _write(address, server.url)
        users_lock = None
        while not stop and users_lock is None:
            time.sleep(_POLL_S)
            if process.poll() is not None:
                _say(f"{server.title} ended with status {process.returncode}")
                process = _start(server, service, home)
                _wait_until_ready(server, process)
            users_lock = try_lock(run_file(home, f"{service}.users"))
    finally:
        # From here to the end of this process the users' lock is ours: a command
        # that starts now waits for it, and then starts a keeper of its own.
        address.unlink(missing_ok=True)
        _stop(server, process)
        server.clean_up()


def _start(server: Server, service: str, home: Path) -> "subprocess.Popen[bytes]":
    # A server whose keeper was killed may still be writing its last page.
    lock = wait_lock(run_file(home, f"{service}.data"), timeout_s=_OLD_SERVER_ENDS_S)
    if lock is None:
        raise OSError(f"another {server.title} still works on {server.data}")
    server.prepare()
    me = os.getpid()
    process = subprocess.Popen(
        server.command(),
        stdin=subprocess.DEVNULL,
        cwd="/",
        pass_fds=(lock,),
        preexec_fn=lambda: die_with_parent(server.stop_signal, parent_pid=me),
        **server.run_as,
    )
    os.close(lock)
    return process


def _wait_until_ready(server: Server, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_S
    while not server.is_ready():
        if process.poll() is not None:
            raise OSError(f"{server.title} ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise OSError(f"{server.title} was not ready after {_READY_S:.0f} s")
        time.sleep(0.03)


def _stop(server: Server, process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(server.stop_signal)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        _say(f"{server.title} did not stop within {_STOP_S:.0f} s")
        process.kill()
        process.wait()


def _write(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".new")
    aside.write_text(text)
    aside.rename(path)


def _say(text: str) -> None:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{now} keeper[{os.getpid()}]: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Keeps the service that the command line names; exit status 1 where it can't."""
    service, home = sys.argv[1], Path(sys.argv[2])
    try:
        keep(service, home)
    except (OSError, subprocess.CalledProcessError) as error:
        _say(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
