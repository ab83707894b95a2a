"""Named reads of questions: `Question.objects.labelled().in_split("test")`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib.postgres.expressions import ArraySubquery
from django.db import models
from django.db.models import Count, OuterRef, Q

if TYPE_CHECKING:
    from labeling.models import Intent, Project, Question  # noqa: F401 (in a string)


class QuestionQuerySet(models.QuerySet["Question"]):
    """Reads of questions; each adds a filter and runs no query, unless it says so."""

    def of(self, project: "Project") -> "QuestionQuerySet":
        """Those of one project."""
        return self.filter(project=project)

    def open(self) -> "QuestionQuerySet":
        """Those that wait for a label."""
        return self.filter(state="open")

    def labelled(self) -> "QuestionQuerySet":
        """Those with gold intents."""
        return self.filter(state="labelled")

    def in_split(self, split: str) -> "QuestionQuerySet":
        """Those of one split: train, validation or test."""
        return self.filter(split=split)

    def trainable(self) -> "QuestionQuerySet":
        """Labelled and not kept out for measuring: what a dataset may hold."""
        return self.labelled().exclude(split="test")

    def not_yet_trained(self) -> "QuestionQuerySet":
        """Labelled, and no version has learned the label."""
        return self.labelled().filter(trained_in="")

    def asked(self) -> "QuestionQuerySet":
        """Those that a client app has sent at least once."""
        return self.filter(occurrences__gt=0)

    def low_confidence(self, project: "Project") -> "QuestionQuerySet":
        """The project's questions answered with less than its `low_confidence`."""
        return self.of(project).filter(confidence__lt=project.low_confidence)

    def with_gold_intent(self, intent: "Intent") -> "QuestionQuerySet":
        """Those that have this gold intent, alone or among others."""
        return self.filter(gold_labels__intent=intent)

    def with_gold(self) -> "QuestionQuerySet":
        """Loads the gold intents along, in one more query for all rows."""
        return self.prefetch_related("gold_labels__intent")

    def by_priority(self) -> "QuestionQuerySet":
        """In the queue's order; with `of` and `open` it walks an index."""
        return self.order_by("-priority", "id")

    def state_counts(self) -> dict[str, int]:
        """How many there are in each state that occurs. One query."""
        counts = self.order_by().values_list("state").annotate(n=Count("id"))
        return dict(counts)

    def label_counts(self) -> dict[str, int]:
        """Labelled questions for each gold intent's code. One query."""
        counts = (
            self.labelled()
            .filter(~Q(gold_labels=None))
            .order_by()
            .values_list("gold_labels__intent__code")
            .annotate(n=Count("id", distinct=True))
        )
        return dict(counts)

    def rows(self) -> Iterator[tuple[str, list[str] | None]]:
        """Text and gold codes of each, as `formats.write` takes them.

        None for a question without a label; codes are sorted. One query, streamed by a
        server-side cursor.
        """
        intents = apps.get_model("labeling", "Intent").objects
        codes = (
            intents.filter(gold_labels__question=OuterRef("pk"))
            .order_by("code")
            .values("code")
        )
        questions = self.prefetch_related(None).annotate(codes=ArraySubquery(codes))
        rows = questions.values_list("text", "state", "codes")
        for text, state, gold in rows.iterator(chunk_size=5000):
            yield text, gold if state == "labelled" else None
