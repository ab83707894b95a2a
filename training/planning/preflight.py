"""What a manager should know before a training starts, from the labels as they are."""

from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeling.models import Project
from registry.models import Evaluation
from training import batches
from training.models import GateRules
from training.recipe import Recipe

FEW_LABELS = 10
"""Train questions below which an intent is hardly learned by plain fine-tuning."""
FEW_LABELS_TOGETHER = 5
"""The same for recipes that draw the rows of an intent together."""
UNEVEN = 20
"""Times that the largest intent outnumbers the median one before it is said."""
CONFUSED = 3
"""Mistakes or disagreements from which two intents count as confusable."""
NAMED = 5
"""Intents or pairs that a sentence names."""

_COUNTS = """
WITH learned AS MATERIALIZED (
    SELECT g.intent_id, count(*) AS n
    FROM labeling_question q JOIN labeling_goldlabel g ON g.question_id = q.id
    WHERE q.project_id = %(project)s AND q.state = 'labelled' AND q.split = 'train'
    GROUP BY g.intent_id
)
SELECT i.code, coalesce(l.n, 0)
FROM labeling_intent i LEFT JOIN learned l ON l.intent_id = i.id
WHERE i.project_id = %(project)s AND i.retired_at IS NULL
ORDER BY 2, i.code
"""
_SPLITS = """
SELECT count(*) FILTER (WHERE split = 'validation'),
    count(*) FILTER (WHERE split = 'test')
FROM labeling_question WHERE project_id = %(project)s AND state = 'labelled'
"""
_ALIKE = """
WITH member AS MATERIALIZED (
    SELECT id, cluster_id AS leader, split FROM labeling_question
    WHERE project_id = %(project)s AND state = 'labelled' AND cluster_id IS NOT NULL
), alike AS (
    SELECT id, leader, split FROM member
    UNION ALL
    SELECT q.id, q.id, q.split FROM labeling_question q
    WHERE q.id IN (SELECT leader FROM member) AND q.state = 'labelled'
), gold AS (
    SELECT a.leader, a.split, array_agg(g.intent_id ORDER BY g.intent_id) AS intents
    FROM alike a LEFT JOIN labeling_goldlabel g ON g.question_id = a.id
    GROUP BY a.id, a.leader, a.split
), cluster AS (
    SELECT count(*) FILTER (WHERE split = 'test') AS test,
        count(*) FILTER (WHERE split = 'validation') AS validation,
        bool_or(split = 'train') AS has_train,
        count(DISTINCT intents) > 1 AS is_at_odds
    FROM gold GROUP BY leader
)
SELECT coalesce(sum(test) FILTER (WHERE has_train), 0),
    coalesce(sum(validation) FILTER (WHERE has_train), 0),
    count(*) FILTER (WHERE is_at_odds)
FROM cluster
"""
_DISAGREED = """
WITH verdict AS MATERIALIZED (
    SELECT a.question_id, v.intent_id
    FROM labeling_annotation a
    JOIN labeling_question q ON q.id = a.question_id
    JOIN labeling_annotation_intents v ON v.annotation_id = a.id
    WHERE q.project_id = %(project)s AND a.verdict = 'label'
), apart AS (
    SELECT DISTINCT question_id, intent_id FROM verdict
    WHERE question_id IN (
        SELECT question_id FROM verdict GROUP BY question_id
        HAVING min(intent_id) <> max(intent_id))
)
SELECT ia.code, ib.code, count(*)
FROM apart a
JOIN apart b ON b.question_id = a.question_id AND b.intent_id > a.intent_id
JOIN labeling_intent ia ON ia.id = a.intent_id AND ia.retired_at IS NULL
JOIN labeling_intent ib ON ib.id = b.intent_id AND ib.retired_at IS NULL
GROUP BY ia.code, ib.code
"""


@dataclass(frozen=True)
class Warning:
    """One thing to know, in a form that can be stored; `sentence` says it in words."""

    code: str
    values: dict[str, Any]


def check(project: Project, recipe: Recipe, *, preset: str) -> list[Warning]:
    """What may make a training of these labels worse than it could be; worst first.

    Args:
        project: Its labels as they are now.
        recipe: What the training would go by.
        preset: Its preset; one that goes on from a version has learned most labels.

    Cost: six statements over the labelled questions, about 0.2 s for 100,000.
    """
    counts, ((validation, test),), (alike,) = (
        _rows(sql, project) for sql in (_COUNTS, _SPLITS, _ALIKE)
    )
    found = [
        *_intents(counts, recipe, goes_on=batches.goes_on(preset)),
        *_splits(project, validation=validation, test=test),
    ]
    in_test, in_validation, at_odds = (int(value) for value in alike)
    if at_odds:
        found.append(Warning("labels_at_odds", {"groups": at_odds}))
    if in_test or in_validation:
        values = {"test": in_test, "validation": in_validation, "tests": test}
        found.append(Warning("alike_across_splits", values))
    if pairs := _confusable(project):
        found.append(Warning("confusable", {"pairs": pairs[:NAMED]}))
    return found


