"""A version to take away: a Hugging Face folder as a zip file."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_GET

from registry.artifacts import ArtifactError
from training.views import evaluation_access

_CHUNK = 1024 * 1024


@login_required
@require_GET
def download(request: HttpRequest, version_id: int) -> HttpResponseBase:
    """Streams the folder, in constant memory; what can't be exported says why."""
    from training import foreign  # brings numpy; few requests come here

    version = evaluation_access.version_of(request, version_id)
    name = f"{version.project.slug}-v{version.number}"
    aside = Path(tempfile.mkdtemp(prefix="tuneloop-export-"))
    try:
        folder = foreign.export(version, aside / name)
    except (foreign.ForeignError, ArtifactError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        messages.error(request, str(error))
        back: HttpResponse = redirect("admin:registry_version_change", version.pk)
        return back
    response = StreamingHttpResponse(_Zip(folder, aside), "application/zip")
    response["Content-Disposition"] = f'attachment; filename="{name}.zip"'
    return response


class _Zip:
    """The chunks of a zip file of a folder; `close` deletes what was put aside."""

    def __init__(self, folder: Path, aside: Path) -> None:
        self._folder, self._aside = folder, aside

    def __iter__(self) -> Iterator[bytes]:
        pipe = _Pipe()
        # Stored: weights don't get smaller, and packing them would take a minute.
        with ZipFile(pipe, "w", ZIP_STORED) as archive:
            for path in sorted(self._folder.rglob("*")):
                if not path.is_file():
                    continue
                entry = ZipInfo(f"{self._folder.name}/{path.relative_to(self._folder)}")
                entry.external_attr = 0o644 << 16
                with (
                    archive.open(entry, "w", force_zip64=True) as target,
                    path.open("rb") as source,
                ):
                    while chunk := source.read(_CHUNK):
                        target.write(chunk)
                        yield pipe.taken()
        yield pipe.taken()

    def close(self) -> None:
        """Called by the server when the response is sent, or the client is gone."""
        shutil.rmtree(self._aside, ignore_errors=True)


class _Pipe:
    """A file that can only be written; what was written is taken out at once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was written can still be taken."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        taken, self._parts = b"".join(self._parts), []
        return taken
