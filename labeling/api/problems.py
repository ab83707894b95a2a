"""Errors of the API as RFC 9457 problem objects with a stable `code`."""

import logging
import math
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views import defaults
from rest_framework import exceptions, serializers
from rest_framework.response import Response

from labeling.api import request_ids

CONTENT_TYPE = "application/problem+json"
_logger = logging.getLogger(__name__)


class Problem(exceptions.APIException):
    """An error that a call answers with.

    Args:
        status: HTTP status.
        code: Stable snake_case word that clients may branch on.
        detail: One translated sentence for a person.
        extra: Further members of the problem object, JSON values.
    """

    def __init__(self, status: int, code: str, detail: str, **extra: Any) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.extra = extra


class ProblemSerializer(serializers.Serializer[dict[str, Any]]):
    """A problem object, for the OpenAPI schema."""

    type = serializers.URLField(default="about:blank")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(help_text="Stable; branch on this.")
    instance = serializers.CharField(  # type: ignore[assignment]  # a field's name
        required=False,
        help_text="`urn:request:` and the request's id, which the answer's header "
        "`X-Request-Id` and the server's log lines carry, too.",
    )
    errors = serializers.DictField(  # type: ignore[assignment]  # a field's name
        required=False, help_text="With `invalid`: messages by field."
    )


def responses(*statuses: int) -> dict[tuple[int, str], type[ProblemSerializer]]:
    """The problem answers of a call, for `extend_schema(responses=...)`."""
    return {(status, CONTENT_TYPE): ProblemSerializer for status in statuses}


def body(status: int, code: str, detail: str, **extra: Any) -> dict[str, Any]:
    """A problem object's members."""
    request_id = request_ids.current()
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        # What the log lines of this request carry, for who reports it.
        **({"instance": f"urn:request:{request_id}"} if request_id else {}),
        **extra,
    }


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response:
    """REST framework's hook: every exception of an API view becomes a problem."""
    problem = _translate(exc)
    if problem is None:
        # What Django does for its own views, so that test clients and error
        # reporters see the exception; the client learns no details.
        request = context["request"]._request
        got_request_exception.send(sender=exception_handler, request=request)
        _logger.error("%s %s failed", request.method, request.path, exc_info=exc)
        problem = Problem(500, "server_error", _("Something went wrong on the server."))
    status = problem.status_code
    response = Response(
        body(status, str(problem.get_codes()), str(problem.detail), **problem.extra),
        status=status,
        content_type=CONTENT_TYPE,
    )
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Api-Key realm="tuneloop"'
    if wait := getattr(exc, "wait", None) or problem.extra.get("retry_after_s"):
        response["Retry-After"] = str(math.ceil(wait))
    return response


def _translate(exc: Exception) -> Problem | None:
    """The problem that an exception stands for; None for one that nobody expected."""
    match exc:
        case Problem():
            return exc
        case exceptions.ValidationError():
            return _invalid(exc.detail)
        case DjangoValidationError():
            return _invalid(exceptions.ValidationError(_messages(exc)).detail)
        case exceptions.APIException():
            return Problem(exc.status_code, _code_of(exc), str(exc.detail))
        case Http404():
            return Problem(404, "not_found", _("There is no such thing here."))
        case PermissionDenied():
            detail = str(exc) or _("You may not do this.")
            return Problem(403, "permission_denied", detail)
        case RequestDataTooBig():
            return Problem(413, "body_too_large", _("The request's body is too large."))
        case SuspiciousOperation():
            return Problem(400, "bad_request", _("The request makes no sense."))
        case OperationalError() | InterfaceError():
            # The database is away or chose this transaction as a deadlock's victim.
            _logger.error("database not available", exc_info=exc)
            detail = _("The database is not available. Try again soon.")
            return Problem(503, "unavailable", detail, retry_after_s=1)
    return None


def _code_of(exc: exceptions.APIException) -> str:
    codes = exc.get_codes()
    return codes if isinstance(codes, str) else str(exc.default_code)


def _invalid(detail: Any) -> Problem:
    errors = detail if isinstance(detail, dict) else {"non_field_errors": detail}
    return Problem(400, "invalid", _("Some fields are not valid."), errors=errors)


def _messages(exc: DjangoValidationError) -> dict[str, list[str]] | list[str]:
    return exc.message_dict if hasattr(exc, "error_dict") else exc.messages


# --- Errors that no API view sees: unknown addresses, bad hosts, middleware --------


def _plain(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponse:
    return JsonResponse(
        body(status, code, detail), status=status, content_type=CONTENT_TYPE
    )


def _is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's `handler400`."""
    if _is_api(request):
        return _plain(request, 400, "bad_request", _("The request makes no sense."))
    return defaults.bad_request(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's `handler404`."""
    if _is_api(request):
        return _plain(request, 404, "not_found", _("There is no such address."))
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`; Django has logged the exception."""
    if _is_api(request):
        detail = _("Something went wrong on the server.")
        return _plain(request, 500, "server_error", detail)
    return defaults.server_error(request)
