"""From a model's logits to what it says of each intent: the one place that does so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MULTI_THRESHOLD = 0.5
"""Least confidence of an intent that a multi-intent version gives no threshold for."""

DECIMALS = 6
"""Of a confidence, so that logs and answers hold no noise."""

LEAST_OF_MANY = 0.05
"""No multi-intent threshold is worth lowering below."""

_STEEPEST = 60.0
"""Logits beyond it are as sure as can be; `exp` of them still is a number."""


class Read(Protocol):
    """What a version says of how it is read; `registry.models.Version` does."""

    label_set: Any
    thresholds: Any
    temperature: Any
    out_of_scope: Any
    project: Any


@dataclass(frozen=True)
class OutOfScope:
    """How the logits say that a question is none of the in-scope intents.

    Its probability is sigmoid(energy * -lse + margin * (z - lse) + bias), where lse is
    the log-sum-exp of the in-scope logits and z the logit of `code`. With energy 1 and
    margin 0 that is a class more, whose logit is always `bias`; with energy 0, margin 1
    and bias 0 it is the softmax over all labels.

    Source: the energy score, Liu et al. 2020, "Energy-based Out-of-distribution
    Detection".
    """

    code: str
    """The intent that is answered."""
    energy: float
    """0 or more."""
    margin: float
    """0 or more; 0 where the model has no output for `code`."""
    bias: float

    def as_json(self) -> dict[str, Any]:
        """As `Version.out_of_scope` keeps it."""
        return {
            "code": self.code,
            "energy": self.energy,
            "margin": self.margin,
            "bias": self.bias,
        }


@dataclass(frozen=True)
class Reading:
    """How a version's logits (N, C) are read."""

    labels: tuple[str, ...]
    """Intent codes in the order of the model's outputs."""
    multi: bool
    """Whether a question may have several intents."""
    temperature: float = 1.0
    """Divides the logits of intents."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Least confidence of an intent, by code; multi-intent versions only."""
    out_of_scope: OutOfScope | None = None
    """Single-intent versions only."""

    @classmethod
    def of(cls, version: Read, *, multi: bool | None = None) -> Reading:
        """How a registered version is read.

        Args:
            version: Its label set, temperature, thresholds and out-of-scope score.
            multi: What its files say; what its project says when None (a query unless
                the project is there already).
        """
        score = version.out_of_scope
        return cls(
            labels=tuple(version.label_set),
            multi=version.project.is_multi_intent if multi is None else multi,
            temperature=float(version.temperature),
            thresholds=dict(version.thresholds),
            out_of_scope=OutOfScope(**score) if score else None,
        )

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """What the columns of `probabilities` are of: the labels, and the out-of-scope
        intent behind them where the model has no output for it."""
        score = self._score
        if score is None or score.code in self.labels:
            return self.labels
        return (*self.labels, score.code)

    @property
    def _score(self) -> OutOfScope | None:
        return None if self.multi else self.out_of_scope

    def probabilities(self, logits: npt.NDArray[np.floating[Any]]) -> Floats:
        """Turn logits (N, C) into probabilities, float64 (N, len(codes)).

        Single-intent: rows sum to 1; what is out of scope has its part, the softmax
        over the intents the rest. Multi-intent: a sigmoid for each intent.
        """
        z = logits.astype(np.float64)
        if self.multi:
            return _sigmoid(z / self.temperature)
        score = self._score
        if score is None:
            return _softmax(z / self.temperature)
        inside = np.array([label != score.code for label in self.labels], bool)
        outside = self._outside(z, inside, score)  # (N,)
        p = np.empty((len(z), len(self.codes)))
        p[:, self.codes.index(score.code)] = outside
        columns = np.flatnonzero(inside)
        p[:, columns] = _softmax(z[:, inside] / self.temperature)
        p[:, columns] *= (1.0 - outside)[:, None]
        return p

    def _outside(self, z: Floats, inside: Bools, score: OutOfScope) -> Floats:
        """How likely each row of logits (N, C) is out of scope (N,)."""
        lse = log_sum_exp(z[:, inside])
        log_odds = score.bias - score.energy * lse
        if not inside.all():
            own = z[:, self.labels.index(score.code)]
            log_odds += score.margin * (own - lse)
        return _sigmoid(log_odds)

    def under(self, current: Callable[[str], str | None]) -> Columns:
        """The columns under the names of today.

        Args:
            current: Today's code of an intent; None where it is answered no more.

        Cost: 0.02 ms with 150 intents.
        """
        codes: dict[str, int] = {}
        kept, target = [], []
        thresholds: dict[str, float] = {}
        for column, label in enumerate(self.codes):
            code = current(label)
            if code is None:
                continue
            kept.append(column)
            target.append(codes.setdefault(code, len(codes)))
            if self.multi:
                # Merged since: what was enough for either is enough for both.
                own = float(self.thresholds.get(label, MULTI_THRESHOLD))
                thresholds[code] = min(thresholds.get(code, own), own)
        same = len(kept) == len(codes) == len(self.codes)
        return Columns(
            codes=tuple(codes),
            multi=self.multi,
            thresholds=thresholds,
            _from=None if same else (np.array(kept, int), np.array(target, int)),
        )


