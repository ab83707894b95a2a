"""The WSGI application that a web server loads."""

import gc
import multiprocessing
import os
import threading

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import resolve

from tuneloop import web
from tuneloop.connections import Lending
from tuneloop.embedded.parent import die_with_parent
from tuneloop.main import make_home
from tuneloop.unread import ReadToEnd

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tuneloop.settings")
# Background threads (reloading, logging) are started in web processes only.
os.environ.setdefault("TUNELOOP_ROLE", "web")
# A batch is cut into tokens in 0.3 ms; its threads would look for work for longer.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

make_home()
if "TUNELOOP_UP" in os.environ and (master := multiprocessing.parent_process()):
    # A killed master would leave its processes behind, on a port that is then taken.
    die_with_parent(parent_pid=master.pid)

_django = get_wsgi_application()

from labeling.api.parsers import MAX_BODY_BYTES  # noqa: E402  # imports settings
from registry.api import lane  # noqa: E402  # imports models


def _needs_no_database(path: str) -> bool:
    """Probes, files and classify calls, which must not wait for pages to be done."""
    return path in _WITHOUT or path.startswith(settings.STATIC_URL)


def _settle() -> None:
    """Imports what the first page would wait for, and calls all of it permanent."""
    # Ordinary classify calls never come to the pages' code; the first call that does
    # must not wait seconds for its import.
    resolve(lane.PATH)
    # The collector need not look at some hundred thousand objects again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)


_GC_THRESHOLD = (20_000, 20, 20)
_WITHOUT = {lane.PATH, "/healthz", "/readyz", "/metrics"}
application = lane.Lane(
    ReadToEnd(
        Lending(_django, bound=web.CONNECTIONS, without=_needs_no_database),
        most_bytes=MAX_BODY_BYTES,
    )
)

if multiprocessing.parent_process() is not None:
    # A process of the server, not its master: loads what it will be asked for.
    from registry import metrics
    from registry.rollout import watch
    from registry.serving import journal, listener

    journal.start()  # takes over what an ended process left, asked or not
    listener.start()
    watch.start()
    metrics.start()
    threading.Thread(target=_settle, name="tuneloop-settle", daemon=True).start()
