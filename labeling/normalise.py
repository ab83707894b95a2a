"""One spelling for each text: what counts as "the same question"."""

import hashlib
import unicodedata

from labeling.models import Question

MAX_TEXT_CHARS = 2000
"""Longest question that is taken in, in characters."""

# Trailing marks say how a question was typed, not what it asks.
_TRAILING = " \t.,;:!?~…。，、；：！？～·"


def normalise(text: str) -> str:
    """Folds what does not change a question's meaning.

    Unicode NFKC, case, runs of white space, trailing punctuation. A text of nothing but
    punctuation keeps it, so that "???" is still a question.
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.rstrip(_TRAILING) or folded


def text_hash(text: str) -> str:
    """Hex BLAKE2b-128 of the normalised text: 32 characters."""
    return hashlib.blake2b(normalise(text).encode(), digest_size=16).hexdigest()


def split_point(hash_: str) -> float:
    """Where in 0 to 1 a text's hash falls: test below, then validation, then train."""
    return int(hash_[:8], 16) / 2**32


def split_of(hash_: str, *, test_share: float, validation_share: float) -> str:
    """The split that a text's hash falls into; the same in every project and process.

    Args:
        hash_: From `text_hash`.
        test_share: Share of all questions, 0 to 1.
        validation_share: Share of all questions, 0 to 1.
    """
    point = split_point(hash_)
    if point < test_share:
        return Question.Split.TEST
    if point < test_share + validation_share:
        return Question.Split.VALIDATION
    return Question.Split.TRAIN
