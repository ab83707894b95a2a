"""What a change of the label set would touch: counted before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Q
from django.db.models.fields.json import KT

from labeling.models import (
    Annotation,
    Dataset,
    GoldLabel,
    Intent,
    IntentAlias,
    KeywordRule,
    Question,
    SyntheticQuestion,
    Template,
)

MANY = 10_000
"""Open questions are counted up to here."""


@dataclass(frozen=True, slots=True)
class Impact:
    """What hangs on some intents of a project."""

    labels: int
    """Labelled questions."""
    test_labels: int
    """Those of them that measure versions."""
    verdicts: int
    """Annotators' verdicts."""
    open_predicted: int
    """Open questions that the latest answer gave to them, at most `MANY` + 1; test
    questions, which nobody may look at, are not counted."""
    rules: int
    """Rules in any state."""
    active_rules: int
    templates: int
    synthetic: int
    """Synthetic questions, in use or not."""
    aliases: list[str]
    """Old codes that clients may send."""
    children: int
    """Intents below them."""
    datasets: int
    """Frozen datasets whose label set names them."""
    versions: list[str]
    """Numbers of the versions that were the last to learn such labels."""


def impact_of(intents: Sequence[Intent]) -> Impact:
    """Counts what hangs on intents of one project.

    Cost: nine queries, one pass over their labels and synthetic questions.
    """
    project_id = intents[0].project_id
    aliases = sorted(
        IntentAlias.objects.filter(intent__in=intents).values_list("code", flat=True)
    )
    codes = [*(intent.code for intent in intents), *aliases]
    labelled = Question.objects.filter(
        pk__in=GoldLabel.objects.filter(intent__in=intents).values("question")
    )
    by_version = list(
        labelled.order_by()
        .values_list("trained_in")
        .annotate(n=Count("pk"), test=Count("pk", filter=Q(split="test")))
    )
    rules = dict(
        KeywordRule.objects.filter(intent__in=intents)
        .order_by()
        .values_list("state")
        .annotate(n=Count("pk"))
    )
    return Impact(
        labels=sum(n for _version, n, _test in by_version),
        test_labels=sum(test for _version, _n, test in by_version),
        verdicts=Annotation.objects.filter(intents__in=intents)
        .values("pk")
        .distinct()
        .count(),
        open_predicted=open_predicted(project_id, codes),
        rules=sum(rules.values()),
        active_rules=rules.get(KeywordRule.State.ACTIVE, 0),
        templates=Template.objects.filter(intent__in=intents).count(),
        synthetic=SyntheticQuestion.objects.filter(intent__in=intents).count(),
        aliases=aliases,
        children=Intent.objects.filter(parent__in=intents)
        .exclude(pk__in=[intent.pk for intent in intents])
        .count(),
        datasets=Dataset.objects.filter(
            project_id=project_id, label_set__has_any_keys=codes
        ).count(),
        versions=sorted(
            (version for version, _n, _test in by_version if version),
            key=lambda number: (len(number), number),
        ),
    )


def open_predicted(project_id: int, codes: Sequence[str], *, most: int = MANY) -> int:
    """Open questions whose latest answer was one of the codes, at most `most` + 1.

    Test questions are not counted. One query; walks the index `question_pair`.
    """
    found = (
        Question.objects.filter(project_id=project_id, state=Question.State.OPEN)
        .exclude(split=Question.Split.TEST)
        .annotate(best=KT("predicted__0__code"))
        .filter(best__in=codes)
    )
    return found.order_by().values("pk")[: most + 1].count()
