"""An id for every HTTP request: in its answer, its problem object and its log lines."""

import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

HEADER = "X-Request-Id"
_META = "HTTP_X_REQUEST_ID"
_USABLE = re.compile(r"[A-Za-z0-9._:-]{1,64}").fullmatch
"""What goes into log lines and headers as it came."""

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


class RequestIdMiddleware:
    """The first: whatever goes wrong behind it is logged with the id."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        id_ = begin(request.META.get(_META))
        try:
            response = self._get_response(request)
        finally:
            end()
        response.headers[HEADER] = id_
        return response
