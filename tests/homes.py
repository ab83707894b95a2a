"""Data folders for tests that start the embedded services themselves."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""


@contextlib.contextmanager
def temporary_home() -> Iterator[Path]:
    """A data folder for embedded services of a test's own.

    Not below pytest's `tmp_path`: every start of pytest closes the folder above it to
    other users, and one of those is PostgreSQL's when root runs the tests.
    """
    with tempfile.TemporaryDirectory(prefix="tuneloop-home-") as folder:
        yield Path(folder)


def newcomer(home: Path) -> dict[str, str]:
    """The environment of a newcomer: no servers named, an own data folder."""
    gone = ("DATABASE_URL", "REDIS_URL", "TUNELOOP_SECRET_KEY")
    env = {k: v for k, v in os.environ.items() if k not in gone}
    # How full this machine is says nothing of the code.
    return {**env, "TUNELOOP_HOME": str(home), "TUNELOOP_DISK_NEEDED_GIB": "0.1"}
