"""How log lines look: one text line, or one JSON object, with the request's id."""

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

from labeling.api import request_ids

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {
    *("message", "asctime", "request_id", "taskName"),
    "request",  # Django's: an object; its path is in the message
}
"""Attributes that every record has; others were given by who logged."""


class RequestIdFilter(logging.Filter):
    """Gives each record the id of the request that its thread works on, or "-"."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_ids.current() or "-"
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines that collect logs.

    {at, level, logger, message, process, thread, role}, with `request_id` inside of a
    request, `error` with a traceback, and whatever was given as `extra`.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "role": os.environ.get("TUNELOOP_ROLE", "command"),
            "process": record.process,
            "thread": record.threadName,
        }
        if request_id := request_ids.current():
            line["request_id"] = request_id
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        line |= {k: v for k, v in record.__dict__.items() if k not in _OWN}
        # Not orjson: half a surrogate pair must not lose the line that says so.
        return json.dumps(line, default=str, ensure_ascii=False)


def config(*, level: str, is_json: bool) -> dict[str, Any]:
    """Django's `LOGGING`.

    Args:
        level: Of what is logged; at INFO and below each HTTP request is a line.
        is_json: JSON objects rather than text.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "tuneloop.logs.RequestIdFilter"}},
        "formatters": {
            "line": {
                "format": "{asctime} {levelname} {name} [{request_id}] {message}",
                "style": "{",
            },
            "json": {"()": "tuneloop.logs.JsonFormatter"},
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "json" if is_json else "line",
                "filters": ["request_id"],
            }
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # The web server's own lines, which come with a handler of their own.
            "_granian": {"handlers": ["console"], "propagate": False}
        },
    }
