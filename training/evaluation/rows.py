"""The questions that versions are measured on, with their right intents."""

from collections.abc import Sequence

from django.db.models import Prefetch

from labeling.models import GoldLabel, Project, Question
from training.ml.interface import Example

Rows = Sequence[Example]


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
