"""What this process measures of its own work; cheap enough for every request.

    with measures.stage("model"):
        logits = run(ids)
    measures.observe("batch_texts", len(texts))
    measures.count("answers", project="factory", version="3", method="model")
    measures.gauge("queue_texts", lambda: len(waiting))

Everything that may be measured is declared in `FAMILIES`; another name is a mistake and
raises. About 1 µs a call: a lock, a dictionary, a bisection; no file and no thread.
`registry.metrics` hands all processes' measures to Prometheus, `snapshot` gives the
last minute's to the Serving page.
"""

import logging
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import TracebackType
from typing import Any

_MINUTE_S = 60.0
_logger = logging.getLogger(__name__)
_STEPS = (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)
SECONDS = tuple(step * 10.0**power for power in range(-5, 2) for step in _STEPS)
"""Upper bounds of the buckets of durations: 10 µs to 80 s, ten a decade, so that a
percentile read from them is off by at most an eighth."""
TEXTS = (1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 128.0, 256.0)

Key = tuple[str, ...]
"""A family's name, then the values of its labels in their order."""


@dataclass(frozen=True, slots=True)
class Family:
    """Something that is measured."""

    name: str
    about: str
    """One English sentence, for Prometheus."""
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, but for the last, which has none."""
    is_gauge: bool = False
    merge: Callable[[float, float], float] = float.__add__
    """How a gauge's values of two processes become one."""


STAGES = (
    "request",  # the whole call, as the web process sees it
    "gold",  # looking for a gold label of exactly this text
    "rules",
    "tokenise",
    "queue",  # waiting for the batch before
    "model",  # one batch
    "fuse",
    "llm",  # asking the language model
    "journal",  # until the answer is durable
    "drain",  # one batch of answers from the local journal into the database
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "stage_seconds",
            "Seconds that a classification spends in each stage.",
            ("stage",),
            SECONDS,
        ),
        Family("batch_texts", "Texts that ran through the model at once.", (), TEXTS),
        Family(
            "swap_seconds",
            "Seconds to load and warm a version beside the old one.",
            (),
            SECONDS,
        ),
        Family("requests", "Classify calls by HTTP status.", ("status",)),
        Family(
            "answers",
            "Answered texts by project, version and method.",
            ("project", "version", "method"),
        ),
        Family("degraded", "Texts that rules alone answered for a broken version."),
        Family("cache", "Texts looked up in the answer cache.", ("result",)),
        Family("shed", "Calls that were turned away.", ("reason",)),
        Family("swaps", "Versions loaded or refused.", ("result",)),
        Family("llm_calls", "Calls of the language model.", ("result",)),
        Family("shadow", "Answers of versions in shadow.", ("result",)),
        Family("drained", "Answers moved from the local journal to the database."),
        Family("queue_texts", "Texts that wait for the model.", is_gauge=True),
        Family("in_flight_texts", "Texts that are being answered.", is_gauge=True),
        Family("journal_entries", "Answers on local disk only.", is_gauge=True),
        Family("journal_bytes", "Bytes of those answers.", is_gauge=True),
        Family(
            "journal_oldest_seconds",
            "Age of the oldest of those answers.",
            is_gauge=True,
            merge=max,
        ),
        Family("memory_bytes", "Memory of the serving processes.", is_gauge=True),
        Family(
            "served_processes",
            "Processes that serve a project with a version.",
            ("project", "version"),
            is_gauge=True,
        ),
    )
}


class Histogram:
    """Counts of values by bucket, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(
        self, bounds: tuple[float, ...], counts: Sequence[int] = (), total: float = 0.0
    ) -> None:
        self.bounds = bounds
        self.counts = list(counts) or [0] * (len(bounds) + 1)
        self.total = total

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def plus(self, other: "Histogram", sign: int = 1) -> "Histogram":
        counts = [a + sign * b for a, b in zip(self.counts, other.counts, strict=True)]
        return Histogram(self.bounds, counts, self.total + sign * other.total)

    def copy(self) -> "Histogram":
        return Histogram(self.bounds, self.counts, self.total)

    @property
    def n(self) -> int:
        return sum(self.counts)

    def percentile(self, share: float) -> float | None:
        """The value that this share of all values does not exceed; None without any.

        Taken as evenly spread within its bucket.
        """
        if not (n := self.n):
            return None
        wanted = share * n
        sums = list(accumulate(self.counts))
        at = bisect_left(sums, wanted)
        low = self.bounds[at - 1] if at else 0.0
        high = self.bounds[min(at, len(self.bounds) - 1)]
        inside = (wanted - (sums[at] - self.counts[at])) / self.counts[at]
        return low + (high - low) * min(max(inside, 0.0), 1.0)


class Measured:
    """Everything that was measured up to a moment; a value, not changed any more."""

    __slots__ = ("counts", "gauges", "histograms")

    def __init__(
        self,
        counts: dict[Key, float],
        histograms: dict[Key, Histogram],
        gauges: dict[Key, float],
    ) -> None:
        self.counts = counts
        self.histograms = histograms
        self.gauges = gauges

    def counted(self, name: str) -> dict[Key, float]:
        """A counter's values by its labels."""
        return {key[1:]: n for key, n in self.counts.items() if key[0] == name}

    def histogram(self, name: str, *labels: str) -> Histogram:
        found = self.histograms.get((name, *labels))
        return Histogram(FAMILIES[name].bounds) if found is None else found

    def since(self, before: "Measured") -> "Measured":
        """What came after `before`; gauges as they are now."""
        counts = {k: n - before.counts.get(k, 0.0) for k, n in self.counts.items()}
        histograms = {
            k: h.plus(before.histograms[k], -1) if k in before.histograms else h
            for k, h in self.histograms.items()
        }
        return Measured({k: n for k, n in counts.items() if n}, histograms, self.gauges)


