"""The encoder of this process: texts to unit vectors. Opened at first use, no torch.

A worker builds it once (`manage.py build_encoder`). Where the storage of artifacts is a
disk, it lies there for everyone; else it is uploaded and each machine keeps a copy.
"""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.utils.translation import gettext as _

from labeling.search.similar import EncoderMissing
from registry import artifacts
from registry.onnx.encoder import FILES, POINTER_FILE, OnnxEncoder, digest
from registry.onnx.session import ArtifactError

FOLDER = "encoder.shared"
"""In the storage. The dot keeps it apart from projects, whose slugs have none."""

_ASK_AGAIN_S = 30.0
"""Seconds until a storage that had no encoder is asked again."""

_opening = threading.Lock()
_opened: tuple[Path, OnnxEncoder] | None = None
"""The one that is open, and its folder."""
_asked_at = float("-inf")


def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Unit vectors (N, 384) of texts; one thread, batches of 1,024 tokens at most.

    The first call of a process opens the encoder (2 s; 0.4 GB, or 0.14 GB where it
    serves a version with the same tokenizer), later ones take some 4 ms for a short
    text. Safe from several threads.

    Raises:
        EncoderMissing: None was built yet, or its files are damaged.
    """
    current = folder()
    opened = _opened
    if opened is None or opened[0] != current:
        opened = _open()
    return opened[1].encode(texts)


def root() -> Path:
    """Where this machine's encoders lie: a folder each, and the pointer to one."""
    return artifacts.shared_path(FOLDER) or Path(settings.CACHE_DIR) / FOLDER


def folder() -> Path | None:
    """The current encoder's folder on this machine; None while there is none."""
    try:
        name = (root() / POINTER_FILE).read_text("utf-8").strip()
    except OSError:
        return None
    found = root() / name
    return found if name and found.is_dir() else None


def publish(found: Path) -> None:
    """Uploads a built encoder where the storage is on no disk of this machine.

    The pointer goes last: whoever finds it finds the files.
    """
    if artifacts.shared_path(FOLDER) is not None:
        return
    for name in FILES:
        artifacts.share(found / name, f"{FOLDER}/{found.name}/{name}")
    artifacts.share(found.parent / POINTER_FILE, f"{FOLDER}/{POINTER_FILE}")


def available() -> bool:
    """Whether `embed` has something to open; fetches a copy where others built it."""
    if folder() is None:
        with _opening:
            if folder() is None:
                _fetch()
    return folder() is not None


def _open() -> tuple[Path, OnnxEncoder]:
    global _opened
    if not available():
        raise EncoderMissing(
            _(
                "Similar questions can't be found yet: the encoder has not been built."
                " A worker builds it within minutes; or run “manage.py build_encoder”."
            )
        )
    with _opening:
        current = folder()
        if current is not None and _opened is not None and _opened[0] == current:
            return _opened
        try:
            if current is None or digest(current) != current.name:
                raise ArtifactError(_("its files are damaged."))
            _opened = current, OnnxEncoder(current)
        except (ArtifactError, OSError) as error:
            raise EncoderMissing(
                _(
                    "The encoder can't be used: %(reason)s Run “manage.py build_encoder"
                    " --again”."
                )
                % {"reason": error}
            ) from error
        return _opened


def _fetch() -> None:
    """Copies the encoder from a storage elsewhere, if it has one."""
    global _asked_at
    now = time.monotonic()
    if artifacts.shared_path(FOLDER) is not None or now - _asked_at < _ASK_AGAIN_S:
        return
    _asked_at = now
    pointer = root() / f".{POINTER_FILE}"
    if not artifacts.fetch(f"{FOLDER}/{POINTER_FILE}", pointer):
        return
    found = root() / pointer.read_text("utf-8").strip()
    whole = all(artifacts.fetch(f"{FOLDER}/{found.name}/{n}", found / n) for n in FILES)
    if whole and digest(found) == found.name:
        pointer.replace(root() / POINTER_FILE)
