"""What may be a question's text and an intent's code."""

from django.utils.translation import gettext as _

from labeling.models import Intent
from labeling.normalise import MAX_TEXT_CHARS

_MAX_CODE_CHARS = Intent._meta.get_field("code").max_length or 100


def text_problem(text: str) -> str | None:
    """Why a text can't be a question, as a phrase for people; None if it can."""
    if not text or text.isspace():
        return _("no text")
    if len(text) > MAX_TEXT_CHARS:
        return _("the text is too long: %(n)s characters, at most %(max)s") % {
            "n": len(text),
            "max": MAX_TEXT_CHARS,
        }
    if "\x00" in text:
        return _("the text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:  # "\ud800" in JSON: half of a character
        return _("the text holds half a character (a lone surrogate)")
    return None


def code_problem(code: str) -> str | None:
    """Why a code can't name an intent, as a phrase for people; None if it can."""
    if not code or code != code.strip():
        return _("the intent code is empty or begins or ends with a space")
    if not code.isprintable():
        return _("the intent code holds characters that don't print")
    if len(code) > _MAX_CODE_CHARS:
        return _("the intent code is too long: %(n)s characters, at most %(max)s") % {
            "n": len(code),
            "max": _MAX_CODE_CHARS,
        }
    return None
