"""Calls a running server as its OpenAPI schema allows and forbids; judges the answers.

schemathesis draws the calls: the schema's own examples, the edges of each field, random
bodies that fit and that do not, and chains in which one answer feeds the next call.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
    "negative_data_rejection",
)


@dataclass
class Found:
    """What a server answered."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    """Answers by operation and status."""
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    """One example by operation and title: the message, and how to repeat it."""

    @property
    def calls(self) -> int:
        return sum(sum(counter.values()) for counter in self.statuses.values())

    def merge(self, other: "Found") -> None:
        for name, counter in other.statuses.items():
            self.statuses.setdefault(name, Counter()).update(counter)
        self.failures = {**other.failures, **self.failures}

    def report(self) -> str:
        """For people: answers by operation, then what was wrong."""
        lines = [
            f"{name}: " + ", ".join(f"{s} x {n}" for s, n in sorted(counter.items()))
            for name, counter in sorted(self.statuses.items())
        ]
        lines += [
            f"\n{operation}: {title}\n{text}"
            for (operation, title), text in sorted(self.failures.items())
        ]
        return "\n".join(lines)


def fuzz(
    address: str,
    *,
    headers: Mapping[str, str],
    seconds: float | None = None,
    known: Mapping[str, Sequence[Any]],
    examples: int = 100,
    phases: Sequence[str] = ("examples", "coverage", "fuzzing", "stateful"),
    is_repeatable: bool = True,
) -> Found:
    """Calls every operation until it has been through or the time is up.

    Args:
        address: Such as `http://127.0.0.1:8000`.
        headers: Sent with each call: whose key.
        seconds: Most that it may take; None: until it has been through.
        known: Values that exist, by parameter (`path.number`, `body.request_id`), used
            in half of the calls: random ones find nothing.
        examples: Random calls of each operation.
        phases: Kinds of calls.
        is_repeatable: The same calls each time.
    """
    config = SchemathesisConfig.from_dict(
        {
            **({"max-time": max(2, round(seconds))} if seconds else {}),
            "suppress-health-check": ["all"],
            "headers": dict(headers),
            "continue-on-failure": True,
            "request-timeout": 30.0,
            "dictionaries": {
                name.replace(".", "_"): {"values": list(values)}
                for name, values in known.items()
            },
            "parameters": {
                name: {"dictionary": name.replace(".", "_"), "probability": 0.5}
                for name in known
            },
            "generation": {
                "max-examples": examples,
                "deterministic": is_repeatable,
                "database": "none",
                "no-shrink": True,
            },
            "checks": {
                "enabled": False,
                **{name: {"enabled": True} for name in CHECKS},
            },
        }
    )
    config.projects.default.phases.update(phases=list(phases))
    schema = schemathesis.openapi.from_url(
        f"{address}/api/v1/schema/?format=json", config=config
    )
    found = Found()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _take(event.recorder, found)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            _fault(event, found)
    return found


def call(
    address: str,
    operation_id: str,
    *,
    headers: Mapping[str, str],
    path: Mapping[str, Any],
    body: Any,
) -> int:
    """Makes one call that random ones rarely hit; its answer must fit the schema.

    Returns:
        The status.
    """
    schema = schemathesis.openapi.from_url(f"{address}/api/v1/schema/?format=json")
    operation = schema.find_operation_by_id(operation_id)
    case = operation.Case(
        path_parameters=dict(path), body=body, media_type="application/json"
    )
    response = case.call_and_validate(headers=dict(headers))
    return int(response.status_code)


def _take(recorder: Any, found: Found) -> None:
    for case_id, node in recorder.cases.items():
        interaction = recorder.interactions.get(case_id)
        if interaction is None or interaction.response is None:
            continue
        operation = node.value.operation
        label = operation.label
        # Also other methods are tried, and refused or, as OPTIONS, answered.
        if interaction.request.method.upper() == operation.method.upper():
            counter = found.statuses.setdefault(label, Counter())
            counter[interaction.response.status_code] += 1
        for check in recorder.checks.get(case_id, ()):
            if check.status is Status.FAILURE:
                info = check.failure_info
                title = f"{check.name}: {info.failure.title}"
                body = interaction.response.content[:600]
                found.failures.setdefault(
                    (label, title),
                    f"{info.failure.message}\n{info.code_sample}\n{body!r}",
                )


def _fault(event: Any, found: Found) -> None:
    error = getattr(event, "value", None) or getattr(event, "exception", None)
    label = getattr(event, "label", None) or "schemathesis"
    found.failures.setdefault((label, type(error).__name__), str(error))
