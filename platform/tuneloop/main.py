"""What runs before Django: the data folder, its secret key, the embedded services."""

import atexit
import os
import secrets
import sys
from pathlib import Path

from tuneloop import embedded

_WITHOUT_SERVICES = {
    "help",
    "version",
    "check",
    "diffsettings",
    "collectstatic",
    "findstatic",
    "makemessages",
    "compilemessages",
    "spectacular",
    "error_table",
}
"""Commands that read no data; any other, a new one too, finds its servers running."""


def data_folder() -> Path:
    """The folder that `tuneloop.settings` calls HOME, before settings are read."""
    return Path(os.environ.get("TUNELOOP_HOME") or Path.cwd() / "var").resolve()


def make_home() -> Path:
    """Makes the data folder and its secret key, and tells child processes of it.

    Safe when several processes do it at the same time.

    Returns:
        The folder, as an absolute path.
    """
    home = data_folder()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["TUNELOOP_HOME"] = str(home)
    secret = home / "secret_key"
    if not secret.exists():
        aside = home / f"secret_key.{secrets.token_hex(4)}"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_urlsafe(50))
        try:
            os.link(aside, secret)  # fails where another process was first
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return home


def needs_services(argv: list[str]) -> bool:
    """Whether a command line needs the database and the queue."""
    if len(argv) < 2 or {"-h", "--help", "--version"} & set(argv[1:]):
        return False
    return argv[1] not in _WITHOUT_SERVICES


def main(argv: list[str]) -> None:
    """Runs one management command and leaves nothing running that it started.

    Args:
        argv: The command line, the program's name first.
    """
    try:
        if needs_services(argv):
            _provide()
        from django.core.management import execute_from_command_line

        execute_from_command_line(argv)
    except KeyboardInterrupt:
        sys.exit(130)


def _provide() -> None:
    try:
        home = make_home()
        atexit.register(embedded.release)
        embedded.provide(home)
    except (embedded.ServiceError, OSError) as error:
        sys.exit(f"Tuneloop cannot start: {error}")
