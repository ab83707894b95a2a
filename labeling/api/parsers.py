"""Reads JSON bodies strictly: what the database cannot hold is the client's error."""

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from django.core.exceptions import RequestDataTooBig
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

MAX_BODY_BYTES = 4 * 1024 * 1024
"""256 texts of 2,000 characters, each of up to 6 bytes as a JSON escape, fit."""


class StrictJSONParser(JSONParser):
    """UTF-8 JSON (RFC 8259) without what no column and no float can hold."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Any = None,
    ) -> Any:
        """Raises ParseError (`malformed_json`) or RequestDataTooBig."""
        # One byte more than allowed: nobody makes the server hold a gigabyte.
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise RequestDataTooBig
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            _refuse(_("The body is not UTF-8 (byte %(at)d).") % {"at": error.start})
        try:
            value = json.loads(
                text,
                parse_constant=_no_constant,
                parse_float=_finite,
                parse_int=_64_bits,
            )
        except RecursionError:
            _refuse(_("The JSON is nested too deeply."))
        except ValueError as error:
            _refuse(_("The body is not JSON: %(why)s.") % {"why": error})
        # Such characters come in as \u escapes alone.
        if "\\u" in text and not all(map(_is_text, _strings(value))):
            _refuse(_("A text holds NUL or half of a surrogate pair."))
        return value


def _refuse(detail: str) -> NoReturn:
    raise ParseError(detail, code="malformed_json")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


def _64_bits(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= (value := int(digits)) < 2**63:
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, names of members too."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
