"""What stands beside a version on the same questions: the floor, and rules alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from labeling.models import Dataset, Project
from labeling.normalise import normalise
from registry.onnx.reading import Reading
from registry.serving.fusion import Limits, Method, decide, fuse
from registry.serving.rulebook import Rulebook
from training.evaluation.answers import Answers, read
from training.evaluation.comparing import differences
from training.evaluation.measuring import summary
from training.evaluation.rows import Rows, dataset_rows, nobody_waits
from training.evaluation.scope import Scope
from training.statistics import floor

NO_DATASET = "no_dataset"
"""The version came from elsewhere, or its dataset is gone."""
NOTHING_TO_LEARN = "nothing_to_learn"
"""The dataset has fewer than two intents, or no words."""
NO_ROWS = "no_rows"
"""There is nothing to answer."""
NO_MEMORY = "no_memory"

_ROWS_AT_ONCE = 1000


class NoFloor(Exception):
    """There can be none; says why, as one of the words above."""


def floor_answers(
    dataset: Dataset | None,
    rows: Rows,
    scope: Scope,
    *,
    check: Callable[[], None] = nobody_waits,
    budget_s: float = floor.BUDGET_S,
) -> tuple[Answers, float]:
    """What a floor trained on a dataset answers, and the seconds that it took.

    It always answers its best guess: its confidence means something else than a
    model's, so that no accept threshold applies.

    Raises:
        NoFloor
    """
    if not rows:
        raise NoFloor(NO_ROWS)
    if dataset is None:
        raise NoFloor(NO_DATASET)
    try:
        trained = floor.train(
            dataset_rows(dataset), multi=scope.multi, check=check, budget_s=budget_s
        )
        if trained is None:
            raise NoFloor(NOTHING_TO_LEARN)
        check()
        logits = trained.logits([row.text for row in rows])
    except MemoryError as error:
        raise NoFloor(NO_MEMORY) from error
    reading = Reading(trained.labels, scope.multi)
    always = replace(scope, accept_threshold=0.0)
    answers = read(logits, always, reading=reading, file_name=floor.NAME)
    return answers, trained.seconds


def with_floor(
    measured: dict[str, Any],
    rows: Rows,
    after: Answers,
    scope: Scope,
    *,
    dataset: Dataset | None,
    check: Callable[[], None] = nobody_waits,
    budget_s: float = floor.BUDGET_S,
) -> dict[str, Any]:
    """`measured` with `floor`: the floor's figures, `seconds`, and `difference`: how
    far the version is ahead, as `comparing.differences` says it. None where there can
    be no floor; `floor_missing` says why."""
    try:
        answers, seconds = floor_answers(
            dataset, rows, scope, check=check, budget_s=budget_s
        )
    except NoFloor as why:
        return {**measured, "floor": None, "floor_missing": str(why)}
    found = {
        **summary(rows, answers, scope),
        "seconds": round(seconds, 2),
        "difference": differences(rows, answers, after, scope),
    }
    return {**measured, "floor": found}


def rules_alone(
    project: Project,
    rows: Rows,
    scope: Scope,
    *,
    check: Callable[[], None] = nobody_waits,
) -> dict[str, Any] | None:
    """Figures of the active rules without a model, and `answered`: the share of rows
    that they answer. None without rows or rules.

    As serving does where no version serves. Cost: about 0.1 ms a row.
    """
    book = Rulebook(project.pk)
    if not rows or not len(book.matcher):
        return None
    limits = Limits(project.accept_threshold_rules, 1, book.fallback)
    intents: list[frozenset[str]] = []
    confidence: list[float] = []
    answered = 0
    for n, row in enumerate(rows):
        if n % _ROWS_AT_ONCE == 0:
            check()
        hits = book.matcher.match(normalise(row.text))
        candidates = fuse(
            {code: hit.rule.boost for code, hit in hits.items()},
            None,
            rule_weight=project.rule_weight,
            model_weight=project.model_weight,
            multi=scope.multi,
        )
        decision = decide(candidates, limits, multi=scope.multi)
        answered += decision.method != Method.FALLBACK
        intents.append(frozenset(one.code for one in decision.intents))
        confidence.append(decision.confidence)
    stated = np.array(confidence)
    answers = Answers(
        intents=intents,
        confidence=stated,
        out_of_scope=1.0 - stated,
        given=[
            [(code, p) for code in codes]
            for codes, p in zip(intents, confidence, strict=True)
        ],
        labels=frozenset(book.names),
        file_name="",
    )
    return {**summary(rows, answers, scope), "answered": answered / len(rows)}
