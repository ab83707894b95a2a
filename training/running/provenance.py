"""Where a version comes from: code, libraries, machine."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.conf import settings

LIBRARIES = (
    *("tuneloop", "torch", "transformers", "peft", "accelerate"),
    *("tokenizers", "onnx", "onnxruntime", "numpy"),
)


@cache
def code_revision() -> str:
    """The commit that runs, "+changes" if files differ from it; else the version.

    Empty git output (an installed wheel, no git) falls back to the package's version.
    """
    commit = _git("rev-parse", "--short=12", "HEAD")
    if commit:
        changed = _git("status", "--porcelain", "--untracked-files=no")
        return f"{commit}+changes" if changed else commit
    return library_versions().get("tuneloop", "unknown")


def library_versions() -> dict[str, str]:
    """Installed versions of what a result depends on, read without importing it."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the run was on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count() or 1,
    }


def _git(*arguments: str) -> str:
    if not (settings.BASE_DIR / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(settings.BASE_DIR), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
