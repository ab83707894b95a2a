"""A data folder with a project whose versions are served: where serving is measured."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

PROCESSES = 2


@dataclass
class Served:
    """What a benchmark asks."""

    home: Path
    project: Any
    versions: list[Any]
    """The first one is active."""
    secret: str
    """Of an API key that may classify."""
    folder: Path
    """The files of the active version."""

    @contextlib.contextmanager
    def serve(self, *, processes: int = PROCESSES, **env: str) -> Iterator[Any]:
        """A real web server, ready; its log stays in the data folder."""
        from tests.registry.server import serve
        from tuneloop import web

        log = self.home / "web.log"
        with serve({**web.environment(), **env}, log, processes=processes) as server:
            yield server


@contextlib.contextmanager
def served(artifact: Path | None, *, versions: int = 1) -> Iterator[Served]:
    """Starts the embedded services in a folder of their own and registers versions.

    Args:
        artifact: An exported version (model.int8.onnx, tokenizer.json, labels.json),
            for example one below var/artifacts; None for a tiny model, which shows what
            everything but the model costs.
        versions: How many versions with these files the project gets.
    """
    with tempfile.TemporaryDirectory(prefix="tuneloop-bench-") as name:
        for variable in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(variable, None)
        os.environ["TUNELOOP_HOME"] = name
        os.environ["DJANGO_SETTINGS_MODULE"] = "tuneloop.settings"
        from tuneloop import embedded
        from tuneloop.main import make_home

        embedded.provide(make_home())
        try:
            import django
            from django.core.management import call_command

            django.setup()
            call_command("migrate", verbosity=0)
            yield _prepare(Path(name), artifact, versions)
        finally:
            embedded.release()


def _prepare(home: Path, artifact: Path | None, wanted: int) -> Served:
    from registry import artifacts
    from registry import versions as registry
    from tests.makers import make_key, make_project

    project = make_project(slug="bench")
    made = [_register(home, project, artifact) for _ in range(wanted)]
    for version in [*made[1:], made[0]]:
        registry.activate(version, by=None, force=True, reason="benchmark")
        made[made.index(version)].refresh_from_db()
    # Not even an unsure answer is to be anything but the model's.
    project.accept_threshold = 0.0
    project.save()
    secret = make_key(project)[1]
    folder = artifacts.open_verified(made[0])
    return Served(home, project, made, secret, folder)


def _register(home: Path, project: Any, artifact: Path | None) -> Any:
    from labeling.models import Intent
    from registry import artifacts, versions
    from tests.registry.makers import make_version

    if artifact is None:
        words = {f"i{n}": [f"w{n}"] for n in range(20)}
        return make_version(project, list(words), words=words)
    folder = Path(tempfile.mkdtemp(prefix="export-", dir=home))
    for path in artifact.iterdir():
        if path.suffix in artifacts.SUFFIXES and path.name != "model.safetensors":
            shutil.copyfile(path, folder / path.name)
    labels = json.loads((folder / "labels.json").read_text())["labels"]
    for code in labels:
        Intent.objects.get_or_create(project=project, code=code, name=code)
    version = versions.register(
        project, folder=folder, label_set=labels, parent=None, provenance={}
    )
    shutil.rmtree(folder)
    return version
