"""The error codes of the API: those of every call, and labeling's own.

A code is stable: clients branch on it. The error table and the OpenAPI schema are made
from these lists; a test finds every code that the sources use and that is not listed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """A code that problem objects carry."""

    status: int
    code: str
    means: str
    """One English sentence."""
    do: str
    """What a client does about it."""
    calls: tuple[str, ...] = ()
    """Operation ids; none: any call."""


COMMON = (
    ErrorCode(
        400,
        "malformed_json",
        "The body is not JSON in UTF-8, or holds what no text or number can be.",
        "Mend the body.",
    ),
    ErrorCode(
        400,
        "bad_request",
        "The request makes no sense, such as one for a host that is not served here.",
        "Mend the request.",
    ),
    ErrorCode(
        401,
        "key_missing",
        "No API key was sent.",
        "Send `Authorization: Api-Key <key>`.",
    ),
    ErrorCode(
        401,
        "invalid_key",
        "The key is wrong, revoked, or its user may not sign in any more.",
        "Ask a manager for a key.",
    ),
    ErrorCode(
        403,
        "scope_too_small",
        "The call needs a key that reaches further.",
        "Use a key with the scope that the message names.",
    ),
    ErrorCode(
        403,
        "permission_denied",
        "The key's user may not do this in the project.",
        "Ask a manager for a role in the project.",
    ),
    ErrorCode(
        404,
        "not_found",
        "There is nothing at this address, or not in the key's project.",
        "Look at the id.",
    ),
    ErrorCode(
        405,
        "method_not_allowed",
        "The address exists, the method does not.",
        "See the answer's `Allow` header.",
    ),
    ErrorCode(
        406,
        "not_acceptable",
        "The `Accept` header rules JSON out.",
        "Accept `application/json`, or leave the header out.",
    ),
    ErrorCode(
        413,
        "body_too_large",
        "The body is larger than 4 MiB.",
        "Send fewer texts at once.",
    ),
    ErrorCode(
        415,
        "unsupported_media_type",
        "The body is not sent as JSON.",
        "Send `Content-Type: application/json`.",
    ),
    ErrorCode(
        500,
        "server_error",
        "Something went wrong on the server.",
        "Try again; report the answer's `X-Request-Id` if it stays.",
    ),
    ErrorCode(
        503,
        "unavailable",
        "The database or the queue does not answer.",
        "Try again after `Retry-After` seconds.",
    ),
)
"""What any call may answer."""

_FORMS = ("label_question", "unlabeled_questions", "extract_keywords")

LABELING = (
    ErrorCode(
        400,
        "invalid",
        "Some fields are not valid; `errors` says which, and why.",
        "Mend those fields.",
        (*_FORMS, "batches_create", "batches_list"),
    ),
    ErrorCode(
        409,
        "stale_lease",
        "Somebody else has the question by now; nothing was written.",
        "Claim questions again.",
        ("label_question",),
    ),
    ErrorCode(
        422,
        "unknown_intent",
        "The project has no intent of this code; `intents` lists those.",
        "Look at the project's intents.",
        ("label_question",),
    ),
    ErrorCode(
        422,
        "wrong_number_of_intents",
        "A question of this project has exactly one intent.",
        "Send one.",
        ("label_question",),
    ),
)
