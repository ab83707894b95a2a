"""The measures of all serving processes of this machine, as Prometheus reads them.

Each process adds up what it measures in its own memory and writes the sums to a file
below `HOME/run/measures` once a second; whichever process is asked for `/metrics` adds
the files up. So a scrape sees all processes, a request pays for no file, and a counter
never goes back when a process ends: its last sums are kept with those that ended.

Prometheus's own client would write each single value to a file that is mapped into
memory: 5 times the cost for each value, see `tests/benchmarks/bench_measures.py`.
"""

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import psutil
from django.conf import settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from registry.serving import keys, measures
from registry.serving.measures import FAMILIES, Family, Histogram, Key, Measured

_EVERY_S = 1.0
_PATIENCE_S = 1.0
_ENDED = "ended.json"
_logger = logging.getLogger(__name__)


def _folder() -> Path:
    return Path(settings.HOME) / "run" / "measures"


# --- One process's file -----------------------------------------------------------


class Writer:
    """Writes this process's measures to its file once a second, until it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0

    def start(self) -> None:
        """Starts the thread, once; a forked child starts its own. Cheap to call."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid == os.getpid():
                return
            measures.gauge("memory_bytes", lambda: psutil.Process().memory_info().rss)
            measures.gauge("served_processes", _served)
            with contextlib.suppress(OSError):  # a full disk, which `write` will say
                _forget_earlier_run()
            me = psutil.Process()
            self._head = {"pid": me.pid, "since": me.create_time()}
            self._file = _folder() / f"{me.pid}-{uuid4().hex[:8]}.json"
            self._ending = threading.Event()
            self._thread = threading.Thread(
                target=self._run, name="tuneloop-measures", daemon=True
            )
            self._thread.start()
            self._pid = os.getpid()

    def stop(self) -> None:
        """Writes a last time and ends the thread."""
        with self._lock:
            if self._pid == os.getpid():
                self._ending.set()
                self._thread.join()
                self._pid = 0

    def _run(self) -> None:
        while True:
            is_last = self._ending.wait(_EVERY_S)
            try:
                self.write()
            except OSError as error:
                # A full disk: the next second may be better, and serving goes on.
                _logger.warning("cannot write the measures: %s", error)
            except Exception:
                _logger.exception("cannot write the measures")
            if is_last:
                return

    def write(self) -> None:
        """Writes what was measured so far."""
        _write(self._file, {**self._head, **_as_json(measures.measures.tick())})


def _served() -> dict[Key, float]:
    """1 by project and version that this process answers with."""
    served: dict[Key, float] = {}
    for project_id in keys.memory.project_ids():
        if (target := keys.memory.target(project_id)) is not None:
            served[(target.project.slug, str(target.number or ""))] = 1.0
    return served


writer = Writer()
"""This process's own."""
start = writer.start


def _write(file: Path, document: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".new")
    aside.write_bytes(orjson.dumps(document))
    aside.replace(file)  # who reads sees the old sums or the new


def _as_json(measured: Measured) -> dict[str, Any]:
    return {
        "counts": list(measured.counts.items()),
        "histograms": [
            (key, h.counts, h.total) for key, h in measured.histograms.items()
        ],
        "gauges": list(measured.gauges.items()),
    }


def _from_json(document: dict[str, Any]) -> Measured:
    """What is declared today: another release's process may have written the file."""
    return Measured(
        {tuple(k): n for k, n in document["counts"] if _is_known(tuple(k))},
        {
            tuple(k): Histogram(FAMILIES[k[0]].bounds, counts, total)
            for k, counts, total in document["histograms"]
            if _is_known(tuple(k)) and len(counts) == len(FAMILIES[k[0]].bounds) + 1
        },
        {tuple(k): n for k, n in document["gauges"] if _is_known(tuple(k))},
    )


def _is_known(key: Key) -> bool:
    family = FAMILIES.get(key[0])
    return family is not None and len(family.labels) == len(key) - 1


# --- All processes ----------------------------------------------------------------


