"""What operators see of a real server: metrics of all processes, probes, log lines."""

import http.client
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from registry.models import ServingProcess
from tests.makers import make_intent, make_key, make_labelled, make_project, make_rule
from tests.registry.makers import make_version
from tests.registry.server import Server, serve
from tests.waiting import within


def get(server: Server, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def metrics(server: Server) -> dict[tuple[str, ...], float]:
    """{(name, label values in the order of their names): value}."""
    status, text = get(server, "/metrics")
    assert status == 200, text
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.slow
def test_metrics_page_and_log_say_what_a_real_server_did(
    process_env: Mapping[str, str], tmp_path: Path
) -> None:
    project = make_project(slug="shop", name="Shop")
    version = make_version(project, ("greet", "order"), active=True)
    make_rule(project, "hello", project.intents.get(code="greet"))
    make_labelled(project, make_intent(project, "open"), "when are you open")
    env = {
        **process_env,
        "TUNELOOP_HOME": str(tmp_path / "home"),
        "TUNELOOP_JSON_LOGS": "1",
        "TUNELOOP_LOG": "INFO",
        "TUNELOOP_ARTIFACT_OPTIONS": json.dumps(
            {"location": str(Path(os.environ["TUNELOOP_HOME"]) / "artifacts")}
        ),
    }
    log = tmp_path / "log"
    with serve(env, log) as server:
        client = server.client(make_key(project)[1])
        bodies = [{"text": f"order {n}"} for n in range(20)]
        bodies += [{"text": "hello order"}, {"text": "When are you open"}]
        bodies += [{"texts": ["greet", "order", "x"]}]
        answered: Counter[str] = Counter()
        for body in bodies:
            status, answer = client.post("classify", body)
            assert status == 200
            answered.update(one["method"] for one in answer.get("results", [answer]))
        assert client.post("classify", {"text": ""})[0] == 400

        # Each process writes its sums once a second.
        calls = [("tuneloop_requests_total", status) for status in ("200", "400")]
        assert within(
            30, lambda: [metrics(server).get(call) for call in calls] == [23, 1]
        )
        assert within(30, lambda: metrics(server)[("tuneloop_processes",)] == 2)
        found = metrics(server)
        number = str(version.number)
        answers = "tuneloop_answers_total"
        # Labels in the order of their names: method, project, version.
        # As many as were answered, by which method ever: on a slow machine a gold
        # label may not be there in time.
        assert answered["model"] >= 23
        assert answered["fused"] == 1
        for method, n in answered.items():
            assert found[(answers, method, "shop", number)] == n
        for stage in ("gold", "rules", "tokenise", "model", "fuse", "journal"):
            assert found[("tuneloop_stage_seconds_count", stage)] > 0, stage
        assert found[("tuneloop_stage_seconds_count", "request")] == 24
        assert found[("tuneloop_batch_texts_count",)] > 0
        assert found[("tuneloop_swaps_total", "loaded")] >= 2  # one a process
        assert found[("tuneloop_served_processes", "shop", number)] == 2
        assert found[("tuneloop_memory_bytes",)] > 2e7
        assert within(30, lambda: metrics(server)[("tuneloop_journal_entries",)] == 0)

        # A probe knows neither the host's name nor a key.
        assert get(server, "/healthz", Host="10.0.0.9:8000")[0] == 200
        assert get(server, "/readyz", Host="10.0.0.9:8000")[0] == 200
        proxied = {"X-Forwarded-For": "8.8.8.8"}
        assert get(server, "/metrics", **proxied)[0] == 401
        assert get(server, "/nothing", **{"X-Request-Id": "probe-1"})[0] == 404

        latest = ServingProcess.objects.exclude(stats__p50_ms=None)
        assert within(30, latest.exists)
        assert sum(latest.latest("seen_at").stats["methods"].values()) > 0

    lines = [json.loads(line) for line in json_lines(log)]
    ours = [line for line in lines if line.get("request_id") == "probe-1"]
    assert [(line["method"], line["status"]) for line in ours if "path" in line] == [
        ("GET", 404)
    ]
    asked = [line for line in lines if line.get("path") == "/api/v1/classify"]
    assert len(asked) == 24
    assert len({line["request_id"] for line in asked}) == 24


def json_lines(log: Path) -> list[str]:
    """Lines of the processes; the web server's master writes some of its own."""
    return [line for line in log.read_text().splitlines() if line.startswith("{")]
