"""Datasets: what was labelled at one moment, frozen for training."""

import hashlib
import json
from collections.abc import Iterator, Sequence

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Max, Q
from django.db.models.functions import Collate

from labeling.growth import nearness
from labeling.models import Dataset, IntentAlias, Project, Question

_FREEZE = """
WITH labelled AS (
    SELECT q.id, q.text, q.split, q.trained_in = '' AS is_new,
        coalesce(jsonb_agg(i.code ORDER BY i.id) FILTER (WHERE i.id IS NOT NULL), '[]')
            AS codes,
        coalesce(array_agg(i.id) FILTER (WHERE i.id IS NOT NULL), '{}') AS intents
    FROM labeling_question q
    LEFT JOIN labeling_goldlabel g ON g.question_id = q.id
    LEFT JOIN labeling_intent i ON i.id = g.intent_id
    WHERE q.project_id = %(project)s AND q.state = 'labelled'
        AND q.split IN ('train', 'validation')
    GROUP BY q.id
    HAVING count(*) FILTER (WHERE i.retired_at IS NOT NULL) = 0
        AND (count(i.id) > 0 OR %(multi)s)
), learnable AS (
    SELECT DISTINCT unnest(intents) AS id FROM labelled WHERE split = 'train'
), kept AS (
    INSERT INTO labeling_datasetitem (
        dataset_id, question_id, text, codes, split, is_new)
    SELECT %(dataset)s, id, text, codes, split, is_new
    FROM labelled
    WHERE intents <@ (SELECT coalesce(array_agg(id), '{}') FROM learnable)
    ORDER BY id
    RETURNING split
)
SELECT
    (SELECT coalesce(jsonb_agg(i.code ORDER BY i.id), '[]')
        FROM labeling_intent i JOIN learnable USING (id)),
    (SELECT count(*) FROM kept WHERE split = 'train'),
    (SELECT count(*) FROM kept WHERE split = 'validation')
"""

# Whatever a user has asked meanwhile, in whatever split, is theirs: its label is an
# annotator's business, and a test or validation question must not be learned by heart.
_JOIN_SYNTHETIC = """
INSERT INTO labeling_datasetitem (dataset_id, question_id, text, codes, split, is_new)
SELECT %(dataset)s, NULL, s.text, jsonb_build_array(i.code), 'train', NOT EXISTS (
    SELECT FROM labeling_datasetitem old
    WHERE old.dataset_id = %(parent)s AND old.question_id IS NULL
        AND old.text = s.text)
FROM labeling_syntheticquestion s JOIN labeling_intent i ON i.id = s.intent_id
WHERE s.project_id = %(project)s AND s.is_used AND i.code = ANY(%(codes)s)
    AND s.id <> ALL(%(near)s) AND NOT EXISTS (
        SELECT FROM labeling_question q
        WHERE q.project_id = s.project_id AND q.text_hash = s.text_hash)
ORDER BY s.id
"""


class NothingToTrainOn(ValueError):
    """No labelled question of the project may be trained on."""


@transaction.atomic
def freeze(
    project: Project,
    *,
    by: User | None,
    label_order: Sequence[str] = (),
    with_synthetic: bool = False,
    parent: int | None = None,
) -> Dataset:
    """Freezes the project's labelled questions as they are now.

    The label set holds the codes of all intents that are not retired and have a
    labelled train question; questions with a gold intent outside it are left out. Test
    questions are never in it: not by this statement, and a trigger refuses them.

    Synthetic questions only ever train, and only intents that are in the label set
    without them: what nobody ever asked can't be measured, so it is not learned. One
    that reads like a question of the project, or nearly like one that measures (by
    `growth.nearness`), stays out.

    Args:
        project: Whose questions.
        by: Who wants it.
        label_order: The parent version's label set, for a training that continues it:
            its codes (old ones as aliases, too) come first, in its order.
        with_synthetic: Takes in the project's synthetic questions that are in use.
        parent: Id of the dataset that the parent version learned; synthetic questions
            that stand in it are not new.

    Returns:
        The dataset, with its digest over the label set and all items.

    Raises:
        NothingToTrainOn: There is no labelled train question.

    Cost: five statements, one pass over the labelled questions and one over the items;
    with synthetic ones two more and a pass over the texts of the questions that
    measure (`nearness.near_held_out`).
    """
    dataset = Dataset.objects.create(
        project=project, label_set=[], train_count=0, validation_count=0, created_by=by
    )
    with connection.cursor() as cursor:
        # One statement, one snapshot: labels and items can't come from two moments.
        cursor.execute(
            _FREEZE,
            {
                "project": project.pk,
                "dataset": dataset.pk,
                "multi": project.is_multi_intent,
            },
        )
        row = cursor.fetchone()
    assert row is not None
    codes, dataset.train_count, dataset.validation_count = row
    if not dataset.train_count:
        raise NothingToTrainOn(f"{project.slug}: no labelled train question")
    dataset.label_set = _in_order(project, json.loads(codes), label_order)
    if with_synthetic:
        dataset.synthetic_count = _join_synthetic(dataset, parent=parent)
        dataset.train_count += dataset.synthetic_count
    dataset.digest = digest(dataset)
    dataset.save()
    return dataset


