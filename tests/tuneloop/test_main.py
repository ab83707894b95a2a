"""The data folder and its key; which commands get servers."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tuneloop.main import make_home, needs_services


def test_home_is_private_and_has_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNELOOP_HOME", str(tmp_path / "deep" / "home"))
    with ThreadPoolExecutor(8) as pool:
        homes = set(pool.map(lambda _: make_home(), range(8)))
    (home,) = homes
    key = (home / "secret_key").read_text()
    make_home()

    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "secret_key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir()] == ["secret_key"]
    assert len(key) > 50
    assert (home / "secret_key").read_text() == key


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("migrate", True),
        ("doctor --strict", True),
        ("a_command_written_next_year", True),
        ("migrate --help", False),
        ("--version", False),
        ("help migrate", False),
        ("compilemessages", False),
        ("", False),
    ],
)
def test_which_commands_need_servers(line: str, needed: bool) -> None:
    assert needs_services(["manage.py", *line.split()]) is needed


def test_help_touches_no_data_folder(
    manage: list[str], clean_env: dict[str, str]
) -> None:
    done = subprocess.run(
        [*manage, "help"], env=clean_env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout
    assert not Path(clean_env["TUNELOOP_HOME"]).exists()


def test_a_folder_that_cannot_be_made_is_one_clear_line(
    manage: list[str], clean_env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    env = {**clean_env, "TUNELOOP_HOME": str(tmp_path / "file" / "home")}
    done = subprocess.run([*manage, "migrate"], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "file" in done.stderr


def test_wsgi_names_its_role_and_imports_no_torch() -> None:
    code = (
        "import sys, os, tuneloop.wsgi;"
        "print(os.environ['TUNELOOP_ROLE'], 'torch' in sys.modules)"
    )
    env = {k: v for k, v in os.environ.items() if k != "TUNELOOP_ROLE"}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert done.stdout.split() == ["web", "False"], done.stderr