class Measures:
    """One process's measures. All methods are thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Key, float] = {}
        self._histograms: dict[Key, Histogram] = {}
        self._gauges: dict[str, Callable[[], float | Mapping[Key, float]]] = {}
        # The first is what the process began with: nothing.
        self._seconds = deque([(time.monotonic(), Measured({}, {}, {}))])

    def count(self, name: str, n: float = 1, **labels: str) -> None:
        """Adds to a counter; raises KeyError for what is not declared."""
        key = (name, *[labels[label] for label in FAMILIES[name].labels])
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + n

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Adds a value to a histogram; raises KeyError for what is not declared."""
        family = FAMILIES[name]
        key = (name, *[labels[label] for label in family.labels])
        self._add(key, family.bounds, value)

    def took(self, stage: str, seconds: float) -> None:
        """Notes a stage's duration, where a `with` block does not fit."""
        self._add(("stage_seconds", stage), SECONDS, seconds)

    def _add(self, key: Key, bounds: tuple[float, ...], value: float) -> None:
        with self._lock:
            histogram = self._histograms.get(key)
            if histogram is None:
                histogram = self._histograms[key] = Histogram(bounds)
            histogram.add(value)

    def gauge(self, name: str, read: Callable[[], float | Mapping[Key, float]]) -> None:
        """Has `read` called whenever somebody wants to know; the last one given stays.

        Args:
            name: A declared gauge.
            read: Its value, or values by the values of its labels.
        """
        if not FAMILIES[name].is_gauge:
            raise KeyError(name)
        self._gauges[name] = read

    def now(self) -> Measured:
        """A copy of everything."""
        gauges: dict[Key, float] = {}
        for name, read in list(self._gauges.items()):
            try:
                value = read()
            except Exception:
                # Seen by its absence; what is served must not hang on what is said of
                # it.
                _logger.debug("cannot measure %s", name, exc_info=True)
                continue
            if isinstance(value, Mapping):
                gauges |= {(name, *key): float(v) for key, v in value.items()}
            else:
                gauges[(name,)] = float(value)
        with self._lock:
            counts = dict(self._counts)
            histograms = {key: h.copy() for key, h in self._histograms.items()}
        return Measured(counts, histograms, gauges)

    def tick(self) -> Measured:
        """Once a second: remembers what was measured so far, for `last_minute`."""
        at, measured = time.monotonic(), self.now()
        self._seconds.append((at, measured))
        # One older than a minute stays: it is what the minute is counted from.
        while len(self._seconds) > 1 and self._seconds[1][0] <= at - _MINUTE_S:
            self._seconds.popleft()
        return measured

    def last_minute(self) -> tuple[float, Measured]:
        """What was measured in the last minute, and its seconds: fewer at the start."""
        then, before = self._seconds[0]
        return max(time.monotonic() - then, 1e-3), self.now().since(before)


class Stage:
    """Times a `with` block into `stage_seconds`, also where it raises."""

    __slots__ = ("_began", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        took(self._name, time.perf_counter() - self._began)


measures = Measures()
"""This process's own."""
count = measures.count
observe = measures.observe
gauge = measures.gauge
took = measures.took
stage = Stage


def snapshot() -> dict[str, Any]:
    """The last minute, for `ServingProcess.stats`: JSON values, about 1 KB.

    `p50_ms` and `p99_ms` are None where nobody asked.
    """
    seconds, minute = measures.last_minute()
    requests = minute.histogram("stage_seconds", "request")
    statuses = {key[0]: int(n) for key, n in minute.counted("requests").items()}
    methods: dict[str, int] = {}
    for (_project, _version, method), n in minute.counted("answers").items():
        methods[method] = methods.get(method, 0) + int(n)
    cached = {key[0]: n for key, n in minute.counted("cache").items()}
    batches = minute.histogram("batch_texts")
    return {
        "seconds": round(seconds, 1),
        "requests_per_s": round(sum(statuses.values()) / seconds, 2),
        "texts_per_s": round(sum(methods.values()) / seconds, 2),
        "p50_ms": _ms(requests.percentile(0.5)),
        "p99_ms": _ms(requests.percentile(0.99)),
        "statuses": statuses,
        "methods": methods,
        "errors": sum(n for status, n in statuses.items() if status >= "500"),
        "degraded": int(minute.counts.get(("degraded",), 0)),
        "shed": {key[0]: int(n) for key, n in minute.counted("shed").items()},
        "llm": {key[0]: int(n) for key, n in minute.counted("llm_calls").items()},
        "cache_hits": _share(cached.get("hit", 0.0), sum(cached.values())),
        "batch_mean": round(batches.total / batches.n, 1) if batches.n else None,
        "gauges": {
            key[0]: value for key, value in minute.gauges.items() if len(key) == 1
        },
        "stages": {
            key[1]: {
                "n": h.n,
                "p50_ms": _ms(h.percentile(0.5)),
                "p99_ms": _ms(h.percentile(0.99)),
            }
            for key, h in minute.histograms.items()
            if key[0] == "stage_seconds" and h.n
        },
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 3) if whole else None
