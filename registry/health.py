"""What load balancers, orchestrators and Prometheus ask a web process.

Answered before everything else: a probe names an address of its own as the host, has
no session, and must not wait for a database that is away.
"""

from collections.abc import Callable
from secrets import compare_digest

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from registry import metrics
from registry.serving import listener

_LOOPBACK = {"127.0.0.1", "::1"}
_FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")


def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers at all; looks at nothing."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """200 once the versions that were active at the start are loaded, 503 until then.

    A version that cannot be loaded is served by rules and does not count: one broken
    project must not take the others out of service.
    """
    listener.start()
    ready = listener.is_ready()
    status = "ready" if ready else "loading"
    return JsonResponse({"status": status}, status=200 if ready else 503)


def prometheus(request: HttpRequest) -> HttpResponse:
    """The measures of all processes of this machine, to who holds METRICS_TOKEN.

    Without one they are shown to this machine alone, and to nobody behind a proxy of
    this machine.
    """
    if not _may_read(request):
        return HttpResponse(
            "Send TUNELOOP_METRICS_TOKEN: “Authorization: Bearer <token>”.\n",
            status=401,
            content_type="text/plain; charset=utf-8",
            headers={"WWW-Authenticate": 'Bearer realm="tuneloop metrics"'},
        )
    return HttpResponse(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and compare_digest(
            token.strip().encode(), settings.METRICS_TOKEN.encode()
        )
    is_forwarded = any(request.META.get(name) for name in _FORWARDED)
    return request.META.get("REMOTE_ADDR") in _LOOPBACK and not is_forwarded


_PROBES = {"/healthz": healthz, "/readyz": readyz, "/metrics": prometheus}


class ProbeMiddleware:
    """Answers the three addresses; anything else goes on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = _PROBES.get(request.path_info)
        if probe is None:
            return self._get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
        response = probe(request)
        response.headers["Cache-Control"] = "no-store"
        return response
