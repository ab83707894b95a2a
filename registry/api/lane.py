"""The short way for `POST /classify`: ordinary calls go past Django and its middleware.

A call that is not ordinary (a wrong key, a body that can't be read, an unknown host, a
bug) is handed to the same view that everything else goes through, which finds the same
fault and says it. So there is one place where errors are made, and this module only
holds what a good call needs.
"""

import http
import logging
import time
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import orjson
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http.request import split_domain_port, validate_host
from django.utils import translation
from rest_framework.request import Request

from labeling.access import hash_key, scope_includes
from labeling.api import problems, request_ids
from labeling.api.auth import secret_of
from labeling.api.parsers import MAX_BODY_BYTES
from labeling.api.problems import Problem
from labeling.models import ApiKey
from registry.api import bodies, classifying
from registry.serving import keys, listener, measures
from registry.serving.keys import Caller
from registry.serving.lookup import Away

PATH = "/api/v1/classify"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_ERROR = "tuneloop.error"
"""Key in the environment: what went wrong on the lane, for the view to say."""
_NOSNIFF = ("X-Content-Type-Options", "nosniff")

_access = logging.getLogger("tuneloop.access")


class Lane:
    """A WSGI application around Django's."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._hosts: set[str] = set()

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != PATH:
            return self._application(environ, start_response)
        began = time.perf_counter()
        status = 500

        def start(line: str, headers: Any, exc_info: Any = None) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, headers, *([exc_info] if exc_info else []))

        try:
            return self._serve(environ, start)
        finally:
            took = time.perf_counter() - began
            measures.took("request", took)
            measures.count("requests", status=str(status))

    def _serve(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        call = self._read(environ)
        if call is None:
            return self._application(environ, start)
        id_ = request_ids.begin(environ.get("HTTP_X_REQUEST_ID"))
        began = time.perf_counter()
        try:
            caller, body = call
            payload = classifying.answer(caller.target, caller.key, body)
            return _respond(environ, start, 200, payload, id_, began)
        except classifying.REFUSALS as error:
            return _refuse(environ, start, error, id_, began)
        except Exception as error:
            environ[_ERROR] = error
            environ["HTTP_X_REQUEST_ID"] = id_
        finally:
            request_ids.end()
        return self._application(environ, start)

    def _read(self, environ: Environ) -> tuple[Caller, bodies.ClassifyBody] | None:
        """Who asks what; None for what the view shall look at."""
        if environ["REQUEST_METHOD"] != "POST" or not self._knows_host(environ):
            return None
        kind = environ.get("CONTENT_TYPE", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            return None
        secret = secret_of(environ.get("HTTP_AUTHORIZATION", ""))
        length = environ.get("CONTENT_LENGTH") or ""
        # Without a length the body comes in chunks, and its end is the server's matter.
        if secret is None or not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return None
        listener.start()
        try:
            caller = keys.find(hash_key(secret))
        except Away:
            return None
        if caller is None or not scope_includes(
            caller.key.scope, ApiKey.Scope.CLASSIFY
        ):
            return None
        raw = environ["wsgi.input"].read(int(length))
        try:
            asked = orjson.loads(raw)
            if isinstance(asked, dict):
                return caller, bodies.classify(asked)
        except (ValueError, Problem):
            pass
        environ["wsgi.input"] = BytesIO(raw)  # the view reads it again
        return None

    def _knows_host(self, environ: Environ) -> bool:
        """What Django's CommonMiddleware asks of a request, remembered by host."""
        host = environ.get("HTTP_HOST", "")
        if host in self._hosts:
            return True
        if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
            return False
        if len(self._hosts) < 1000:
            self._hosts.add(host)
        return True


def error_of(request: Request) -> Exception | None:
    """What went wrong with this call on the lane."""
    error: Exception | None = request._request.META.get(_ERROR)
    return error


def _respond(
    environ: Environ,
    start: StartResponse,
    status: int,
    payload: dict[str, Any],
    request_id: str,
    began: float,
    *extra: tuple[str, str],
) -> list[bytes]:
    is_fine = status == http.HTTPStatus.OK
    content = orjson.dumps(payload)
    start(
        f"{status} {http.HTTPStatus(status).phrase}",
        [
            ("Content-Type", "application/json" if is_fine else problems.CONTENT_TYPE),
            ("Content-Length", str(len(content))),
            (request_ids.HEADER, request_id),
            _NOSNIFF,
            *extra,
        ],
    )
    if _access.isEnabledFor(logging.INFO):
        request_ids.note("POST", environ["PATH_INFO"], status, began)
    return [content]


def _refuse(
    environ: Environ,
    start: StartResponse,
    error: Exception,
    request_id: str,
    began: float,
) -> list[bytes]:
    """Who asks too much is told so here: turning away must cost less than answering."""
    language = translation.get_language_from_request(WSGIRequest(environ))
    with translation.override(language):
        problem = classifying.problem_of(error)
        payload = problems.body(
            problem.status_code,
            str(problem.get_codes()),
            str(problem.detail),
            **problem.extra,
        )
    wait = problem.extra.get("retry_after_s")
    return _respond(
        environ,
        start,
        problem.status_code,
        payload,
        request_id,
        began,
        ("Content-Language", language),
        *([("Retry-After", str(wait))] if wait else []),
    )
