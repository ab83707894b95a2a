"""`manage.py doctor`: one line each, with what to do; exit code 1 if any fails."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import django_rq
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from tuneloop import doctor
from tuneloop.doctor import Examination, Finding, State, examine
from tuneloop.embedded.locks import try_lock

NAMES = (
    *("database", "migrations", "Valkey", "workers", "artifacts", "base model"),
    *("torch", "disk"),
)


def find(name: str, *, strict: bool = False) -> Finding:
    (found,) = [e for e in doctor.examinations(strict=strict) if e.name == name]
    return examine(found)


def test_a_good_installation_has_a_line_for_each_thing(
    manage: list[str], process_env: dict[str, str], tmp_path: Path
) -> None:
    env = {**process_env, "TUNELOOP_HOME": str(tmp_path)}
    del env["REDIS_URL"]  # an embedded queue without `up`: no worker is expected
    done = subprocess.run([*manage, "doctor"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(NAMES)
    for line, name in zip(lines, NAMES, strict=True):
        assert re.match(rf"(ok|note) +{name} ", line), line
    assert "torch       2.13" in done.stdout


def test_failures_say_what_to_do_and_exit_with_1(
    manage: list[str], clean_env: dict[str, str]
) -> None:
    env = {
        **clean_env,
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "TUNELOOP_BASE_MODEL": "path:/no/such/folder",
    }
    done = subprocess.run([*manage, "doctor"], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"FAIL +database .*DATABASE_URL", done.stdout)
    assert re.search(r"FAIL +Valkey .*REDIS_URL", done.stdout)
    assert re.search(r"FAIL +base model .*TUNELOOP_BASE_MODEL", done.stdout)
    assert re.search(r"ok +disk ", done.stdout)
    assert len(done.stdout.splitlines()) == len(NAMES)
    assert "Traceback" not in done.stderr


@pytest.mark.django_db
def test_missing_migrations_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("migrations").state == State.OK
    executor = doctor.MigrationExecutor
    monkeypatch.setattr(executor, "migration_plan", lambda self, targets: [1, 2])
    finding = find("migrations")
    assert finding.state == State.FAIL
    assert "2 are missing" in finding.text
    assert "manage.py migrate" in finding.text


def test_no_worker_fails_only_where_one_should_run(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers that other tests killed are listed until their heartbeat is old.
    django_rq.get_connection("training").delete("rq:workers")
    settings.HOME = tmp_path
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(doctor.embedded, "in_use", lambda: ["valkey"])
    assert find("workers").state == State.NOTE
    assert find("workers", strict=True).state == State.FAIL
    lock = try_lock(tmp_path / "run" / "up.lock")
    assert lock is not None
    assert find("workers").state == State.FAIL, "beside a running `up`"
    os.close(lock)
    monkeypatch.setattr(doctor.embedded, "in_use", lambda: [])
    assert find("workers").state == State.FAIL, "on a team's own queue"


def test_artifacts_that_cannot_be_written_fail(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    storages = {
        "artifacts": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "file" / "below")},
        }
    }
    with override_settings(STORAGES=storages):
        assert find("artifacts").state == State.FAIL
    storages["artifacts"]["OPTIONS"] = {"location": str(tmp_path / "good")}
    with override_settings(STORAGES=storages):
        assert find("artifacts").state == State.OK
    assert list((tmp_path / "good").iterdir()) == []


def test_a_full_disk_fails(settings: Any) -> None:
    settings.DISK_NEEDED_GIB = 1e9
    finding = find("disk")
    assert finding.state == State.FAIL
    assert "make room" in finding.text


def test_an_examination_that_breaks_is_one_line() -> None:
    def broken() -> Finding:
        raise ValueError("first line.\nsecond line")

    finding = examine(Examination("thing", broken, "Repair it."))
    assert finding == Finding(State.FAIL, "first line. Repair it.")


def test_the_command_takes_no_unknown_options() -> None:
    with pytest.raises((CommandError, TypeError)):
        call_command("doctor", "--unknown")
