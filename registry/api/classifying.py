"""One classify call from its checked body to its answer; every way in ends here."""

from typing import Any

from django.utils.translation import gettext as _

from labeling.api.problems import Problem
from labeling.models import ApiKey
from registry.api.bodies import ClassifyBody
from registry.serving import limits, listener, measures
from registry.serving.ask import ask, ask_once
from registry.serving.engine import Target
from registry.serving.journal import JournalFull, RequestIdTaken

REFUSALS = (
    limits.RateLimited,
    limits.Busy,
    listener.NotLoaded,
    RequestIdTaken,
    JournalFull,
)
"""What `answer` raises where nothing went wrong; `problem_of` says it to clients."""


def answer(target: Target, key: ApiKey, body: ClassifyBody) -> dict[str, Any]:
    """The REST answer, which is in the log.

    Raises one of `REFUSALS`; then nothing was answered or written.
    """
    with limits.admitted(key, len(body.texts)):
        listener.prepare(target)
        if body.request_id is not None:
            answered = ask_once(
                target,
                body.texts[0],
                request_id=body.request_id,
                top_k=body.top_k,
                client=key,
            )
            return answered.as_json()
        results = [
            one.as_json()
            for one in ask(target, body.texts, top_k=body.top_k, client=key)
        ]
    return results[0] if body.is_single else {"results": results}


def problem_of(error: Exception) -> Problem:
    """The problem object of one of `REFUSALS`, in the language that is active."""
    match error:
        case limits.RateLimited():
            detail = _("This key may have %(n)d texts a minute classified.")
            return Problem(
                429,
                "rate_limited",
                detail % {"n": error.limit},
                retry_after_s=error.retry_after_s,
            )
        case limits.Busy():
            detail = _("The server is busy. Try again in a second.")
            return Problem(503, "busy", detail, retry_after_s=error.retry_after_s)
        case listener.NotLoaded():
            detail = _("This project is being loaded. Try again in a second.")
            return Problem(503, "unavailable", detail, retry_after_s=1)
        case RequestIdTaken():
            detail = _("This request id was used for another question.")
            return Problem(409, "request_id_taken", detail)
        case JournalFull():
            measures.count("shed", reason="journal_full")
            detail = _(
                "The database is away, and there is no room left on this machine to"
                " keep answers for it."
            )
            return Problem(503, "journal_full", detail, retry_after_s=5)
    raise TypeError(error)