def gather() -> tuple[int, Measured]:
    """The processes that live, and the sum of what all have measured.

    Cost: a file of about 10 KB a process.
    """
    living = 0
    total, gone = Measured({}, {}, {}), []
    with _turn():
        ended = _from_json(_read(_folder() / _ENDED) or _as_json(total))
        for file, document in _documents():
            measured = _from_json(document)
            if _lives(document):
                living += 1
                _add(total, measured)
            else:
                # Its sums stay; what it held at the time does not.
                measured.gauges.clear()
                _add(ended, measured)
                gone.append(file)
        if gone:
            _write(_folder() / _ENDED, _as_json(ended))
            for file in gone:
                file.unlink(missing_ok=True)
    _add(total, ended)
    return living, total


def _add(total: Measured, other: Measured) -> None:
    for key, n in other.counts.items():
        total.counts[key] = total.counts.get(key, 0.0) + n
    for key, histogram in other.histograms.items():
        before = total.histograms.get(key)
        total.histograms[key] = before.plus(histogram) if before else histogram
    for key, value in other.gauges.items():
        if key in total.gauges:
            value = FAMILIES[key[0]].merge(float(total.gauges[key]), float(value))
        total.gauges[key] = value


def _forget_earlier_run() -> None:
    """Where no process lives, counting begins anew, as after any server's start."""
    with _turn():
        documents = list(_documents())
        if any(_lives(document) for _file, document in documents):
            return
        for file in [_folder() / _ENDED, *(file for file, _document in documents)]:
            file.unlink(missing_ok=True)


def _documents() -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in sorted(_folder().glob("*-*.json")):
        if (document := _read(file)) is not None:
            yield file, document


def _read(file: Path) -> dict[str, Any] | None:
    """None where the file has just gone, or is not one of ours."""
    with contextlib.suppress(OSError, orjson.JSONDecodeError):
        document = orjson.loads(file.read_bytes())
        if isinstance(document, dict):
            return document
    return None


def _lives(document: dict[str, Any]) -> bool:
    # The same number at the same start: not another process that got the number later.
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(document["pid"])
        return bool(abs(process.create_time() - document["since"]) < 1.0)
    return False


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """One process after the other: sums of an ended one are counted once.

    A process that is frozen with the lock in its hands is waited for no longer than a
    second: then a sum may be off, and nobody hangs.
    """
    _folder().mkdir(parents=True, exist_ok=True)
    lock = os.open(_folder() / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
        yield
    finally:
        os.close(lock)


# --- Prometheus -------------------------------------------------------------------


class _Gathered(Collector):
    """Hands gathered measures to Prometheus's client, which writes them out."""

    def __init__(self, processes: int, measured: Measured) -> None:
        self._processes = processes
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        alive = GaugeMetricFamily("tuneloop_processes", "Serving processes that live.")
        alive.add_metric([], self._processes)
        yield alive
        for family in FAMILIES.values():
            yield self._metric(family)

    def _metric(self, family: Family) -> Metric:
        name, labels = f"tuneloop_{family.name}", family.labels
        if family.bounds:
            histogram = HistogramMetricFamily(name, family.about, labels=labels)
            for key, h in self._measured.histograms.items():
                if key[0] == family.name:
                    histogram.add_metric(key[1:], _buckets(h), h.total)
            return histogram
        kind = GaugeMetricFamily if family.is_gauge else CounterMetricFamily
        values = self._measured.gauges if family.is_gauge else self._measured.counts
        metric = kind(name, family.about, labels=labels)
        for key, n in values.items():
            if key[0] == family.name:
                metric.add_metric(key[1:], n)
        return metric


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Of durations the buckets of 1, 2 and 5; more would only fill disks."""
    shown, sum_ = [], 0
    is_fine = len(histogram.bounds) > 20
    for at, bound in enumerate(histogram.bounds):
        sum_ += histogram.counts[at]
        if not is_fine or at % 10 in (0, 3, 7):
            shown.append((f"{bound:.6g}", float(sum_)))
    return [*shown, ("+Inf", float(histogram.n))]


def exposition() -> bytes:
    """All measures in Prometheus's text format.

    Cost: 2 ms a scrape.
    """
    registry = CollectorRegistry()
    registry.register(_Gathered(*gather()))
    return generate_latest(registry)
