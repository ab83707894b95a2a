"""Unit vectors whose distances a test can know."""

import math
from collections.abc import Sequence

import numpy as np

from labeling.models import Embedding, Question
from labeling.search import similar

Vector = list[float]


def towards(axis: int, *, turned: float = 0.0, to: int | None = None) -> Vector:
    """A unit vector along `axis`, turned by some degrees towards another axis.

    The cosine of two that are turned by a and b to the same side is cos(a - b).
    """
    vector = np.zeros(Embedding.DIMENSIONS)
    vector[axis] = math.cos(math.radians(turned))
    vector[(axis + 1) if to is None else to] += math.sin(math.radians(turned))
    return [float(value) for value in vector]


def place(question: Question, vector: Sequence[float]) -> Question:
    """Stores a question's vector; returns the question."""
    similar.store(question.project_id, {question.pk: vector})
    return question


def by_first_letter(texts: Sequence[str]) -> np.ndarray:
    """An encoder for tests: texts with the same first letter lie in one place."""
    rows = [towards(ord(text[0]) % 97, turned=len(text) / 10) for text in texts]
    return np.array(rows, np.float32).reshape(len(texts), Embedding.DIMENSIONS)
