"""The Python client, against the product over HTTP and against a server that fails."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from labeling.models import Project
from registry.client import Client, Problem
from registry.models import ClassificationLog, Feedback
from tests.homes import ROOT
from tests.makers import make_key, make_project
from tests.registry.makers import make_version

ANSWER = {
    "request_id": "6f1c2f6e-7f0e-4a5e-9a53-3d1f0a3b2c11",
    "intents": [{"code": "greet", "name": "", "confidence": 0.9, "sources": {}}],
    **{"confidence": 0.9, "method": "model", "version": "1", "needs_review": False},
    **{"degraded": False, "truncated": False, "added_later": 1},
}
BUSY = (503, {"Retry-After": "1"}, {"code": "busy", "detail": "Busy."})


@pytest.fixture
def project(transactional_db: Any) -> Project:
    project = make_project()
    make_version(project, active=True)
    return project


@pytest.fixture
def client(project: Project, live_server: Any) -> Iterator[Client]:
    with Client(live_server.url, make_key(project)[1]) as client:
        yield client


class Scripted:
    """A real server that gives one prepared answer after the other."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.bodies: list[dict[str, Any]] = []
        self.times: list[float] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.times.append(time.monotonic())
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(json.loads(raw))
                step = outer.script.pop(0)
                if step == "hang up":
                    self.connection.close()
                    return
                status, headers, body = step
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()


def test_a_question_its_answer_and_a_word_on_it(client: Client) -> None:
    answer = client.classify("greet")
    assert answer.intent == "greet"
    assert answer.confidence > 0.99
    assert (answer.method, answer.version) == ("model", "1")
    assert answer.intents[0].sources.keys() == {"model"}

    client.feedback(answer, right=False, intent="order")
    given = Feedback.objects.get(log__request_id=answer.request_id)
    assert (given.verdict, given.intent.code) == ("wrong", "order")  # type: ignore[union-attr]
    client.feedback(answer.request_id, right=True)
    given.refresh_from_db()
    assert given.verdict == "right"


def test_the_same_request_id_gets_the_same_answer_and_counts_once(
    client: Client,
) -> None:
    mine = uuid4()
    first = client.classify("order", request_id=mine)
    assert client.classify("order", request_id=mine) == first
    assert first.request_id == mine
    assert ClassificationLog.objects.count() == 1


def test_more_texts_than_a_call_takes(client: Client) -> None:
    texts = [f"greet {n}" for n in range(256)] + ["order"]
    answers = client.classify_many(texts, top_k=1)
    assert [answer.intent for answer in answers] == ["greet"] * 256 + ["order"]
    assert client.classify_many([]) == []


def test_a_refusal_says_its_code(client: Client, live_server: Any) -> None:
    with pytest.raises(Problem) as refused:
        client.classify("  ")
    problem = refused.value
    assert (problem.status, problem.code) == (400, "text_empty")
    assert "text_empty" in str(problem)
    assert problem.members["instance"] == f"urn:request:{problem.request_id}"

    with (
        Client(live_server.url, "wrong", language="zh-hans") as stranger,
        pytest.raises(Problem, match="invalid_key"),
    ):
        stranger.classify("greet")


def test_a_busy_server_is_asked_again_when_it_said(scripted: Scripted) -> None:
    scripted.script = [BUSY, (200, {}, ANSWER)]
    with Client(scripted.address, "key") as client:
        answer = client.classify("greet")
    assert answer.request_id == UUID(ANSWER["request_id"])  # type: ignore[arg-type]
    first, second = scripted.bodies
    assert first == second  # the request id, too: counted once
    assert scripted.times[1] - scripted.times[0] >= 1.0


def test_a_lost_connection_is_no_lost_question(scripted: Scripted) -> None:
    scripted.script = ["hang up", "hang up", (502, {}, b"<html>"), (200, {}, ANSWER)]
    with Client(scripted.address, "key") as client:
        assert client.classify("greet").intent == "greet"
    assert len({body["request_id"] for body in scripted.bodies}) == 1


def test_many_are_not_repeated_where_they_may_have_been_counted(
    scripted: Scripted,
) -> None:
    with Client(scripted.address, "key") as client:
        scripted.script = ["hang up"]
        with pytest.raises(Problem, match="unreachable"):
            client.classify_many(["greet"])
        scripted.script = [BUSY, (200, {}, {"results": [ANSWER]})]
        assert len(client.classify_many(["greet"])) == 1
    assert len(scripted.bodies) == 3


def test_patience_ends(scripted: Scripted) -> None:
    scripted.script = [BUSY] * 9
    with (
        Client(scripted.address, "key", patience_s=1.5) as client,
        pytest.raises(Problem, match="busy") as refused,
    ):
        client.classify("greet")
    assert refused.value.status == 503
    assert len(scripted.bodies) == 2


def test_what_is_wrong_is_not_repeated(scripted: Scripted) -> None:
    scripted.script = [(500, {}, {"code": "server_error", "detail": "x"})]
    with (
        Client(scripted.address, "key") as client,
        pytest.raises(Problem, match="server_error"),
    ):
        client.classify("greet")
    assert len(scripted.bodies) == 1


def test_nobody_there(scripted: Scripted) -> None:
    with Client("http://127.0.0.1:1", "key", patience_s=0) as client:
        with pytest.raises(Problem, match="unreachable") as refused:
            client.classify("greet")
        assert refused.value.status == 0


def test_an_http_client_of_ones_own_stays_open(scripted: Scripted) -> None:
    scripted.script = [(200, {}, ANSWER)]
    with httpx.Client() as http:
        Client(scripted.address, "key", http=http).close()
        with Client(scripted.address, "key", http=http) as client:
            client.classify("greet")
        assert not http.is_closed


def test_it_needs_nothing_of_the_server() -> None:
    """An app that calls Tuneloop has neither Django nor torch."""
    check = (
        "import sys, registry.client;"
        "sys.exit(bool({'django', 'torch', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)
