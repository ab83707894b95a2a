"""Request bodies, checked by hand: a serializer would cost more than the answer."""

from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

from django.utils.translation import gettext as _
from rest_framework.request import Request

from labeling.api.problems import Problem
from labeling.intake import text_problem
from labeling.normalise import MAX_TEXT_CHARS
from registry.models import Feedback

MAX_TEXTS = 256
MAX_TOP_K = 20
DEFAULT_TOP_K = 3
MAX_REASON_CHARS = 2000


@dataclass(frozen=True, slots=True)
class ClassifyBody:
    """What `POST /classify` asks."""

    texts: list[str]
    is_single: bool
    top_k: int
    request_id: UUID | None


@dataclass(frozen=True, slots=True)
class FeedbackBody:
    """What `POST /feedback` says."""

    request_id: UUID
    verdict: str
    intent: str | None


@dataclass(frozen=True, slots=True)
class ActivationBody:
    """What an activation or a roll back is given beside the version."""

    reason: str
    force: bool


def read(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty one.

    Raises:
        Problem: `not_an_object`.
    """
    body = request.data
    if not isinstance(body, dict):
        _refuse("not_an_object", _("The body is not a JSON object."))
    return body


def classify(body: dict[str, Any]) -> ClassifyBody:
    """Raises Problem; the code says what is wrong."""
    text, texts = body.get("text"), body.get("texts")
    if text is not None and texts is not None:
        _refuse("both_text_and_texts", _("Send “text” or “texts”, not both."))
    if text is None and texts is None:
        _refuse("text_missing", _("Send a question as “text”, or several as “texts”."))
    if text is not None:
        asked = [_text(text)]
    elif not isinstance(texts, list):
        _refuse("texts_not_a_list", _("“texts” is not a list."))
    elif not texts:
        _refuse("text_missing", _("“texts” is empty."))
    elif len(texts) > MAX_TEXTS:
        _refuse(
            "too_many_texts",
            _("%(n)d texts; at most %(max)d at once.")
            % {"n": len(texts), "max": MAX_TEXTS},
        )
    else:
        asked = [_text(one, f"texts[{i}]") for i, one in enumerate(texts)]
    request_id = body.get("request_id")
    if request_id is not None and text is None:
        _refuse(
            "request_id_with_texts", _("A request id goes with a single “text” only.")
        )
    return ClassifyBody(
        texts=asked,
        is_single=text is not None,
        top_k=_top_k(body.get("top_k", DEFAULT_TOP_K)),
        request_id=None if request_id is None else _uuid(request_id),
    )


def feedback(body: dict[str, Any]) -> FeedbackBody:
    """Raises Problem; the code says what is wrong."""
    if body.get("request_id") is None:
        _refuse("request_id_missing", _("Send the answer's “request_id”."))
    verdict, intent = body.get("verdict"), body.get("intent")
    if verdict not in Feedback.Verdict.values:
        _refuse("invalid_verdict", _("“verdict” is “right” or “wrong”."))
    if intent is not None and not isinstance(intent, str):
        _refuse("invalid_intent", _("“intent” is not the code of an intent."))
    return FeedbackBody(_uuid(body["request_id"]), verdict, intent)


def activation(body: dict[str, Any]) -> ActivationBody:
    """Raises Problem; the code says what is wrong."""
    reason, force = body.get("reason", ""), body.get("force", False)
    if not isinstance(reason, str) or len(reason) > MAX_REASON_CHARS:
        _refuse(
            "invalid_reason",
            _("“reason” is a text of at most %(max)d characters.")
            % {"max": MAX_REASON_CHARS},
        )
    if not isinstance(force, bool):
        _refuse("invalid_force", _("“force” is true or false."))
    return ActivationBody(reason, force)


def _text(value: Any, name: str = "text") -> str:
    if not isinstance(value, str):
        _refuse("text_not_a_string", _("“%(name)s” is not a string.") % {"name": name})
    text = value.strip()
    if not text:
        _refuse("text_empty", _("“%(name)s” is empty.") % {"name": name})
    if len(text) > MAX_TEXT_CHARS:
        _refuse(
            "text_too_long",
            _("“%(name)s” has %(n)d characters; at most %(max)d.")
            % {"name": name, "n": len(text), "max": MAX_TEXT_CHARS},
        )
    if (problem := text_problem(text)) is not None:
        _refuse("text_invalid", f"{name}: {problem}")
    return text


def _top_k(value: Any) -> int:
    # True is an int to Python.
    if type(value) is not int or not 1 <= value <= MAX_TOP_K:
        _refuse(
            "invalid_top_k",
            _("“top_k” is a whole number from 1 to %(max)d.") % {"max": MAX_TOP_K},
        )
    return value


def _uuid(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        _refuse("invalid_request_id", _("“request_id” is not a UUID."))


def _refuse(code: str, detail: str) -> NoReturn:
    raise Problem(400, code, detail)
