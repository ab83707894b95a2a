"""The house rules that tools can check: imports, style, types, sizes, docstrings."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("labeling", "registry", "training", "platform/tuneloop")
MAX_LINES = 420
"""About 400. A file that reaches it becomes a package with a file a thing."""
MAX_TEST_LINES = 600
"""A test file is read one test at a time."""


def sources(*folders: str) -> list[Path]:
    return sorted(path for name in folders for path in (ROOT / name).rglob("*.py"))


def tool(name: str, *args: str) -> None:
    """Runs a tool of this environment on the repository; its words are the failure."""
    program = Path(sys.executable).parent / name
    roots = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    done = subprocess.run(
        [str(program), *args],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": roots},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name} {' '.join(args)}\n{done.stdout}{done.stderr}"


def test_imports_go_one_way() -> None:
    tool("lint-imports", "--no-cache")


def test_lint() -> None:
    tool("ruff", "check", ".")


def test_format() -> None:
    tool("ruff", "format", "--check", ".")


def test_types() -> None:
    tool("mypy", *PRODUCT, "manage.py")


@pytest.mark.django_db
def test_models_and_migrations_agree() -> None:
    from django.core.management import call_command

    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_migrations_have_names() -> None:
    automatic = [
        path.name
        for path in sources(*PRODUCT)
        if path.parent.name == "migrations" and "_auto_" in path.name
    ]
    assert not automatic


def test_no_file_grows_too_long() -> None:
    limits = [
        *((path, MAX_LINES) for path in sources(*PRODUCT)),
        *((path, MAX_TEST_LINES) for path in sources("tests")),
    ]
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path, limit in limits
        if path.parent.name != "migrations"
        and (lines := len(path.read_text().splitlines())) > limit
    }
    assert not too_long


def test_every_module_says_what_it_is_for() -> None:
    """Migrations say it by their names, Django's folders by theirs."""
    django_folders = {"migrations", "management", "commands"}
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(*PRODUCT, "tests")
        if path.parent.name != "migrations"
        and not (path.name == "__init__.py" and path.parent.name in django_folders)
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_no_drawers_for_anything() -> None:
    """Modules are nouns: what has no noun has no place yet."""
    drawers = {"utils", "helpers", "services", "common", "misc"}
    assert not [p for p in sources(*PRODUCT) if drawers & {p.stem, p.parent.name}]


def test_platform_is_a_source_root_and_no_package() -> None:
    """A package of that name would shadow the standard library's `platform`."""
    import platform

    assert not (ROOT / "platform" / "__init__.py").exists()
    assert platform.python_version()
