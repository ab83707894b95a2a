"""`manage.py up`: everything on this machine, until Ctrl-C."""

import os
import secrets
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils.translation import gettext as _

from tuneloop import embedded, web
from tuneloop.embedded.locks import try_lock
from tuneloop.embedded.paths import run_file
from tuneloop.supervision import Program, Supervisor

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WEB_ANSWERS_S = 90.0
_LOOK_EVERY_S = 1.0
_MIGRATE_LOCK = 7106651
"""Any number: two machines of a team must not migrate at the same time."""
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class Command(BaseCommand):
    help = "Runs everything on this machine: services, web, worker and scheduler."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help=_("Address to serve."))
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument(
            "--demo", action="store_true", help=_("Fill in the sample project.")
        )
        parser.add_argument("--web-processes", type=_at_least_one, default=2)
        parser.add_argument("--workers", type=_at_least_one, default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        # One way out for Ctrl-C, `kill` and a closed terminal; Ctrl-C is named because
        # a shell starts background commands with it ignored.
        for sig in _STOP_SIGNALS:
            signal.signal(sig, signal.default_int_handler)
        host, port = options["host"], options["port"]
        lock = run_file(settings.HOME, "up.lock")
        lock.parent.mkdir(mode=0o700, exist_ok=True)
        held = try_lock(lock)
        if held is None:
            raise CommandError(
                _("Tuneloop already runs on %(home)s: %(address)s")
                % {"home": settings.HOME, "address": lock.read_text().strip()}
            )
        address = _address(host, port)
        os.ftruncate(held, 0)
        os.write(held, address.encode())
        _check_port(host, port)

        supervisor = Supervisor(settings.HOME, _programs(options))
        password = ""
        try:
            self._say(_("Preparing the database ..."))
            _migrate()
            password = _first_login()
            if options["demo"]:
                from tuneloop.demo import seed

                seed(self._say)
            supervisor.start()
            self._wait_for_web(supervisor, address)
            self._say(_("Tuneloop runs at %s") % address)
            password = self._tell(password)
            self._say(_("Ctrl-C stops it. Logs: %s") % (settings.HOME / "logs"))
            self._look_after(supervisor)
        except KeyboardInterrupt:
            self._say(_("Stopping ..."))
        finally:
            for sig in _STOP_SIGNALS:
                signal.signal(sig, signal.SIG_IGN)
            self._tell(password)  # not lost when the start was interrupted
            connection.close()
            supervisor.stop()

    def _tell(self, password: str) -> str:
        """Prints the first login, if there is one; returns what is left to print."""
        if password:
            self._say(_("First login: admin / %s") % password)
        return ""

    def _wait_for_web(self, supervisor: Supervisor, address: str) -> None:
        deadline = time.monotonic() + _WEB_ANSWERS_S
        while not _answers(address):
            log = settings.HOME / "logs" / "web.log"
            if not supervisor.is_running():
                log = log.with_name("supervisord.log")
            elif time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            raise CommandError(
                _("The web server did not start: %(reason)s (%(log)s)")
                % {"reason": _last_line(log), "log": log}
            )

    def _look_after(self, supervisor: Supervisor) -> None:
        """Until Ctrl-C: supervisord looks after the programs, this after the rest."""
        while supervisor.is_running():
            time.sleep(_LOOK_EVERY_S)
            for line in supervisor.news():
                self._warn(line)
            try:
                for service in embedded.revive():
                    self._warn(_("%s was started again") % service)
            except embedded.ServiceError as error:
                self._warn(str(error))
        raise CommandError(_("The process manager ended; everything is stopped."))

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _warn(self, text: str) -> None:
        self.stderr.write(self.style.WARNING(text))
        self.stderr.flush()


def _migrate() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_MIGRATE_LOCK])
        call_command("migrate", interactive=False, verbosity=0)
        cursor.execute("SELECT pg_advisory_unlock(%s)", [_MIGRATE_LOCK])


def _first_login() -> str:
    """Makes the superuser `admin` if nobody exists; returns a password, or ""."""
    users = get_user_model()._default_manager
    if users.exists():
        return ""
    password = secrets.token_urlsafe(12)
    users.create_superuser("admin", password=password)
    return password


def _programs(options: dict[str, Any]) -> list[Program]:
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    granian = web.command(
        host=options["host"],
        port=options["port"],
        processes=options["web_processes"],
    )
    # Trainings keep their workers for minutes; imports, fresh priorities and the sweeps
    # that find a crashed training must not wait behind them.
    trainer = [*manage, "rqworker", "training"]
    names = ["trainer", *(f"trainer-{n}" for n in range(2, options["workers"] + 1))]
    return [
        Program("web", granian, "web"),
        *(Program(name, trainer, "worker") for name in names),
        Program("worker", [*manage, "rqworker", "default"], "worker"),
        Program("scheduler", [*manage, "scheduler"], "scheduler"),
    ]


def _address(host: str, port: int) -> str:
    host = _WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise CommandError(
                _("Port %(port)s cannot be used (%(reason)s): choose another, --port.")
                % {"port": port, "reason": error}
            ) from error


def _answers(address: str) -> bool:
    # Our own address: not through a proxy that the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"{address}healthz", timeout=5).close()
    except urllib.error.HTTPError as error:
        # It runs; whether it is healthy is what /healthz and `doctor` say.
        error.close()
    except OSError:
        return False
    return True


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1].strip() if lines else _("no reason given")


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number
