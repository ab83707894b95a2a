"""How much is taken on: texts a minute from a key, texts at once in a process."""

import fcntl
import logging
import math
import mmap
import os
import socket
import struct
import threading
import time
from pathlib import Path
from types import TracebackType

from django.conf import settings

from labeling.models import ApiKey
from registry.serving import measures

_MINUTE_S = 60.0
_SLOTS = 8192
_TIME = struct.Struct("<d")
_LONGEST_DEBT = 256
"""Texts of the largest call."""

_logger = logging.getLogger(__name__)


class RateLimited(Exception):
    """A key has asked as much as it may for now."""

    def __init__(self, limit: int, retry_after_s: int) -> None:
        super().__init__(f"{limit} texts a minute")
        self.limit = limit
        """Texts a minute."""
        self.retry_after_s = retry_after_s


class Busy(Exception):
    """The process works on as much as it takes at once."""

    retry_after_s = 1


class Rates:
    """A bucket a key, shared by the processes of a machine through mapped memory.

    A full bucket holds a minute's texts and fills up again as time goes by: who never
    paused may ask `limit` texts a minute, who did up to as many at once. A call that
    is larger than the bucket waits for a full one and then leaves a debt.

    What is stored of a bucket is one number: when it will be full again, on the clock
    that all processes of a machine share.

    Source: the generic cell rate algorithm, ITU-T I.371, with virtual scheduling.
    """

    def __init__(self, path: Path | None) -> None:
        """Maps the file when it is needed first; None keeps the buckets to oneself."""
        self.machines = 1
        """Machines that serve at the moment; each gives a key its share."""
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._times: mmap.mmap | None = None

    def take(self, key_id: int, limit: int, n: int) -> None:
        """Takes `n` texts from a key's bucket.

        Args:
            key_id: Two keys share a bucket if their ids differ by a multiple of 8192.
            limit: Texts a minute on all machines, above 0.
            n: At least 1.

        Raises:
            RateLimited: There are not as many in it; nothing was taken.

        Cost: 5 µs; two system calls.
        """
        share = max(1.0, limit / self.machines)
        each_s = _MINUTE_S / share
        at = key_id % _SLOTS * _TIME.size
        with self._lock:
            times = self._times or self._map()
            if self._file is not None:
                fcntl.lockf(self._file, fcntl.LOCK_EX, _TIME.size, at)
            try:
                now = time.monotonic()
                (full_at,) = _TIME.unpack_from(times, at)
                if full_at > now + _MINUTE_S + _LONGEST_DEBT * each_s:
                    full_at = now  # of before this machine was started
                full_at = max(full_at, now)
                missing_s = full_at - now + min(n, share) * each_s - _MINUTE_S
                if missing_s > 1e-6:
                    raise RateLimited(limit, max(1, math.ceil(missing_s)))
                _TIME.pack_into(times, at, full_at + n * each_s)
            finally:
                if self._file is not None:
                    fcntl.lockf(self._file, fcntl.LOCK_UN, _TIME.size, at)

    def _map(self) -> mmap.mmap:
        size = _SLOTS * _TIME.size
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                # A hole in a file on a full disk would end the process at a write.
                os.posix_fallocate(file, 0, size)
                self._times, self._file = mmap.mmap(file, size), file
                return self._times
            except OSError as error:
                _logger.warning("rate limits are counted by process: %s", error)
        self._times = mmap.mmap(-1, size)
        return self._times


class InFlight:
    """Texts that are worked on at the same time; beyond the bound nobody queues."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._lock = threading.Lock()
        self._n = 0

    @property
    def n(self) -> int:
        """Texts that are being answered."""
        return self._n

    def enter(self, n: int) -> None:
        """Raises Busy; a call that is larger than the bound may be there alone."""
        with self._lock:
            if self._n and self._n + n > self.bound:
                raise Busy
            self._n += n

    def leave(self, n: int) -> None:
        with self._lock:
            self._n -= n


class Admitted:
    """A `with` block around the answering of a call's texts."""

    __slots__ = ("_key", "_n")

    def __init__(self, key: ApiKey, n: int) -> None:
        """Lets a call in.

        Args:
            key: Who asks; its own limit goes before the server's.
            n: Texts of the call.
        """
        self._key = key
        self._n = n

    def __enter__(self) -> None:
        """Raises RateLimited or Busy."""
        try:
            in_flight.enter(self._n)
        except Busy:
            measures.count("shed", reason="busy")
            raise
        limit = self._key.rate_limit
        limit = settings.RATE_LIMIT if limit is None else limit
        if not limit:
            return
        try:
            rates.take(self._key.pk, limit, self._n)
        except BaseException as error:
            in_flight.leave(self._n)
            if isinstance(error, RateLimited):
                measures.count("shed", reason="rate_limited")
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        in_flight.leave(self._n)


admitted = Admitted

# The clock of the file is this machine's; a shared folder may be several machines'.
rates = Rates(settings.HOME / "run" / f"limits-{socket.gethostname()}")
"""This machine's."""
in_flight = InFlight(settings.SERVING_IN_FLIGHT)
"""This process's."""
measures.gauge("in_flight_texts", lambda: in_flight.n)
