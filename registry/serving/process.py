"""Which kind of process this is: only web processes serve from memory."""

import os

ROLE = "TUNELOOP_ROLE"
"""Variable that is `web` in a web process; `tuneloop.wsgi` and `up` set it."""


def is_web() -> bool:
    """Whether this process answers client apps.

    Its request threads never ask the database: what they need is in memory or comes
    through a bounded wait. Every other process asks the database as it goes.
    """
    return os.environ.get(ROLE) == "web"
