"""What the scripts of the queue page send back."""

from dataclasses import dataclass

from django.http import QueryDict

MAX_COMMENT_CHARS = 2000
MAX_HELD = 60
"""Questions that one call may name; nobody holds more."""
_MAX_SPENT_MS = 24 * 3600 * 1000


@dataclass(frozen=True)
class Step:
    """What a card's form says."""

    question_id: int
    token: int
    intents: list[str]
    is_none: bool
    """None of the intents, on purpose; in multi-intent projects."""
    comment: str
    reason: str
    """Why it was skipped, or a reviewer's reason for the error."""
    with_duplicates: bool
    time_spent_ms: int | None

    @classmethod
    def read(cls, form: QueryDict) -> "Step | None":
        """None for a form that no card of ours sends."""
        question_id, token = (number(form.get(name)) for name in ("question", "token"))
        if question_id is None or token is None:
            return None
        spent = number(form.get("time_spent_ms"))
        return cls(
            question_id=question_id,
            token=token,
            intents=[_text(code) for code in form.getlist("intent") if code],
            is_none=form.get("none") == "1",
            comment=_text(form.get("comment", "")),
            reason=_text(form.get("reason", "")),
            with_duplicates=form.get("duplicates") == "1",
            time_spent_ms=None if spent is None else min(spent, _MAX_SPENT_MS),
        )


def held(form: QueryDict) -> dict[int, int] | None:
    """Tokens by question id, from fields `held=<question>:<token>`.

    None for a form that no page of ours sends.
    """
    tokens: dict[int, int] = {}
    for pair in form.getlist("held"):
        question_id, token = (number(part) for part in (*pair.split(":"), "", "")[:2])
        if question_id is None or token is None:
            return None
        tokens[question_id] = token
    return tokens if len(tokens) <= MAX_HELD else None


def numbers(text: str) -> set[int]:
    """Whole numbers out of "1,2,3"; what is none is left out."""
    found = (number(part) for part in text.split(",")[:MAX_HELD])
    return {one for one in found if one is not None}


def number(text: str | None) -> int | None:
    """A whole number that fits a bigint."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    return int(text)


def _text(text: str) -> str:
    return text.replace("\0", "").strip()[:MAX_COMMENT_CHARS]
