"""Measures a version on questions with known intents.

Measured is the model alone, in the file that will be served: the intent with the
largest probability (single-intent), or all intents above their thresholds
(multi-intent). Rules, exact answers from gold labels and the LLM fallback stay out, so
that versions compare.

Out-of-scope are the rows of the project's fallback intent. A version that knows that
intent answers it like any other; one that doesn't is taken to answer it when no intent
reaches the project's accept threshold, as serving does.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db.models import Prefetch

from labeling.models import GoldLabel, Intent, IntentAlias, Project, Question
from registry import artifacts
from registry.models import Evaluation, Version
from training import metrics
from training.ml.interface import Example

MAX_CONFUSED = 20
"""Confused pairs that are kept in an evaluation."""

Rows = Sequence[Example]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scope:
    """What decides how a project's answers are read."""

    multi: bool
    fallback: str | None
    """Code of the out-of-scope intent, if the project has one."""
    accept_threshold: float
    aliases: dict[str, str]
    """Old code to today's code, so that a renamed intent is not a wrong answer."""

    def today(self, codes: Sequence[str]) -> list[str]:
        """The codes by their names of today."""
        return [self.aliases.get(code, code) for code in codes]


@dataclass(frozen=True)
class Answers:
    """What a version answered, row by row."""

    intents: list[frozenset[str]]
    confidence: npt.NDArray[np.float64]
    """(N,): the largest probability of a row."""
    out_of_scope: npt.NDArray[np.float64]
    """(N,): how likely a row is out of scope; comparable within a version only."""
    given: list[list[tuple[str, float]]]
    """Each row's answered intents with their probability."""
    labels: frozenset[str]
    """All intents that the version can answer."""
    file_name: str
    """The model file that answered."""


def scope_of(project: Project) -> Scope:
    """Two queries."""
    intents = Intent.objects.filter(project=project, is_fallback=True)
    aliases = IntentAlias.objects.filter(project=project)
    return Scope(
        multi=project.is_multi_intent,
        fallback=intents.values_list("code", flat=True).first(),
        accept_threshold=project.accept_threshold,
        aliases=dict(aliases.values_list("code", "intent__code")),
    )


def test_rows(project: Project) -> list[Example]:
    """The project's labelled test questions, in a fixed order. Two queries."""
    gold = GoldLabel.objects.select_related("intent").order_by("intent_id")
    questions = (
        Question.objects.filter(
            project=project, state=Question.State.LABELLED, split=Question.Split.TEST
        )
        .prefetch_related(Prefetch("gold_labels", gold))
        .order_by("id")
        .only("id", "text")
    )
    return [
        Example(q.text, tuple(label.intent.code for label in q.gold_labels.all()))
        for q in questions
    ]


def answer(
    folder: Path,
    rows: Rows,
    scope: Scope,
    *,
    temperature: float = 1.0,
    thresholds: dict[str, float] | None = None,
) -> Answers:
    """Runs the model file that would be served from `folder` over the rows.

    Raises:
        registry.onnx.session.ArtifactError: The folder holds no classifier.
    """
    from registry.onnx.session import OnnxClassifier, probabilities

    classifier = OnnxClassifier(folder, threads=_threads())
    logits = classifier.logits([row.text for row in rows])  # (N, C)
    p = probabilities(logits, multi=scope.multi, temperature=temperature)
    cut = np.array([(thresholds or {}).get(c, 0.5) for c in classifier.labels])
    labels, p, cut = _merged(scope.today(classifier.labels), p, cut, scope.multi)
    best = p.max(axis=1) if len(rows) else np.zeros(0)
    knows_fallback = scope.fallback in labels
    if scope.multi:
        chosen = p > cut  # (N, C)
    else:
        chosen = metrics.largest(p)
        if scope.fallback is not None and not knows_fallback:
            chosen &= (best >= scope.accept_threshold)[:, None]
    given = [
        [(labels[c], float(p[n, c])) for c in np.flatnonzero(chosen[n])]
        for n in range(len(rows))
    ]
    nothing = frozenset() if scope.fallback is None else frozenset([scope.fallback])
    return Answers(
        intents=[frozenset(code for code, _p in row) or nothing for row in given],
        confidence=best,
        out_of_scope=p[:, labels.index(scope.fallback)]
        if scope.fallback is not None and knows_fallback
        else 1.0 - best,
        given=given,
        labels=frozenset(labels),
        file_name=classifier.file_name,
    )


