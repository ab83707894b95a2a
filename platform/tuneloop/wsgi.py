"""The WSGI application that a web server loads."""

import multiprocessing
import os

from django.core.wsgi import get_wsgi_application

from tuneloop.embedded.parent import die_with_parent
from tuneloop.main import make_home

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tuneloop.settings")
# Background threads (reloading, logging) are started in web processes only.
os.environ.setdefault("TUNELOOP_ROLE", "web")

make_home()
if "TUNELOOP_UP" in os.environ and (master := multiprocessing.parent_process()):
    # A killed master would leave its processes behind, on a port that is then taken.
    die_with_parent(parent_pid=master.pid)

_django = get_wsgi_application()

from registry.api.lane import Lane  # noqa: E402  # imports models

application = Lane(_django)

if multiprocessing.parent_process() is not None:
    # A process of the server, not its master: loads what it will be asked for.
    from registry import metrics
    from registry.rollout import watch
    from registry.serving import journal, listener

    journal.start()  # takes over what an ended process left, asked or not
    listener.start()
    watch.start()
    metrics.start()
