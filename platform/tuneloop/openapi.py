"""The OpenAPI schema's finish: summaries, scopes, error codes, headers, a table."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

from labeling.api.codes import COMMON, LABELING, ErrorCode
from labeling.api.problems import CONTENT_TYPE
from labeling.models import ApiKey
from registry.api.codes import REGISTRY
from training.api.codes import TRAINING

ERRORS: tuple[ErrorCode, ...] = (*COMMON, *REGISTRY, *LABELING, *TRAINING)
"""Every code that the API answers with."""

_EVERYWHERE = (401, 403, 406, 503)
_WITH_A_BODY = (413, 415)
_WITH_AN_ID = (404,)
_PROBLEM = {
    "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
}
_TAGS = {
    "classify": "Classify",
    "feedback": "Classify",
    "stats": "Label",
    "questions": "Label",
    "keywords": "Label",
    "batches": "Train",
    "versions": "Versions",
}
_REQUEST_ID = {
    "X-Request-Id": {
        "description": "The request's id: the one that was sent, or a new one. The "
        "server's log lines carry it.",
        "required": True,
        "schema": {"type": "string"},
    }
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1},
    }
}
_INTRODUCTION = """
Classify questions, label the doubtful ones, train, activate.

Every call takes an API key of one project: `Authorization: Api-Key <key>`. Its scope is
`classify`, `label` or `manage`; each reaches as far as those before it, too.

Every answer has an `X-Request-Id`. Messages are in the language of `Accept-Language`
(`en`, `zh-hans`).

Classifying is safe to repeat: with a `request_id` of your own, the same question gets
the same answer and is counted once.

## Errors

Errors are RFC 9457 problem objects, `application/problem+json`. Branch on `code`; the
`detail` is for people. With a `Retry-After` the same call may work later.

"""


class Schema(AutoSchema):
    """Gives each operation its first line as a summary, and says the key's scope."""

    def get_summary(self) -> str | None:
        return super().get_description().strip().partition("\n")[0] or None

    # drf-spectacular asks without arguments, unlike REST framework's own inspector.
    def get_description(self) -> str:  # type: ignore[override]
        rest = super().get_description().strip().partition("\n")[2].strip()
        scope = getattr(self.view, "required_scope", ApiKey.Scope.MANAGE)
        return f"{rest}\n\nScope: `{scope}`.".strip()


def finish(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """drf-spectacular's hook: says what each answer may be and what it carries."""
    result["info"]["description"] = _INTRODUCTION.strip() + "\n\n" + error_table()
    for path, methods in result["paths"].items():
        for operation in methods.values():
            _finish(operation, path)
    return result


def _finish(operation: dict[str, Any], path: str) -> None:
    for segment, tag in _TAGS.items():
        if f"/{segment}" in path:
            operation["tags"] = [tag]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path" and parameter["schema"].get("type") == "integer":
            parameter["schema"]["minimum"] = 1
    answers = operation["responses"]
    statuses = {
        *_EVERYWHERE,
        *(_WITH_A_BODY if "requestBody" in operation else ()),
        *(_WITH_AN_ID if "{" in path else ()),
        *(error.status for error in ERRORS if operation["operationId"] in error.calls),
    }
    for status in statuses:
        answers.setdefault(str(status), dict(_PROBLEM))
    for status, answer in answers.items():
        answer["description"] = _about(int(status), operation["operationId"])
        answer["headers"] = dict(_REQUEST_ID)
        if status in ("429", "503"):
            answer["headers"] |= _RETRY_AFTER
    operation["responses"] = dict(sorted(answers.items()))


def _about(status: int, operation_id: str) -> str:
    if status < 300:
        return "As asked." if status != 202 else "Accepted: a worker does it."
    codes = [
        f"`{error.code}`: {error.means}"
        for error in ERRORS
        if error.status == status
        and (not error.calls or operation_id in error.calls)
        and error.code != "bad_request"
    ]
    return "\n\n".join(codes)


def error_table() -> str:
    """All codes as a Markdown table, by status."""
    lines = ["| status | code | means | do | calls |", "|---|---|---|---|---|"]
    for error in sorted(ERRORS, key=lambda error: error.status):
        calls = ", ".join(f"`{call}`" for call in error.calls) or "any"
        cells = (str(error.status), f"`{error.code}`", error.means, error.do, calls)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