def _merged(
    labels: list[str], p: Floats, cut: Floats, multi: bool
) -> tuple[list[str], Floats, Floats]:
    """One column an intent of today, where some were merged since the training.

    As serving reads them: exactly one of them was asked for (single-intent), so their
    probabilities add up; or either was (multi-intent), so the larger one counts.

    Args:
        labels: Codes of today of the C columns, some of them maybe the same.
        p: (N, C) probabilities.
        cut: (C,) thresholds; the lowest of merged ones stays.
    """
    codes = list(dict.fromkeys(labels))
    if len(codes) == len(labels):
        return labels, p, cut
    columns = [[c for c, label in enumerate(labels) if label == code] for code in codes]
    join = np.max if multi else np.sum
    joined = np.stack([join(p[:, own], axis=1) for own in columns], axis=1)
    return codes, joined, np.array([cut[own].min() for own in columns])


def matrices(
    rows: Rows, *answers: Answers, scope: Scope
) -> tuple[list[str], metrics.Bools, list[metrics.Bools]]:
    """The codes in use, the truth (N, C) and each version's answers (N, C).

    A row's intent that a version does not know gets a column of its own, which that
    version never answers: the row counts as wrong.
    """
    wanted = [frozenset(scope.today(row.labels)) for row in rows]
    codes = sorted(frozenset().union(*wanted, *(i for a in answers for i in a.intents)))
    column = {code: index for index, code in enumerate(codes)}

    def table(sets: Sequence[frozenset[str]]) -> metrics.Bools:
        result = np.zeros((len(sets), len(codes)), bool)
        for row, members in enumerate(sets):
            for code in members:
                result[row, column[code]] = True
        return result

    return codes, table(wanted), [table(a.intents) for a in answers]


def measure(rows: Rows, answers: Answers, scope: Scope) -> dict[str, Any]:
    """All metrics of one version's answers, ready for JSON.

    Returns:
        n, accuracy, macro_f1, in_scope_accuracy, majority_accuracy, per_intent {code:
        {precision, recall, f1, n}}, out_of_scope {n, precision, recall, f1, auroc},
        calibration {ece, bins}, confusion [{intent, answered, n}], unknown {code: n}
        (intents that the version can't answer); for multi-intent projects also micro_f1
        and exact_match. Shares are 0 to 1; None where there are no rows to say it of.
    """
    codes, truth, (chosen,) = matrices(rows, answers, scope=scope)
    right = (truth == chosen).all(axis=1)
    precision, recall, f1 = metrics.precision_recall_f1(truth, chosen)
    outside = np.array([scope.fallback in scope.today(r.labels) for r in rows], bool)
    called_outside = np.array([scope.fallback in i for i in answers.intents], bool)
    result: dict[str, Any] = {
        "n": len(rows),
        "accuracy": _mean(right),
        "macro_f1": metrics.macro_f1(truth, chosen) if len(rows) else None,
        "in_scope_accuracy": _mean(right[~outside]),
        "majority_accuracy": _majority(rows),
        "per_intent": {
            code: {
                "precision": float(precision[c]),
                "recall": float(recall[c]),
                "f1": float(f1[c]),
                "n": int(truth[:, c].sum()),
            }
            for c, code in enumerate(codes)
        },
        "out_of_scope": _out_of_scope(outside, called_outside, answers),
        "calibration": _calibration(rows, answers, scope),
        "confusion": [
            {"intent": codes[a], "answered": codes[b], "n": n}
            for a, b, n in metrics.confused_pairs(truth, chosen, limit=MAX_CONFUSED)
        ],
        "unknown": _unknown(rows, answers, scope),
        "model_file": answers.file_name,
    }
    if scope.multi:
        result["micro_f1"] = metrics.micro_f1(truth, chosen) if len(rows) else None
        result["exact_match"] = result["accuracy"]
    return result


