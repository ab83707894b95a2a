"""How surely a trained model may be believed: found on validation rows.

A temperature, so that 0.8 means right four times in five; a threshold for each intent
where a question may have several; else, where the project has a fallback intent, a
score of how likely a question is none of the others. Whatever is found is kept only
where it holds on rows that it was not found on, and all figures of the report are of
such rows (five folds).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from registry.onnx.reading import Bools, Floats, OutOfScope, Reading, log_sum_exp
from registry.onnx.session import OnnxClassifier
from training.ml.interface import Example
from training.statistics import metrics, out_of_scope

MIN_ROWS = 50
"""Validation rows below which everything stays as the model says it."""

LIKE_ALL = 20
"""Rows that look like all intents together, added to those of each intent when its
threshold is chosen: an intent with few rows has nearly the threshold of all."""

FOLDS = 5

_COLDEST, _HOTTEST = math.log(0.05), math.log(20.0)
_HOLD = 2.0
"""What a temperature of e or 1 / e costs, in nats of all rows together: without it, a
model that is right on every row could never be sure enough."""

_ROWS_AT_ONCE = 256
"""A second or two on one core."""

_GRID = np.linspace(0.02, 0.98, 97)
"""Thresholds that are tried."""


@dataclass(frozen=True)
class Calibration:
    """How a version is read, and what that is worth."""

    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    out_of_scope: OutOfScope | None = None
    report: dict[str, Any] = field(default_factory=dict)
    """See `fit`."""

    def reading(self, labels: Sequence[str], *, multi: bool) -> Reading:
        """How logits of these labels are read."""
        return Reading(
            tuple(labels), multi, self.temperature, self.thresholds, self.out_of_scope
        )

    def as_json(self) -> dict[str, Any]:
        """Temperature, thresholds and out-of-scope score, for `versions.register`."""
        score = self.out_of_scope
        return {
            "temperature": self.temperature,
            "thresholds": self.thresholds,
            "out_of_scope": score.as_json() if score else {},
        }


def of_folder(
    folder: Path,
    rows: Sequence[Example],
    *,
    multi: bool,
    fallback: str | None,
    check: Callable[[], None] = lambda: None,
) -> Calibration:
    """Calibrates the file that would be served from `folder` on labelled rows.

    Args:
        folder: As exported.
        rows: Questions that it was not trained on, with intents as in its labels.json.
        multi: See `fit`.
        fallback: See `fit`.
        check: Called every second or two; may raise to end it.

    Raises:
        registry.onnx.session.ArtifactError: The folder holds no classifier.
    """
    model = OnnxClassifier(folder, threads=os.cpu_count() or 1)
    truth = np.zeros((len(rows), len(model.labels)), bool)
    column = {label: index for index, label in enumerate(model.labels)}
    for number, row in enumerate(rows):
        for label in row.labels:
            if label in column:
                truth[number, column[label]] = True
    logits = np.zeros(truth.shape, np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        check()
        part = rows[start : start + _ROWS_AT_ONCE]
        logits[start : start + len(part)] = model.logits([row.text for row in part])
    check()
    return fit(logits, truth, model.labels, multi=multi, fallback=fallback)


def fit(
    logits: npt.NDArray[np.floating[Any]],
    truth: Bools,
    labels: Sequence[str],
    *,
    multi: bool,
    fallback: str | None,
) -> Calibration:
    """Calibrates a model on rows that it was not trained on.

    The report says n; kept (whether the temperature helps); ece_before, ece_after (of
    each row's likeliest intent; multi-intent: of each intent of each row);
    out_of_scope: {n, f1, auroc, lost, source}, see `out_of_scope.measure`, or None; and
    micro_f1_before, micro_f1_after of multi-intent versions.

    Args:
        logits: (N, C), of the file that will be served.
        truth: bool (N, C): the intents of each row. Single-intent rows without any are
            out of scope where there is a fallback intent, and left out where not.
        labels: Intent codes of the C columns.
        multi: Whether a row may have several intents.
        fallback: The project's out-of-scope intent, if it has one; may be among the
            labels or not.

    Cost: about 3 s for 3,000 rows of 150 intents.
    """
    rows = _Rows(np.asarray(logits, np.float64), np.asarray(truth, bool))
    plain = Reading(tuple(labels), multi)
    if not multi and fallback is None:
        rows = rows.labelled()
    if len(rows) < MIN_ROWS or len(labels) < 2 or not np.isfinite(rows.z).all():
        return Calibration(report=_report(len(rows)))
    return (_several if multi else _one)(plain, rows, fallback)


@dataclass(frozen=True)
class _Rows:
    """Validation rows."""

    z: Floats
    """Logits (N, C)."""
    truth: Bools
    """(N, C)"""

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, which: Bools) -> _Rows:
        return _Rows(self.z[which], self.truth[which])

    def labelled(self) -> _Rows:
        """Those that have an intent."""
        return self[np.asarray(self.truth.any(axis=1), bool)]

    def columns(self, which: Bools) -> _Rows:
        """The same rows, some of the intents."""
        return _Rows(self.z[:, which], self.truth[:, which])

    def folds(self) -> Iterator[tuple[Bools, _Rows, _Rows]]:
        """Each fold: which rows are in it, the others, and those rows."""
        fold = np.random.default_rng(13).permutation(len(self)) % FOLDS
        for k in range(FOLDS):
            member: Bools = np.asarray(fold == k, bool)
            yield member, self[~member], self[member]


def _report(n: int, **found: Any) -> dict[str, Any]:
    nothing = {"kept": False, "ece_before": None, "ece_after": None}
    return {"n": n, **nothing, "out_of_scope": None, **found}


def _held_out(rows: _Rows, read: Callable[[_Rows], Reading]) -> Floats:
    """Probabilities (N, codes) of each row by a reading that has not seen it."""
    p: Floats | None = None
    for member, others, held in rows.folds():
        part = read(others).probabilities(held.z)
        if p is None:
            p = np.empty((len(rows), part.shape[1]))
        p[member] = part
    assert p is not None
    return p


# --- Temperature ------------------------------------------------------------------


def _temperature(rows: _Rows, *, multi: bool) -> float:
    """The temperature of least negative log-likelihood, by golden section."""

    def cost(log_temperature: float) -> float:
        nll = _nll(rows.z / math.exp(log_temperature), rows.truth, multi=multi)
        return nll + _HOLD * log_temperature**2

    shrink = (math.sqrt(5) - 1) / 2
    low, high = _COLDEST, _HOTTEST
    left, right = high - shrink * (high - low), low + shrink * (high - low)
    at_left, at_right = cost(left), cost(right)
    while high - low > 0.005:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - shrink * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + shrink * (high - low)
            at_right = cost(right)
    return round(math.exp((low + high) / 2), 3)


def _nll(z: Floats, truth: Bools, *, multi: bool) -> float:
    """Negative log-likelihood in nats of all rows together."""
    if multi:
        # -log of each probability, without an overflow.
        return float(np.logaddexp(0.0, np.where(truth, -z, z)).sum())
    return float(log_sum_exp(z).sum() - z[truth].sum())


def _is_helped(rows: _Rows, *, multi: bool) -> bool:
    """Whether a temperature helps rows that it was not found on."""
    if len(rows) < MIN_ROWS:
        return False
    after = 0.0
    for _member, others, held in rows.folds():
        t = _temperature(others, multi=multi)
        after += _nll(held.z / t, held.truth, multi=multi)
    return after < _nll(rows.z, rows.truth, multi=multi)


# --- One intent a question --------------------------------------------------------


@dataclass(frozen=True)
class _Way:
    """How a single-intent version is read; its numbers are found on rows."""

    plain: Reading
    fallback: str | None
    own: Bools
    """(C,): the output of the fallback intent, if there is one."""
    source: out_of_scope.Source | None = None
    """What an out-of-scope score is found on; None without one."""
    is_cooled: bool = False
    """Whether there is a temperature."""

    def known(self, rows: _Rows) -> _Rows:
        """What a temperature is found on: beside a score, it is of in-scope intents."""
        if self.source is None:
            return rows.labelled()
        outside = out_of_scope.is_outside(rows.truth, self.own)
        return rows[~outside].columns(~self.own)

    def read(self, rows: _Rows) -> Reading:
        """The reading that is best for these rows."""
        t = _temperature(self.known(rows), multi=False) if self.is_cooled else 1.0
        score = None
        if self.source is not None and self.fallback is not None:
            score = out_of_scope.fit(
                rows.z,
                rows.truth,
                own=self.own,
                code=self.fallback,
                temperature=t,
                source=self.source,
            )
        return replace(self.plain, temperature=t, out_of_scope=score)


def _one(plain: Reading, rows: _Rows, fallback: str | None) -> Calibration:
    way = _Way(plain, fallback, np.array([one == fallback for one in plain.labels]))
    way = replace(way, source=_source(way, rows))
    way = replace(way, is_cooled=_is_helped(way.known(rows), multi=False))
    final = way.read(rows)
    before, after = plain.probabilities(rows.z), _held_out(rows, way.read)
    found = None
    if way.source is not None and fallback is not None:
        found = out_of_scope.measure(
            after, final.codes, rows.truth, own=way.own, code=fallback
        ) | {"source": str(way.source)}
    return Calibration(
        temperature=final.temperature,
        out_of_scope=final.out_of_scope,
        report=_report(
            len(rows),
            kept=way.is_cooled,
            ece_before=_ece(before, plain.codes, rows, way),
            ece_after=_ece(after, final.codes, rows, way),
            out_of_scope=found,
        ),
    )


def _source(way: _Way, rows: _Rows) -> out_of_scope.Source | None:
    """What an out-of-scope score can be found on; None where there had better be none.

    A model that tells such questions by itself, as by any intent, needs no score.
    """
    outside = out_of_scope.is_outside(rows.truth, way.own)
    enough = (~outside).sum() >= MIN_ROWS and (~way.own).sum() > 1
    if way.fallback is None or not enough:
        return None
    source = out_of_scope.source(outside)
    if way.own.any() and source == out_of_scope.Source.LABELLED:
        column = int(way.own.argmax())
        scored = _held_out(rows, replace(way, source=source).read)
        alone = way.plain.probabilities(rows.z)
        f1_scored, f1_alone = (
            out_of_scope.weighted_f1(p.argmax(axis=1) == column, outside)
            for p in (scored, alone)
        )
        if f1_scored < f1_alone:
            return None
    return source


def _ece(p: Floats, codes: tuple[str, ...], rows: _Rows, way: _Way) -> float | None:
    """Expected calibration error of each row's likeliest intent."""
    meant = np.zeros(p.shape, bool)
    meant[:, : len(way.own)] = rows.truth
    if way.fallback in codes:
        outside = out_of_scope.is_outside(rows.truth, way.own)
        meant[:, codes.index(way.fallback)] = outside
    at, best = np.arange(len(p)), p.argmax(axis=1)
    return _calibration_error(p[at, best], meant[at, best])


def _calibration_error(confidence: Floats, correct: Bools) -> float | None:
    error = metrics.calibration(confidence, correct)["ece"]
    return None if error is None else round(float(error), 4)


# --- Several intents a question ---------------------------------------------------


def _several(plain: Reading, rows: _Rows, fallback: str | None) -> Calibration:
    is_cooled = _is_helped(rows, multi=True)

    def read(some: _Rows) -> Reading:
        t = _temperature(some, multi=True) if is_cooled else 1.0
        cooled = replace(plain, temperature=t)
        p = cooled.probabilities(some.z)
        return replace(cooled, thresholds=_thresholds(p, some.truth, plain.labels))

    def chosen(reading: Reading, z: Floats) -> tuple[Floats, Bools]:
        p = reading.probabilities(z)
        columns = reading.under(lambda code: code)
        return p, columns.choose(p, accept=0.0, fallback=fallback)

    p_before, before = chosen(plain, rows.z)
    p_after, after = np.empty_like(p_before), np.empty_like(before)
    for member, others, held in rows.folds():
        p_after[member], after[member] = chosen(read(others), held.z)
    micro_before = metrics.micro_f1(rows.truth, before)
    micro_after = metrics.micro_f1(rows.truth, after)
    final = read(rows)
    return Calibration(
        temperature=final.temperature,
        thresholds=dict(final.thresholds) if micro_after >= micro_before else {},
        report=_report(
            len(rows),
            kept=is_cooled,
            ece_before=_calibration_error(p_before.ravel(), rows.truth.ravel()),
            ece_after=_calibration_error(p_after.ravel(), rows.truth.ravel()),
            micro_f1_before=round(micro_before, 4),
            micro_f1_after=round(max(micro_before, micro_after), 4),
        ),
    )


def _thresholds(p: Floats, truth: Bools, labels: Sequence[str]) -> dict[str, float]:
    """The threshold of the largest F1 of each intent.

    To each intent's rows `LIKE_ALL` more are added, in which right and wrong are spread
    as over all intents: what one or two rows say by chance is outweighed.
    """
    wanted = truth.sum(axis=0).astype(float)  # (C,)
    if not wanted.sum():
        return {}
    called = p[None] >= _GRID[:, None, None]  # (G, N, C)
    hits = (called & truth[None]).sum(axis=1).astype(float)  # (G, C)
    given = called.sum(axis=1).astype(float)
    share = LIKE_ALL / wanted.sum()
    hits += share * hits.sum(axis=1, keepdims=True)
    given += share * given.sum(axis=1, keepdims=True)
    f1 = 2 * hits / (wanted + LIKE_ALL + given)  # (G, C)
    # In the middle of all that are equally good.
    best = np.isclose(f1, f1.max(axis=0))
    middle = (best * _GRID[:, None]).sum(axis=0) / best.sum(axis=0)
    return {code: round(float(t), 3) for code, t in zip(labels, middle, strict=True)}
