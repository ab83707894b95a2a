"""The programs that `up` runs beside each other, under supervisord."""

import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
from django.utils.translation import gettext as _

from tuneloop.embedded.parent import die_with_parent
from tuneloop.web import source_path

_PROGRAM_STOPS_S = 4
"""After this long supervisord kills a program that was told to stop."""
_ALL_STOP_S = 6.0
_MARK = "TUNELOOP_UP"
"""Set for everything that `up` starts: what carries it must not outlive `up`."""

_EXIT = re.compile(r"exited: (\S+) \((.*); not expected\)")


@dataclass(frozen=True)
class Program:
    """One program that is started again whenever it ends."""

    name: str
    command: list[str]
    role: str
    """TUNELOOP_ROLE of its processes: web, worker or scheduler."""


class Supervisor:
    """A supervisord of our own: no network port, no control socket, one data folder."""

    def __init__(self, home: Path, programs: list[Program]) -> None:
        self._home = home
        self._programs = programs
        self._mark = f"{os.getpid()}.{secrets.token_hex(4)}"
        self._process: subprocess.Popen[bytes] | None = None
        self._read_up_to = 0

    def start(self) -> None:
        """Starts all programs."""
        config = self._home / "run" / "supervisord.conf"
        config.write_text(self._config())
        own_log = self._log("supervisord")
        self._read_up_to = own_log.stat().st_size if own_log.exists() else 0
        me = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(config)],
            env={
                **os.environ,
                _MARK: self._mark,
                "PYTHONUNBUFFERED": "1",
                "PYTHONPATH": source_path(),
            },
            stdin=subprocess.DEVNULL,
            # It writes its log file too. A pipe to us would break when we are killed,
            # and take it down before it has stopped its programs.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C reaches `up` alone, which then stops the rest in order.
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent_pid=me),
        )

    def is_running(self) -> bool:
        """Whether supervisord itself lives."""
        return self._process is not None and self._process.poll() is None

    def news(self) -> list[str]:
        """One line for each program that ended unexpectedly since the last call."""
        own_log = self._log("supervisord")
        if not own_log.exists():
            return []
        if own_log.stat().st_size < self._read_up_to:
            self._read_up_to = 0  # a new file: the old one had its full size
        with own_log.open(errors="replace") as file:
            file.seek(self._read_up_to)
            lines = file.readlines()
            self._read_up_to = file.tell()
        found = [match for line in lines if (match := _EXIT.search(line))]
        return [
            _("%(program)s ended (%(how)s) and is started again; see %(log)s")
            % {"program": match[1], "how": match[2], "log": self._log(match[1])}
            for match in found
        ]

    def stop(self) -> None:
        """Stops all programs, kills what does not stop, and leaves nothing behind."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_ALL_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        # A killed supervisord, a job that left its process group: all carry the mark.
        left = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=1)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get(_MARK) == self._mark)
        except (psutil.Error, OSError):
            return False

    def _log(self, program: str) -> Path:
        return self._home / "logs" / f"{program}.log"

    def _config(self) -> str:
        names = ",".join(program.name for program in self._programs)
        user = psutil.Process().username()
        sections = [
            "[supervisord]",
            f"logfile={_plain(self._log('supervisord'))}",
            "logfile_maxbytes=2MB",
            "logfile_backups=1",
            f"pidfile={_plain(self._home / 'run' / 'supervisord.pid')}",
            f"childlogdir={_plain(self._home / 'logs')}",
            # Only said because it warns of root otherwise.
            *([f"user={user}"] if os.geteuid() == 0 else []),
            # One group: its programs are stopped at the same time.
            f"[group:up]\nprograms={names}",
        ]
        for program in self._programs:
            tied = [sys.executable, "-m", "tuneloop.embedded.parent", *program.command]
            sections += [
                f"[program:{program.name}]",
                f"command={_plain(shlex.join(tied))}",
                f"environment=TUNELOOP_ROLE={program.role}",
                "autorestart=true",
                "startsecs=1",
                "startretries=1000000",
                f"stopwaitsecs={_PROGRAM_STOPS_S}",
                "stopasgroup=true",
                "killasgroup=true",
                "redirect_stderr=true",
                f"stdout_logfile={_plain(self._log(program.name))}",
                "stdout_logfile_maxbytes=10MB",
                "stdout_logfile_backups=3",
            ]
        return "\n".join(sections) + "\n"


def _plain(value: object) -> str:
    """A value that supervisord must not expand."""
    return str(value).replace("%", "%%")
