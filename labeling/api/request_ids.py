"""An id for every HTTP request: in its answer, its problem object and its log lines."""

import logging
import re
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

HEADER = "X-Request-Id"
_META = "HTTP_X_REQUEST_ID"
_USABLE = re.compile(r"[A-Za-z0-9._:-]{1,64}").fullmatch
"""What goes into log lines and headers as it came."""

_access = logging.getLogger("tuneloop.access")
_current: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """The id of the request that this thread works on; "" outside of requests."""
    return _current.get()


def begin(given: str | None) -> str:
    """Says which request this thread works on from now on, until the next `begin`.

    Args:
        given: The header that came; where it is missing or not usable, a new id.
    """
    id_ = given if given and _USABLE(given) else uuid.uuid4().hex
    _current.set(id_)
    return id_


def end() -> None:
    """The thread has done with its request."""
    _current.set("")


def note(method: str, path: str, status: int, began: float) -> None:
    """Logs a request that is answered, where the log's level is INFO.

    Args:
        method: Such as POST.
        path: Without its query: that may hold what nobody wants in a log.
        status: Of the answer.
        began: `time.perf_counter()` when it came.
    """
    ms = round((time.perf_counter() - began) * 1000, 1)
    extra = {"method": method, "path": path, "status": status, "ms": ms}
    _access.info("%s %s %s %s ms", method, path, status, ms, extra=extra)


class RequestIdMiddleware:
    """The first: whatever goes wrong behind it is logged with the id."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        id_ = begin(request.META.get(_META))
        began = time.perf_counter()
        try:
            response = self._get_response(request)
            if _access.isEnabledFor(logging.INFO):
                note(request.method or "", request.path, response.status_code, began)
        finally:
            end()
        response.headers[HEADER] = id_
        return response
