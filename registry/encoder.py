"""The encoder of this process: texts to unit vectors. Opened at first use, no torch."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.utils.translation import gettext as _

from labeling.similar import EncoderMissing
from registry.onnx.encoder import OnnxEncoder
from registry.onnx.session import ArtifactError

_opening = threading.Lock()
_opened: tuple[Path, OnnxEncoder] | None = None
"""The one that is open, and its folder."""


def root() -> Path:
    """Where encoders lie: a folder for each, and `current` with the name of one."""
    return Path(settings.HOME) / "encoder"


def folder() -> Path | None:
    """The current encoder's folder, or None while none was built."""
    try:
        name = (root() / "current").read_text("utf-8").strip()
    except OSError:
        return None
    found = root() / name
    return found if name and found.is_dir() else None


def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Unit vectors (N, 384) of texts; one thread, batches of 1,024 tokens at most.

    The first call of a process opens the encoder (about a second), later ones take
    some 6 ms for a short text. Safe from several threads.

    Raises:
        EncoderMissing: None was built yet, or its files are damaged.
    """
    return _encoder().encode(texts)


def _encoder() -> OnnxEncoder:
    global _opened
    current = folder()
    if current is None:
        raise EncoderMissing(
            _(
                "Similar questions can't be found yet: the encoder has not been built."
                " A worker builds it; or run “manage.py build_encoder”."
            )
        )
    opened = _opened
    if opened is not None and opened[0] == current:
        return opened[1]
    with _opening:
        if _opened is None or _opened[0] != current:
            try:
                _opened = current, OnnxEncoder(current)
            except ArtifactError as error:
                raise EncoderMissing(
                    _("%(reason)s Run “manage.py build_encoder --again”.")
                    % {"reason": f"{error}."}
                ) from error
        return _opened[1]