def compare(
    rows: Rows, before: Answers, after: Answers, scope: Scope
) -> dict[str, Any]:
    """Two versions on the same questions: what the second fixes and what it breaks.

    Returns:
        n, fixed, broken (rows), p (McNemar), accuracy, macro_f1 and macro_f1_interval
        (differences, after minus before), per_intent {code: {n, before, after,
        p}}: recall of each intent that the first version knew, and the chance of such a
        loss by accident.
    """
    codes, truth, (old, new) = matrices(rows, before, after, scope=scope)
    was_right = (truth == old).all(axis=1)
    is_right = (truth == new).all(axis=1)
    per_intent = {}
    for c, code in enumerate(codes):
        member = truth[:, c]
        if code in before.labels and member.any():
            per_intent[code] = {
                "n": int(member.sum()),
                "before": float(old[member, c].mean()),
                "after": float(new[member, c].mean()),
                "p": metrics.loss_p(old[member, c], new[member, c]),
            }
    return {
        "n": len(rows),
        "fixed": int((~was_right & is_right).sum()),
        "broken": int((was_right & ~is_right).sum()),
        "p": metrics.mcnemar_p(was_right, is_right),
        "accuracy": float(is_right.mean() - was_right.mean()) if len(rows) else 0.0,
        "macro_f1": metrics.macro_f1(truth, new) - metrics.macro_f1(truth, old),
        "macro_f1_interval": metrics.macro_f1_difference(truth, old, new),
        "per_intent": per_intent,
    }


def answer_with(version: Version, rows: Rows, scope: Scope) -> Answers:
    """Answers of a registered version, from its verified files.

    Raises:
        registry.artifacts.ArtifactError: A file is missing or damaged.
        registry.onnx.session.ArtifactError: The files are no classifier.
    """
    # What continues a training is a multiple of what serves, and not read here.
    folder = artifacts.open_verified(version, only=_served_files(version))
    return answer(
        folder,
        rows,
        scope,
        temperature=version.temperature,
        thresholds=version.thresholds,
    )


def evaluate(
    version: Version, *, rows: Rows | None = None, source: str = ""
) -> Evaluation:
    """Measures a version on the test questions, or on `rows`, and keeps the result.

    Rows may have been trained on: they are measured as they are. Rows whose label the
    version does not know count as wrong.

    Args:
        version: Any registered version.
        rows: Questions with their intents, e.g. from a file.
        source: Where the rows came from, for the record.

    Raises:
        registry.artifacts.ArtifactError, registry.onnx.session.ArtifactError
    """
    project = version.project
    kind = Evaluation.Kind.TEST if rows is None else Evaluation.Kind.FILE
    rows = test_rows(project) if rows is None else rows
    scope = scope_of(project)
    measured = measure(rows, answer_with(version, rows, scope), scope)
    return record(version, measured, kind=kind, source=source)


def record(
    version: Version, measured: dict[str, Any], *, kind: str, source: str = ""
) -> Evaluation:
    """Keeps a measurement; evaluations are never overwritten."""
    return Evaluation.objects.create(
        version=version,
        kind=kind,
        source=source[:200],
        n=measured["n"],
        accuracy=measured["accuracy"],
        macro_f1=measured["macro_f1"],
        metrics=measured,
    )


def _served_files(version: Version) -> list[str]:
    from registry.onnx.session import FLOAT32_FILE, INT8_FILE, LABELS_FILE

    model = INT8_FILE if INT8_FILE in version.manifest else FLOAT32_FILE
    return [model, "tokenizer.json", LABELS_FILE]


def _threads() -> int:
    # An evaluation is one long run of batches: it may have the whole machine.
    return min(8, os.cpu_count() or 1)


def _mean(right: metrics.Bools) -> float | None:
    return float(right.mean()) if len(right) else None


def _majority(rows: Rows) -> float | None:
    """Accuracy of answering every question with the commonest intents."""
    if not rows:
        return None
    return Counter(frozenset(row.labels) for row in rows).most_common(1)[0][1] / len(
        rows
    )


def _out_of_scope(
    outside: metrics.Bools, called: metrics.Bools, answers: Answers
) -> dict[str, Any]:
    n, hits = int(outside.sum()), int((outside & called).sum())
    given = int(called.sum())
    return {
        "n": n,
        "precision": hits / given if n and given else None,
        "recall": hits / n if n else None,
        "f1": 2 * hits / (n + given) if n else None,
        "auroc": metrics.auroc(answers.out_of_scope, outside),
    }


def _calibration(rows: Rows, answers: Answers, scope: Scope) -> dict[str, Any]:
    """Single-intent: of each row's answer. Multi-intent: of each intent answered."""
    confidence, correct = [], []
    for n, row in enumerate(rows):
        wanted = set(scope.today(row.labels))
        for code, p in answers.given[n]:
            confidence.append(p)
            correct.append(code in wanted)
    return metrics.calibration(np.array(confidence, float), np.array(correct, bool))


def _unknown(rows: Rows, answers: Answers, scope: Scope) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        for code in scope.today(row.labels):
            # Without a fallback class the threshold still answers the fallback.
            if code not in answers.labels and code != scope.fallback:
                counts[code] = counts.get(code, 0) + 1
    return counts
