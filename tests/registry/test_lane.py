"""The lean lane: ordinary calls go past Django, everything else is answered by it."""

import contextlib
import io
import json
import sys
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from labeling import access
from labeling.models import Project, Question
from registry.api import lane
from registry.api.lane import Lane
from registry.models import ClassificationLog
from registry.serving import engine, measures
from tests.makers import make_key, make_project
from tests.registry.makers import make_version
from tests.registry.test_classify_api import BAD

pytestmark = pytest.mark.django_db


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    json: Any


@contextlib.contextmanager
def kept_connections() -> Iterator[None]:
    """As in Django's test client: the end of a request ends no test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


class Site:
    """The web process's application, and what it took out of the lane."""

    def __init__(self, project: Project) -> None:
        self.key, self.secret = make_key(project)
        self.passed_on = 0
        self._django = WSGIHandler()
        self._lane = Lane(self._pass_on)

    def _pass_on(self, environ: Any, start_response: Any) -> Any:
        self.passed_on += 1
        return self._django(environ, start_response)

    def post(self, body: Any, *, past_lane: bool = False, **changed: Any) -> Response:
        if not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": lane.PATH,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "testserver",
            "HTTP_AUTHORIZATION": f"Api-Key {self.secret}",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            **changed,
        }
        seen: list[Any] = []

        def start(status: str, headers: Any, exc_info: Any = None) -> None:
            seen[:] = [int(status[:3]), dict(headers)]

        application = self._django if past_lane else self._lane
        with kept_connections():
            answer = application(environ, start)
            content = b"".join(answer)
            if hasattr(answer, "close"):
                answer.close()
        # Django leaves it out where a middleware refuses.
        assert seen[1].get("Content-Length", str(len(content))) == str(len(content))
        return Response(*seen, json.loads(content))


@pytest.fixture
def project() -> Project:
    project = make_project()
    make_version(project, ["pay", "ship", "clock", "stock"], active=True)
    return project


@pytest.fixture
def site(project: Project) -> Site:
    return Site(project)


def without_ids(value: Any) -> Any:
    """A JSON value without what differs between two calls that are the same."""
    if isinstance(value, dict):
        return {
            k: without_ids(v)
            for k, v in value.items()
            if k not in ("request_id", "instance")
        }
    return [without_ids(v) for v in value] if isinstance(value, list) else value


GOOD = [
    {"text": "  pay  "},
    {"text": "pay", "top_k": 1},
    {"texts": ["pay", "ship", "付款", "pay"], "top_k": 20},
    {"text": "天气 \U0001f600", "unknown": {"member": [1.5, None]}},
]


@pytest.mark.parametrize("body", GOOD)
def test_a_good_call_is_answered_alike_without_django(site: Site, body: Any) -> None:
    answered = site.post(body)
    assert (answered.status, site.passed_on) == (200, 0)
    past = site.post(body, past_lane=True)
    assert without_ids(answered.json) == without_ids(past.json)
    for name in ("Content-Type", "X-Content-Type-Options"):
        assert answered.headers[name] == past.headers[name]
    asked = len(body.get("texts", ["one"]))
    assert ClassificationLog.objects.filter(client=site.key).count() == 2 * asked


@pytest.mark.parametrize(("body", "code"), BAD)
def test_a_bad_call_is_refused_alike(site: Site, body: Any, code: str) -> None:
    body = '["pay"]' if body == "pay" else body
    refused = site.post(body)
    assert site.passed_on == 1
    past = site.post(body, past_lane=True)
    assert (refused.status, refused.json["code"]) == (past.status, past.json["code"])
    assert refused.json["code"] == code
    assert without_ids(refused.json) == without_ids(past.json)
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert ClassificationLog.objects.count() == Question.objects.count() == 0


OTHERS: list[tuple[dict[str, Any], int, str]] = [
    ({"HTTP_AUTHORIZATION": ""}, 401, "key_missing"),
    ({"HTTP_AUTHORIZATION": "Api-Key wrong"}, 401, "invalid_key"),
    ({"HTTP_AUTHORIZATION": "Basic d2hv"}, 401, "key_missing"),
    ({"HTTP_HOST": "evil.example"}, 400, "bad_request"),
    ({"HTTP_HOST": "a b"}, 400, "bad_request"),
    ({"CONTENT_TYPE": "text/plain"}, 415, "unsupported_media_type"),
    ({"CONTENT_TYPE": ""}, 415, "unsupported_media_type"),
    ({"REQUEST_METHOD": "PUT"}, 405, "method_not_allowed"),
    ({"CONTENT_LENGTH": str(5_000_000)}, 413, "body_too_large"),
]


@pytest.mark.parametrize(("changed", "status", "code"), OTHERS)
def test_what_is_not_ordinary_goes_through_django(
    site: Site, changed: dict[str, Any], status: int, code: str
) -> None:
    body = b'{"text": "' + b"x" * (5_000_000 if status == 413 else 9) + b'"}'
    refused = site.post(body, **changed)
    assert (refused.status, refused.json["code"]) == (status, code)
    assert site.passed_on == 1


def test_content_types_and_scopes_that_are_taken(site: Site, project: Project) -> None:
    kind = "Application/JSON; charset=utf-8"
    assert site.post({"text": "pay"}, CONTENT_TYPE=kind).status == 200
    manager = make_key(project, scope="manage")[1]
    header = f"api-key  {manager} "
    assert site.post({"text": "pay"}, HTTP_AUTHORIZATION=header).status == 200
    assert site.passed_on == 0
    access.revoke_key(site.key)
    assert site.post({"text": "pay"}).status == 401


def test_an_id_for_every_request(site: Site) -> None:
    given = site.post({"text": "pay"}, HTTP_X_REQUEST_ID="order-7")
    assert given.headers["X-Request-Id"] == "order-7"
    made = [site.post({"text": "pay"}).headers["X-Request-Id"] for _ in range(2)]
    assert len({"order-7", *made}) == 3


def test_a_request_id_that_is_taken(site: Site) -> None:
    body = {"text": "pay", "request_id": str(uuid.uuid4())}
    first, again = site.post(body), site.post(body)
    assert first.json == again.json
    taken = site.post({**body, "text": "ship"}, HTTP_ACCEPT_LANGUAGE="zh-hans")
    assert (taken.status, taken.json["code"]) == (409, "request_id_taken")
    assert taken.headers["Content-Language"] == "zh-hans"
    past = site.post(
        {**body, "text": "ship"}, HTTP_ACCEPT_LANGUAGE="zh-hans", past_lane=True
    )
    assert without_ids(taken.json) == without_ids(past.json)
    assert site.passed_on == 0
    assert taken.json["instance"].endswith(taken.headers["X-Request-Id"])


def test_a_bug_is_said_by_django_and_nothing_is_asked_twice(
    site: Site, monkeypatch: Any
) -> None:
    asked: list[Any] = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(engine, "then", broken)
    failed = site.post({"text": "pay"}, HTTP_X_REQUEST_ID="order-8")
    assert (failed.status, failed.json["code"]) == (500, "server_error")
    assert failed.headers["X-Request-Id"] == "order-8"
    assert len(asked) == 1


def test_every_call_is_measured(site: Site) -> None:
    before = measures.measures.now()
    for body in ({"text": "pay"}, {"text": ""}, {"text": "pay"}):
        site.post(body)
    since = measures.measures.now().since(before)
    assert since.counted("requests") == {("200",): 2, ("400",): 1}
    assert since.histogram("stage_seconds", "request").n == 3
