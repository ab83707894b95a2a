"""One process's share in one embedded service."""

import os
import subprocess
import sys
import time
from pathlib import Path

from .locks import is_locked, try_lock, wait_lock
from .paths import log_file, run_file

_START_S = 180.0
_STOP_S = 30.0
_POLL_S = 0.02
_LARGEST_LOG = 10 * 1024 * 1024


class ServiceError(Exception):
    """An embedded service did not start; the message says why and where to look."""


class Share:
    """A lock that says: this process needs the service, keep it running."""

    def __init__(self, service: str, home: Path) -> None:
        self.service = service
        self.home = home
        self._lock: int | None = None
        self._owner_pid = os.getpid()
        self._keeper: subprocess.Popen[bytes] | None = None

    def acquire(self) -> str:
        """Joins the running server, or starts it, and returns its address.

        Raises:
            ServiceError: It did not start.
        """
        for folder in ("run", "logs"):
            (self.home / folder).mkdir(mode=0o700, exist_ok=True)
        # Taken first: from here on a keeper does not stop. Waits for one that is
        # just stopping.
        self._lock = wait_lock(self._file("users"), shared=True, timeout_s=_STOP_S)
        if self._lock is None:
            raise ServiceError(
                f"{self.service} is stopping and does not come to an end; see "
                f"{log_file(self.home, self.service)}"
            )
        self.revive()
        return self._file("url").read_text()

    def revive(self) -> bool:
        """Starts the keeper if none runs, and waits until the server is ready.

        Returns:
            Whether a keeper was started here.

        Raises:
            ServiceError: The server did not start.
        """
        if self._keeper is not None:
            self._keeper.poll()  # reaps it, if it was ours and has ended
        if is_locked(self._file("keeper")) and self._file("url").exists():
            return False
        starting = wait_lock(self._file("start"), timeout_s=_START_S)
        try:
            return starting is not None and self._start()
        finally:
            if starting is not None:
                os.close(starting)

    def release(self) -> None:
        """Gives the share back; waits for the server's end if it was the last one."""
        if self._lock is None or os.getpid() != self._owner_pid:
            return
        os.close(self._lock)
        self._lock = None
        deadline = time.monotonic() + _STOP_S
        while not self._is_settled() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        if self._keeper is not None:
            self._keeper.poll()  # reaps it, if it was ours and has ended

    def _start(self) -> bool:
        """Under the start lock: starts a keeper, or waits for one that is starting."""
        started = False
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if is_locked(self._file("keeper")):
                if self._file("url").exists():
                    return started
            elif not started:
                self._file("url").unlink(missing_ok=True)  # a killed keeper's
                self._keeper = self._spawn()
                started = True
            elif self._keeper is not None and self._keeper.poll() is not None:
                break
            time.sleep(_POLL_S)
        log = log_file(self.home, self.service)
        raise ServiceError(f"{self.service} did not start: {_last_line(log)} ({log})")

    def _spawn(self) -> "subprocess.Popen[bytes]":
        log = log_file(self.home, self.service)
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            log.replace(log.with_suffix(".log.1"))
        source_root = str(Path(__file__).resolve().parents[2])
        paths = [source_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with log.open("ab") as output:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "tuneloop.embedded.keeper"),
                    *(self.service, str(self.home)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                # Out of reach of the terminal's Ctrl-C, and outliving this process
                # for the sake of others.
                start_new_session=True,
            )

    def _is_settled(self) -> bool:
        """Whether others use the server, or its keeper has gone."""
        alone = try_lock(self._file("users"))
        if alone is not None:
            os.close(alone)  # the keeper will take it at its next look
            if self._keeper is not None:
                self._keeper.poll()
            return not is_locked(self._file("keeper"))
        shared = try_lock(self._file("users"), shared=True)
        if shared is not None:
            os.close(shared)
            return True
        return False

    def _file(self, kind: str) -> Path:
        return run_file(self.home, f"{self.service}.{kind}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "no reason given"
