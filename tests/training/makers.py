"""Makers of projects that can be trained for, on tiny base models."""

from pathlib import Path
from typing import Any

from django.db import connection
from django.utils import timezone

from labeling.models import GoldLabel, Project, Question
from labeling.normalise import text_hash
from tests.makers import make_intent, make_project
from tests.training.ml.makers import TOPICS, make_examples, make_tiny_base
from training import batches
from training.models import GateRules, TrainingBatch

QUICK = {
    "epochs": "8",
    "min_steps": "0",
    "batch_size": "8",
    "encoder_lr": "0.003",
    "head_lr": "0.03",
    "max_length": "32",
}
"""Overrides that teach a tiny model in about a second."""

SPLITS = ("test", "test", "validation", *["train"] * 7)


def make_trainable(
    *, questions: int = 120, topics: tuple[str, ...] = tuple(TOPICS), **overrides: Any
) -> Project:
    """A project with labelled questions in all three splits: 70, 10 and 20 %."""
    project = make_project(**{"min_labels_first": 50, **overrides})
    # Counting words is better at these texts than a tiny model of random weights.
    GateRules.objects.create(project=project, beats_floor=False)
    add_labels(project, questions, topics=topics)
    return project


def add_labels(
    project: Project,
    questions: int,
    *,
    topics: tuple[str, ...] = tuple(TOPICS),
    seed: int = 0,
) -> None:
    """Labels `questions` more distinct questions of the topics."""
    intents = {
        topic: project.intents.filter(code=topic).first() or make_intent(project, topic)
        for topic in topics
    }
    used = set(project.questions.values_list("text_hash", flat=True))
    now = timezone.now()
    made: list[Question] = []
    codes: list[str] = []
    # There are 64 texts a topic: more are drawn than needed, and equal ones left out.
    for example in make_examples(questions * 20, topics=topics, seed=seed):
        hash_ = text_hash(example.text)
        if len(made) == questions or hash_ in used:
            continue
        used.add(hash_)
        split = SPLITS[len(made) // len(topics) % len(SPLITS)]
        made.append(
            Question(
                project=project,
                text=example.text,
                text_hash=hash_,
                first_seen=now,
                last_seen=now,
                labelled_at=now,
                state=Question.State.LABELLED,
                split=split,
            )
        )
        codes.append(example.labels[0])
    assert len(made) == questions, "the topics have no more texts"
    Question.objects.bulk_create(made)
    GoldLabel.objects.bulk_create(
        GoldLabel(question=q, intent=intents[code], source="import", set_at=now)
        for q, code in zip(made, codes, strict=True)
    )


def tiny_base(folder: Path, **shape: int) -> str:
    """Spec of a random two-layer base model below `folder`."""
    return f"path:{make_tiny_base(folder, **shape)}"


def make_batch(
    project: Project, base: str, *, enqueue: bool = False, **overrides: Any
) -> TrainingBatch:
    """A queued batch on the project's labels; `overrides` replace recipe fields."""
    return batches.create(
        project,
        preset=overrides.pop("preset", "first"),
        overrides={**QUICK, **{k: str(v) for k, v in overrides.items()}},
        base=base,
        by=None,
        force=True,
        enqueue=enqueue,
    )


def age(batch: TrainingBatch, seconds: int) -> None:
    """Makes the batch's last sign of life `seconds` old."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE training_trainingbatch SET"
            " heartbeat_at = clock_timestamp() - %s * interval '1 second',"
            " created_at = created_at - %s * interval '1 second' WHERE id = %s",
            [seconds, seconds, batch.pk],
        )
