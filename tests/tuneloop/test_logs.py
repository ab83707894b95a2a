"""Log lines as JSON, and the request's id in them, in answers and in problems."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from labeling.api import request_ids
from tuneloop import logs


@pytest.fixture
def lines() -> Iterator[Any]:
    """Lines that the root logger writes in this test, as they were parsed."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(logs.RequestIdFilter())
    handler.setFormatter(logs.JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


def test_a_line_is_one_object_with_what_was_given() -> None:
    # Not logged: the processes of a test run can't tell each other half a character.
    record = logging.makeLogRecord(
        {
            "name": "registry.anything",
            "levelname": "WARNING",
            "levelno": logging.WARNING,
            "msg": "two\nlines: %s, %s",
            "args": ("打卡", "\ud800"),
            "project": "factory",
        }
    )
    assert logs.RequestIdFilter().filter(record)
    (written,) = logs.JsonFormatter().format(record).splitlines()
    line = json.loads(written)
    assert line["message"] == "two\nlines: 打卡, \ud800"
    assert (line["level"], line["logger"]) == ("WARNING", "registry.anything")
    assert line["project"] == "factory"
    assert "request_id" not in line  # outside of requests


def test_an_error_keeps_its_traceback(lines: Any) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("registry").exception("could not divide")

    (line,) = lines()
    assert "ZeroDivisionError" in line["error"]


def test_the_id_of_the_client_is_in_answer_problem_and_line(lines: Any) -> None:
    response = Client(headers={"X-Request-Id": "shop-17"}).get("/api/v1/nowhere")

    assert response.headers["X-Request-Id"] == "shop-17"
    assert response.json()["instance"] == "urn:request:shop-17"
    ours = [line for line in lines() if line["logger"] == "tuneloop.access"]
    assert [line["request_id"] for line in ours] == ["shop-17"]
    assert (ours[0]["method"], ours[0]["path"]) == ("GET", "/api/v1/nowhere")
    assert ours[0]["status"] == 404
    assert request_ids.current() == ""  # the thread's next work is another's


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "é", 'a"b', "a\tb"])
def test_an_id_that_could_forge_a_line_is_replaced(given: str) -> None:
    made = request_ids.begin(given)

    assert made != given
    assert len(made) == 32
    request_ids.end()


def test_requests_without_an_id_get_different_ones() -> None:
    ids = {Client().get("/healthz").headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3


def test_a_thread_has_its_own_request() -> None:
    request_ids.begin("first")
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(request_ids.current()))
    thread.start()
    thread.join()
    request_ids.end()
    assert seen == [""]


def test_the_text_line_holds_the_id_too() -> None:
    given = logs.config(level="INFO", is_json=False)
    record = logging.makeLogRecord({"msg": "hello", "levelname": "INFO", "name": "n"})
    request_ids.begin("abc")
    logs.RequestIdFilter().filter(record)
    request_ids.end()
    style = given["formatters"]["line"]
    text = logging.Formatter(style["format"], style=style["style"]).format(record)
    assert text.endswith("INFO n [abc] hello")
