"""What this process holds in memory: versions and rulebooks, each loaded once."""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.conf import settings

from registry.artifacts import ArtifactError
from registry.models import Version
from registry.onnx.session import ArtifactError as UnusableModel
from registry.serving import measures
from registry.serving.bundle import Bundle
from registry.serving.rulebook import Rulebook

_RETRY_AFTER_S = 30.0
"""A version that could not be loaded is not tried again sooner."""
_SHOWN_S = 90.0
"""How long a failure is shown. The listener tries active versions again meanwhile."""

_logger = logging.getLogger(__name__)


class Unavailable(Exception):
    """A version that this process cannot load; its project is served by rules."""


class _Failure(NamedTuple):
    project_id: int
    number: int
    message: str
    at: float
    is_loaded: bool
    """Whether the version was there and failed at a question."""


class Runtime:
    """Bundles by least use, rulebooks by revision. All methods are thread-safe."""

    def __init__(self, *, capacity: int, memory_mb: float = math.inf) -> None:
        """Holds at most `capacity` bundles that take `memory_mb` together; the one that
        was used last always."""
        self.capacity = max(1, capacity)
        self._most_bytes = memory_mb * 1024 * 1024
        self._lock = threading.Lock()
        self._bundles: OrderedDict[int, Bundle] = OrderedDict()
        self._rulebooks: dict[int, Rulebook] = {}
        self._failures: dict[int, _Failure] = {}
        self._loading: dict[tuple[str, int], threading.Lock] = {}

    def bundle(self, version_id: int) -> Bundle:
        """A version, loaded if need be; of several who need it, one loads.

        Cost: nothing when it is there; a query and the load when it is not.

        Raises:
            Unavailable: It can't be loaded, or couldn't in the last 30 s.
        """
        if (held := self._held(version_id)) is not None:
            return held
        with self._turn("version", version_id):
            # Another thread may have loaded it while this one waited for its turn.
            if (held := self._held(version_id)) is not None:
                return held
            self._refuse_if_failed(version_id)
            bundle = self._load(version_id)
            # Let go of behind the lock: freeing a model takes some 10 ms. Requests that
            # still run on it keep it until they end.
            dropped: list[Bundle] = []
            with self._lock:
                self._failures.pop(version_id, None)
                self._bundles[version_id] = bundle
                while len(self._bundles) > 1 and self._is_over():
                    dropped.append(self._bundles.popitem(last=False)[1])
            return bundle

    def holds(self, version_id: int) -> bool:
        """Whether a version is in memory; it is as old as before in the eviction."""
        return version_id in self._bundles

    def holds_rules(self, project_id: int, revision: int) -> bool:
        """Whether a project's rules as of this revision or later are in memory."""
        held = self._rulebooks.get(project_id)
        return held is not None and held.revision >= revision

    def rulebook(self, project_id: int, revision: int) -> Rulebook:
        """The project's rules as of this serving revision or a later one.

        Cost: nothing when it is there; four queries when it is not.
        """
        held = self._rulebooks.get(project_id)
        if held is not None and held.revision >= revision:
            return held
        with self._turn("project", project_id):
            held = self._rulebooks.get(project_id)
            if held is not None and held.revision >= revision:
                return held
            held = self._rulebooks[project_id] = Rulebook(project_id)
            return held

    def waiting(self) -> int:
        """How many texts wait for a model."""
        with self._lock:
            bundles = list(self._bundles.values())
        return sum(bundle.waiting() for bundle in bundles)

    def note_failure(self, bundle: Bundle, error: Exception) -> None:
        """Shows an inference error on the process's row for a while."""
        message = str(error) or type(error).__name__
        with self._lock:
            self._failures[bundle.version_id] = _Failure(
                bundle.project_id, bundle.number, message, time.monotonic(), True
            )

    def failed(self) -> set[int]:
        """Ids of the versions whose last load failed."""
        with self._lock:
            return {pk for pk, f in self._failures.items() if not f.is_loaded}

    def revisions(self) -> dict[int, int]:
        """The revision of each rulebook that is held, by project id."""
        return {pk: book.revision for pk, book in list(self._rulebooks.items())}

    def forget(self, project_ids: Iterable[int]) -> None:
        """Drops what is held of projects that are gone."""
        gone = set(project_ids)
        dropped: list[Bundle] = []  # let go of behind the lock
        with self._lock:
            for project_id in gone:
                self._rulebooks.pop(project_id, None)
            for pk in [k for k, b in self._bundles.items() if b.project_id in gone]:
                dropped.append(self._bundles.pop(pk))

    def report(self) -> dict[str, dict[str, Any]]:
        """For the process's row: what is held and what failed, by project id."""
        with self._lock:
            bundles = list(self._bundles.values())
            failures = [f for f in self._failures.values() if _is_shown(f)]
        projects: dict[str, dict[str, Any]] = {}
        for project_id, book in list(self._rulebooks.items()):
            _entry(projects, project_id)["revision"] = book.revision
        for bundle in bundles:
            _entry(projects, bundle.project_id)["ready"].append(bundle.number)
        for failure in failures:
            entry = _entry(projects, failure.project_id)
            if not failure.is_loaded:
                entry["failed"].append(failure.number)
            entry["error"] = f"{failure.number}: {failure.message}"
        return projects

    def _is_over(self) -> bool:
        """Whether more is held than may be."""
        taken = sum(bundle.bytes for bundle in self._bundles.values())
        return len(self._bundles) > self.capacity or taken > self._most_bytes

    def _held(self, version_id: int) -> Bundle | None:
        with self._lock:
            bundle = self._bundles.get(version_id)
            if bundle is not None:
                self._bundles.move_to_end(version_id)
            return bundle

    def _turn(self, kind: str, pk: int) -> threading.Lock:
        with self._lock:
            return self._loading.setdefault((kind, pk), threading.Lock())

    def _refuse_if_failed(self, version_id: int) -> None:
        with self._lock:
            failure = self._failures.get(version_id)
        if failure is None or failure.is_loaded:
            return
        if time.monotonic() - failure.at < _RETRY_AFTER_S:
            raise Unavailable(failure.message)

    def _load(self, version_id: int) -> Bundle:
        try:
            version = Version.objects.select_related("project").get(pk=version_id)
        except Version.DoesNotExist:
            raise Unavailable(f"there is no version {version_id}") from None
        began = time.perf_counter()
        try:
            bundle = Bundle(version)
            measures.observe("swap_seconds", time.perf_counter() - began)
            measures.count("swaps", result="loaded")
            return bundle
        # Whatever is wrong with a version must not take its project down.
        except Exception as error:
            message = str(error) or type(error).__name__
            is_known = isinstance(error, ArtifactError | UnusableModel)
            _logger.error(
                "%s cannot be loaded: %s", version, message, exc_info=not is_known
            )
            measures.count("swaps", result="refused")
            with self._lock:
                self._failures[version_id] = _Failure(
                    version.project_id, version.number, message, time.monotonic(), False
                )
            raise Unavailable(message) from error


def _is_shown(failure: _Failure) -> bool:
    return time.monotonic() - failure.at < _SHOWN_S


def _entry(projects: dict[str, dict[str, Any]], project_id: int) -> dict[str, Any]:
    empty = {"version": "", "revision": 0, "ready": [], "failed": [], "error": ""}
    return projects.setdefault(str(project_id), empty)


runtime = Runtime(
    capacity=settings.SERVING_VERSIONS, memory_mb=settings.SERVING_MEMORY_MB
)
"""This process's own."""
measures.gauge("queue_texts", runtime.waiting)