@dataclass(frozen=True)
class Columns:
    """What a version answers under today's codes: some merged, some retired."""

    codes: tuple[str, ...]
    """Each once."""
    multi: bool
    thresholds: dict[str, float]
    """Least confidence of each code; empty for single-intent versions."""
    _from: tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]] | None
    """Columns of the reading and the code that each goes to; None if they are those."""

    def join(self, p: Floats) -> Floats:
        """Probabilities (..., len(reading.codes)) to (..., len(codes)).

        Of intents that are one today exactly one was asked for (single-intent): their
        probabilities add up. Or either was (multi-intent): the larger one counts.
        """
        if self._from is None:
            return p
        kept, target = self._from
        joined = np.zeros((len(self.codes), *p.shape[:-1]))
        join = np.maximum if self.multi else np.add
        join.at(joined, target, np.moveaxis(p, -1, 0)[kept])
        return np.moveaxis(joined, 0, -1).clip(max=1.0)

    @cached_property
    def _alphabet(self) -> npt.NDArray[np.int_]:
        """The columns in the order of their codes."""
        return np.argsort(np.array(self.codes))

    @cached_property
    def _column(self) -> dict[str, int]:
        return {code: column for column, code in enumerate(self.codes)}

    @cached_property
    def _least(self) -> float:
        """Below it no multi-intent threshold is worth a look."""
        return min([LEAST_OF_MANY, *self.thresholds.values()])

    def likeliest(self, p: Floats, n: int, also: Iterable[str]) -> dict[str, float]:
        """What can matter of one text's probabilities, the likeliest first.

        Whatever weights and rules do, no other intent is among the `n` best of an
        answer: fusing all 150 costs twenty times as much.

        Args:
            p: (len(codes),), from `join`.
            n: How many at least; of multi-intent versions all that may be answered,
                and one more.
            also: Codes that are needed however unlikely: those that rules speak for,
                the fallback. Those that the version does not know are left out.

        Cost: 0.01 ms with 150 intents.
        """
        if self.multi:
            n = max(n, int((p >= self._least).sum()) + 1)
        # By code where equally sure, so that the same question has the same answer.
        order = np.argsort(-p[self._alphabet].round(DECIMALS), kind="stable")
        kept = self._alphabet[order[:n]].tolist()
        kept += [self._column[code] for code in also if code in self._column]
        return {self.codes[column]: float(p[column]) for column in kept}

    def choose(self, p: Floats, *, accept: float, fallback: str | None) -> Bools:
        """What is answered where the model alone speaks, bool (N, len(codes)).

        As `registry.serving.fusion.decide` does where no rule was found. A row without
        any intent is answered with the project's fallback intent, if it has one.

        Args:
            p: (N, len(codes)), from `join`.
            accept: Least confidence of a single-intent answer.
            fallback: The project's fallback intent; never beside another one.
        """
        p = p.round(DECIMALS)
        own = self.codes.index(fallback) if fallback in self.codes else None
        if self.multi:
            chosen = p >= np.array([self.thresholds[code] for code in self.codes])
            if own is not None:
                alone = chosen.sum(axis=1) == 1
                chosen[:, own] &= alone
            return np.asarray(chosen, bool)
        chosen = np.zeros(p.shape, bool)
        if p.size:
            # The first code of those that are equally sure, so that the same question
            # always has the same answer.
            order = self._alphabet
            best = order[p[:, order].argmax(axis=1)]
            rows = np.arange(len(p))
            chosen[rows, best] = p[rows, best] >= accept
        return chosen


def log_sum_exp(z: Floats) -> Floats:
    """log(sum(exp(z))) of each row: (N, C) to (N,)."""
    if not z.shape[1]:
        return np.full(len(z), -_STEEPEST)
    largest = z.max(axis=1)
    shifted = np.exp(z - largest[:, None]).sum(axis=1)
    return np.asarray(largest + np.log(shifted), np.float64)


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-z.clip(-_STEEPEST, _STEEPEST))), np.float64)


def _softmax(z: Floats) -> Floats:
    if not z.shape[1]:
        return z
    shifted = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float64)