def _intents(counts: list[Any], recipe: Recipe, *, goes_on: bool) -> list[Warning]:
    learned = [(code, train) for code, train in counts if train]
    if len(learned) < 2:
        return [Warning("one_intent", {"intents": [code for code, _n in learned]})]
    found = []
    is_drawn_together = recipe.contrastive_weight > 0
    least = FEW_LABELS_TOGETHER if is_drawn_together else FEW_LABELS
    few = [[code, train] for code, train in counts if train < least]
    if few:
        values = {"intents": few[:NAMED], "count": len(few), "least": least}
        # With few labels everywhere another preset serves better than more of them.
        is_few_in_all = len(few) * 2 > len(counts) and not is_drawn_together
        code = "few_labels_in_all" if is_few_in_all and not goes_on else "few_labels"
        found.append(Warning(code, values))
    (largest, most), (_code, median) = learned[-1], learned[len(learned) // 2]
    if recipe.class_balance == "none" and most > UNEVEN * median:
        values = {"intent": largest, "n": most, "median": median}
        found.append(Warning("uneven", values))
    return found


def _splits(project: Project, *, validation: int, test: int) -> list[Warning]:
    rules = GateRules.objects.filter(project=project).first() or GateRules()
    found = []
    if not test:
        found.append(Warning("no_test", {}))
    elif test < rules.min_test_questions:
        values = {"n": test, "least": rules.min_test_questions}
        found.append(Warning("few_test", values))
    if not validation:
        found.append(Warning("no_validation", {}))
    return found


def _confusable(project: Project) -> list[list[Any]]:
    """[intent, intent, times] that a version or people took for each other."""
    times: dict[tuple[str, str], int] = {}
    latest = (
        Evaluation.objects.filter(version__project=project, kind=Evaluation.Kind.TEST)
        .order_by("-id")
        .values_list("metrics__confusion", flat=True)
        .first()
    )
    mistakes = [(row["intent"], row["answered"], row["n"]) for row in latest or ()]
    disagreed = [] if project.is_multi_intent else _rows(_DISAGREED, project)
    known = set(project.intents.filter(retired_at=None).values_list("code", flat=True))
    for a, b, n in (*mistakes, *disagreed):
        if a in known and b in known:
            pair = (min(a, b), max(a, b))
            times[pair] = times.get(pair, 0) + n
    ranked = sorted(times.items(), key=lambda item: (-item[1], item[0]))
    return [[a, b, n] for (a, b), n in ranked if n >= CONFUSED]


def _rows(sql: str, project: Project) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"project": project.pk})
        return list(cursor.fetchall())


def sentence(warning: Warning) -> str:
    """The warning in the reader's language: what it is and what to do."""
    values, code = warning.values, warning.code
    if code == "one_intent":
        return _(
            "Only one intent has labels to train on, and a model needs at least two to"
            " tell apart: label questions of other intents first."
        )
    if code in ("few_labels", "few_labels_in_all"):
        return _few_labels(values, in_all=code == "few_labels_in_all")
    if code == "uneven":
        text = _(
            "“%(intent)s” has %(n)d train labels where most intents have about"
            " %(median)d, and will be answered too often: set class_balance to"
            " weights, or label more of the others."
        )
    elif code == "no_test":
        text = _(
            "No test question is labelled, so nothing can be measured: label some in"
            " the queue “Random audit”."
        )
    elif code == "few_test":
        text = ngettext(
            "%(n)d test question is labelled and the gate asks for %(least)d: label"
            " more in the queue “Random audit”.",
            "%(n)d test questions are labelled and the gate asks for %(least)d: label"
            " more in the queue “Random audit”.",
            values["n"],
        )
    elif code == "no_validation":
        text = _(
            "No validation question is labelled, so training cannot stop at its best"
            " and confidence is not calibrated: label more questions, a share of them"
            " become validation questions."
        )
    elif code == "labels_at_odds":
        text = ngettext(
            "%(groups)d group of near-duplicates holds different labels: search for"
            " label errors and settle it.",
            "%(groups)d groups of near-duplicates hold different labels: search for"
            " label errors and settle them.",
            values["groups"],
        )
    elif code == "alike_across_splits":
        text = _(
            "%(test)d test and %(validation)d validation questions say nearly the"
            " same as a question that is trained on, so results look a little better"
            " than they are: trust the blind audit share more, and label more test"
            " questions."
        )
    else:
        pairs = ", ".join(f"{a} / {b} ({n})" for a, b, n in values["pairs"])
        values = {"pairs": pairs}
        text = _(
            "Versions or people confuse these intents: %(pairs)s. Label more of them"
            " in the queue “A or B?”, sharpen their guidelines, or merge them."
        )
    return text % values


def _few_labels(values: dict[str, Any], *, in_all: bool) -> str:
    named = ", ".join(f"{code} ({n})" for code, n in values["intents"])
    if values["count"] > len(values["intents"]):
        named = _("%(named)s and others") % {"named": named}
    if in_all:
        text = ngettext(
            "%(count)d intent has fewer than %(least)d train labels: %(intents)s."
            " Choose the preset “few-shot”, or label more.",
            "%(count)d intents have fewer than %(least)d train labels: %(intents)s."
            " Choose the preset “few-shot”, or label more.",
            values["count"],
        )
    else:
        text = ngettext(
            "%(count)d intent has fewer than %(least)d train labels and will hardly"
            " be learned: %(intents)s. Label more of it in the queue “One intent”.",
            "%(count)d intents have fewer than %(least)d train labels and will hardly"
            " be learned: %(intents)s. Label more of them in the queue “One intent”.",
            values["count"],
        )
    return text % {**values, "intents": named}
