"""Confident learning: which labels do cross-validated predictions contradict?

Pure maths. Each label is judged by a model that has seen neither it nor a
near-duplicate of its question. A label is doubted where the prediction says otherwise
more surely than it usually is about that intent: thresholds come from the labels
themselves, so an intent that is hard for the model is not doubted wholesale.

Source: C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating Uncertainty
    in Dataset Labels", JAIR 70 (2021), 1373-1411; as in the package cleanlab.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

FOLDS = 5
MIN_LABELS = 5
"""Labels an intent needs to be judged, near-duplicates counted once: a fold each."""
DIMENSIONS = 256
"""Width that words and characters are brought to."""
_WEIGHT_OF_FIT = 30.0
"""Weight of the fit against the penalty (C); features have length 1 on average."""
_STEPS = 100
SEED = 20


@dataclass(frozen=True)
class Doubts:
    """What a search found."""

    suspicion: dict[int, float]
    """Row to 0..1, of the rows whose label is likely wrong."""
    examined: int
    left_out: list[int]
    """Intents with fewer than `MIN_LABELS` labels."""


class TooFewIntents(ValueError):
    """Fewer than two intents have enough labels: nothing to take one for another."""


def text_features(texts: Sequence[str]) -> Floats:
    """(N, up to `DIMENSIONS`) of the words and characters of texts.

    TF-IDF of words and of character n-grams (1 to 3: Chinese has no spaces), brought
    to few dimensions by latent semantic analysis, so that the regression costs the same
    as over vectors.

    Cost: about 1 ms a text.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    tfidf = make_union(
        TfidfVectorizer(max_features=30_000, sublinear_tf=True, dtype=np.float32),
        TfidfVectorizer(
            analyzer="char_wb",
            ngram_range=(1, 3),
            max_features=30_000,
            sublinear_tf=True,
            dtype=np.float32,
        ),
    )
    table = tfidf.fit_transform(texts)
    width = min(DIMENSIONS, min(table.shape) - 1)
    if width < 1:
        return np.asarray(table.todense(), dtype=np.float32)
    with threadpool_limits(1):
        reduced = TruncatedSVD(width, random_state=SEED).fit_transform(table)
    return np.asarray(reduced, dtype=np.float32)


def doubt(
    features: Floats,
    labels: Sequence[Sequence[int]],
    groups: Sequence[str],
    *,
    is_multi: bool,
) -> Doubts:
    """Finds the labels that are likely wrong.

    Args:
        features: (N, D) of the questions.
        labels: N label sets; one label each unless `is_multi`.
        groups: (N,) hashes; near-duplicates have the same one and stay in one fold.
        is_multi: Whether a question may have several labels, or none.

    Raises:
        TooFewIntents: There is nothing to compare.

    Cost: five fits of a logistic regression; with several labels, five an intent.
    """
    from threadpoolctl import threadpool_limits

    kept, left_out = _enough(labels, groups)
    if len(kept) < 2:
        raise TooFewIntents
    rows = [
        row
        for row, own in enumerate(labels)
        if set(own) <= kept and (is_multi or len(own) == 1)
    ]
    place = {intent: column for column, intent in enumerate(sorted(kept))}
    sets = [[place[intent] for intent in sorted(labels[row])] for row in rows]
    x = _centred(features[rows])
    folds = _folds(sets, [groups[row] for row in rows])
    # One thread: beside a busy server, two that wait for each other take many times
    # longer than one.
    with threadpool_limits(1):
        if is_multi:
            quality, is_wrong = _judge_sets(x, sets, folds, len(place))
        else:
            y = np.array([one for (one,) in sets], dtype=np.int64)
            quality, is_wrong = _judge_one(x, y, folds, len(place))
    suspicion = {
        rows[position]: float(1 - quality[position])
        for position in np.nonzero(is_wrong)[0]
    }
    return Doubts(suspicion, len(rows), left_out)


def _enough(
    labels: Sequence[Sequence[int]], groups: Sequence[str]
) -> tuple[set[int], list[int]]:
    seen: dict[int, set[str]] = defaultdict(set)
    for own, group in zip(labels, groups, strict=True):
        for intent in own:
            seen[intent].add(group)
    kept = {intent for intent, where in seen.items() if len(where) >= MIN_LABELS}
    return kept, sorted(seen.keys() - kept)


def _folds(sets: Sequence[Sequence[int]], groups: Sequence[str]) -> Ints:
    """(N,) fold of each row: each label's groups are dealt out in order."""
    decks: dict[int, set[str]] = defaultdict(set)
    keys = [
        (own[0] if own else -1, group) for own, group in zip(sets, groups, strict=True)
    ]
    for label, group in keys:
        decks[label].add(group)
    fold = {
        (label, group): place % FOLDS
        for label, deck in decks.items()
        for place, group in enumerate(sorted(deck))
    }
    return np.array([fold[key] for key in keys], dtype=np.int64)


def _centred(x: Floats) -> Floats:
    """Vectors of an encoder lie in a narrow cone; seen from its middle they differ."""
    moved: Floats = x - x.mean(axis=0)
    lengths = np.sqrt((moved**2).sum(axis=1).mean())
    return moved / np.float32(max(float(lengths), 1e-6))


def _judge_one(
    x: Floats, y: Ints, folds: Ints, k: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    predicted = np.zeros((len(y), k))
    for fold in range(FOLDS):
        held_out = folds == fold
        model = _regression().fit(x[~held_out], y[~held_out])
        predicted[np.ix_(held_out, model.classes_)] = model.predict_proba(x[held_out])
    is_wrong = find_label_issues(y, predicted, filter_by="both", n_jobs=1)
    return get_label_quality_scores(y, predicted), is_wrong


def _judge_sets(
    x: Floats, sets: list[list[int]], folds: Ints, k: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    from cleanlab.multilabel_classification import get_label_quality_scores
    from cleanlab.multilabel_classification.filter import find_label_issues

    truth = np.zeros((len(sets), k), dtype=bool)
    for row, own in enumerate(sets):
        truth[row, own] = True
    predicted = np.zeros((len(sets), k))
    for fold in range(FOLDS):
        held_out = folds == fold
        for column in range(k):
            y = truth[~held_out, column]
            if y.all() or not y.any():
                # Named in this fold alone: nothing that could speak against it.
                predicted[held_out, column] = truth[held_out, column]
                continue
            model = _regression().fit(x[~held_out], y)
            predicted[held_out, column] = model.predict_proba(x[held_out])[:, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns that nobody doubts
        is_wrong = find_label_issues(sets, predicted, n_jobs=1)
        quality = get_label_quality_scores(sets, predicted)
    return quality, is_wrong


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=_WEIGHT_OF_FIT, max_iter=_STEPS, tol=1e-3)
