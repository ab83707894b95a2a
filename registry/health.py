"""Whether this process lives, and whether it may be sent requests. Open to all."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from registry.serving import listener


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers at all; looks at nothing."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 once the versions that were active at the start are loaded, 503 until then.

    A version that cannot be loaded is served by rules and does not count: one broken
    project must not take the others out of service.
    """
    listener.start()
    ready = listener.is_ready()
    status = "ready" if ready else "loading"
    return JsonResponse({"status": status}, status=200 if ready else 503)
