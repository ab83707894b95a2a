"""Errors of a run as sentences that a manager understands."""

import errno
from collections.abc import Iterator

from django.utils.translation import gettext as _

from registry import artifacts
from registry.onnx import session
from registry.onnx.tokens import TokenizerError
from training import batches
from training.bases import BaseModelError
from training.ml.interface import TrainingError

EXPECTED = (
    BaseModelError,
    TrainingError,
    batches.BatchError,
    artifacts.ArtifactError,
    session.ArtifactError,
    TokenizerError,
)
"""Errors whose message is such a sentence."""

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TOO_LARGE = frozenset({errno.EFBIG})
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "unable to mmap",
    "failed to map segment",
    "os error 12)",
)
"""What C++ and Rust say instead of MemoryError."""


def explain(error: BaseException) -> str:
    """What went wrong, as a sentence that a manager understands."""
    chain = list(_chain(error))
    if any(_is_os_error(e, _DISK_FULL) for e in chain):
        return _(
            "The disk is full: free some space where Tuneloop keeps its data, then run"
            " the batch again."
        )
    if any(_is_os_error(e, _TOO_LARGE) for e in chain):
        return _(
            "A file grew larger than the system lets this process write: raise the"
            " limit (ulimit -f), then run the batch again."
        )
    if any(_is_lack_of_memory(e) for e in chain):
        return _(
            "Not enough memory: use a smaller batch size, a shorter maximum length or"
            " a smaller base model."
        )
    # Behind the others: "the model cannot be loaded" may be for lack of memory.
    if isinstance(error, EXPECTED):
        return str(error)
    first = (str(error).strip().splitlines() or [""])[0]
    return _("Unexpected error, see the log: %(name)s: %(message)s") % {
        "name": type(error).__name__,
        "message": first[:300],
    }


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_os_error(error: BaseException, numbers: frozenset[int]) -> bool:
    if isinstance(error, OSError) and error.errno in numbers:
        return True
    # safetensors and tokenizers are written in Rust and put the number in the text.
    return any(f"(os error {number})" in str(error) for number in numbers)


def _is_lack_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in _NO_MEMORY)