def _join_synthetic(dataset: Dataset, *, parent: int | None) -> int:
    """Adds the synthetic questions that may teach; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            _JOIN_SYNTHETIC,
            {
                "dataset": dataset.pk,
                "project": dataset.project_id,
                "codes": dataset.label_set,
                "near": nearness.near_held_out(dataset.project_id),
                "parent": parent,
            },
        )
        return int(cursor.rowcount)


def digest(dataset: Dataset) -> str:
    """Hex SHA-256 over the label set and the items, the same in any database.

    Items go by text in code point order, so that neither ids nor the database's
    collation matter. Lines of synthetic questions say so. One query, streamed.
    """
    sha = hashlib.sha256()
    for line in _canonical_lines(dataset):
        sha.update(line.encode())
    return sha.hexdigest()


def missing_labels(project: Project) -> int:
    """How many labels are missing until the next training; 0 if there are enough.

    A first training needs `min_labels_first` labels, a later one `min_labels_next` new
    ones: labels that no version has learned. Labels of test questions count, though
    nothing trains on them, where they are newer than the last label that was trained
    on: a person who labelled 200 questions has done their part, wherever they fell.

    Cost: two queries.
    """
    labelled = Question.objects.of(project).labelled()
    last = labelled.exclude(trained_in="").aggregate(at=Max("labelled_at"))["at"]
    if last is None:
        return max(0, project.min_labels_first - labelled.count())
    new = labelled.not_yet_trained().filter(~Q(split="test") | Q(labelled_at__gt=last))
    return max(0, project.min_labels_next - new.count())


def mark_trained(dataset: Dataset, version: str) -> int:
    """Notes on the dataset's questions that a version has learned their labels.

    A question whose label has changed since the dataset was frozen is left alone: its
    new label has yet to be learned.

    Args:
        dataset: What the version was trained on.
        version: The version's number.

    Returns:
        How many questions were marked. One statement.
    """
    with connection.cursor() as cursor:
        # The join on labelled_at catches a label that changes while this waits for the
        # question's row: the row is compared again, the rest is as it was read.
        cursor.execute(
            """
            UPDATE labeling_question q SET trained_in = %(version)s
            FROM (
                SELECT t.question_id, l.labelled_at
                FROM labeling_datasetitem t
                JOIN labeling_question l ON l.id = t.question_id
                LEFT JOIN labeling_goldlabel g ON g.question_id = l.id
                LEFT JOIN labeling_intent i ON i.id = g.intent_id
                WHERE t.dataset_id = %(dataset)s AND l.state = 'labelled'
                GROUP BY t.id, l.id
                HAVING coalesce(
                    jsonb_agg(i.code ORDER BY i.id) FILTER (WHERE i.id IS NOT NULL),
                    '[]') = t.codes
            ) same
            WHERE q.id = same.question_id AND q.labelled_at = same.labelled_at
            """,
            {"dataset": dataset.pk, "version": version},
        )
        return int(cursor.rowcount)


def _in_order(
    project: Project, codes: list[str], label_order: Sequence[str]
) -> list[str]:
    if not label_order:
        return codes
    present = dict(
        IntentAlias.objects.filter(project=project).values_list("code", "intent__code")
    )
    left = dict.fromkeys(codes)
    first = []
    for code in label_order:
        code = code if code in left else present.get(code, code)
        if code in left:
            del left[code]
            first.append(code)
    return first + list(left)


def _canonical_lines(dataset: Dataset) -> Iterator[str]:
    def line(value: object) -> str:
        return json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n"

    yield line({"labels": dataset.label_set})
    items = dataset.items.order_by(Collate("text", "C"), "id").values_list(
        "text", "codes", "split", "is_new", "question_id"
    )
    for *item, question_id in items.iterator(chunk_size=5000):
        yield line(item if question_id is not None else [*item, "synthetic"])
