"""Every test run has a data folder, a PostgreSQL and a Valkey of its own."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.homes import ROOT, newcomer, temporary_home

_MAX_WORKERS = 4
"""Each may hold a model in training, about 2 GB."""

_home: Path | None = None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite in several processes, each with servers of its own.

    A few named tests stay in this one: starting a second database takes longer.
    """
    is_whole = config.args == config.getini("testpaths")
    return min(os.cpu_count() or 1, _MAX_WORKERS) if is_whole else 0


# Before pytest-django sets Django up. The settings module is named here and not in
# pyproject.toml, because pytest-django would then read it before this file.
@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    global _home
    if config.getoption("numprocesses") and not hasattr(config, "workerinput"):
        return  # this process only hands out the tests
    from django.conf import settings

    if settings.configured:
        raise pytest.UsageError(
            "Unset DJANGO_SETTINGS_MODULE: the tests start their own services first."
        )
    # Never the developer's own data, whatever the environment says.
    _home = Path(tempfile.mkdtemp(prefix="tuneloop-tests-"))
    os.environ["TUNELOOP_HOME"] = str(_home)
    os.environ["TUNELOOP_DISK_NEEDED_GIB"] = "0.1"
    os.environ["DJANGO_SETTINGS_MODULE"] = "tuneloop.settings"

    from tuneloop import embedded
    from tuneloop.main import make_home

    make_home()
    embedded.provide(_home)
    # A slow hash protects real passwords; here it is most of what a sign-in costs.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if _home is not None:
        from tuneloop import embedded

        embedded.release()
        shutil.rmtree(_home, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """The embedded database of a test run need not survive a power cut."""
    from django.conf import settings

    if str(_home) not in str(settings.DATABASES["default"]):
        return  # a team's own server, named by DATABASE_URL
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        # A gigabyte otherwise, which the folder's disk may not have.
        connection.execute("ALTER SYSTEM SET max_wal_size = '128MB'")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(autouse=True)
def _no_language_of_before() -> None:
    """A page asked for in Chinese leaves its thread in Chinese, for the next test."""
    from django.utils import translation

    translation.deactivate()


@pytest.fixture
def process_env(transactional_db: Any) -> dict[str, str]:
    """The environment for a real process that shall see this test's database."""
    from urllib.parse import urlsplit, urlunsplit

    from django.db import connection

    url = urlsplit(os.environ["DATABASE_URL"])
    name = connection.settings_dict["NAME"]
    return {
        **os.environ,
        "DATABASE_URL": urlunsplit(url._replace(path=f"/{name}")),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }


@pytest.fixture
def clean_env() -> Iterator[dict[str, str]]:
    """The environment of a newcomer whose data folder is not there yet."""
    with temporary_home() as folder:
        yield newcomer(folder / "home")


@pytest.fixture
def manage() -> list[str]:
    """The start of a command line: `[*manage, "doctor"]`."""
    return [sys.executable, str(ROOT / "manage.py")]
