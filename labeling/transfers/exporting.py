"""Questions on their way out: which ones, and what a file says of each."""

import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import IO, Any, Self

from django.contrib.auth import get_user_model
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q
from django.db.models.expressions import RawSQL

from labeling import formats
from labeling.formats import rasa
from labeling.models import (
    Annotation,
    GoldLabel,
    Intent,
    LabelChange,
    Project,
    Question,
)
from labeling.querysets import QuestionQuerySet

FULL = "full"
"""JSONL with all that is known of a question: for audits, and to move a project."""

KINDS = (*formats.WRITTEN, FULL)

_BATCH = 2_000
_MOST_WORDS = 10


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of a project's questions; each empty field leaves all of them in."""

    state: str = ""
    split: str = ""
    origin: str = ""
    intent: int | None = None
    """Id of a gold intent."""
    confidence: str = ""
    """low or high by the project's own threshold, or none: not answered yet."""
    learned: str = ""
    """yes or no: labelled, and a version has learned the label or not."""
    duplicates: str = ""
    """leader, member or none: what it is among near-duplicates."""
    text: str = ""
    """Parts of the text, between spaces; all of them must be in it."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The selection among a transfer's options; other keys don't matter."""
        return cls(
            **{f.name: options[f.name] for f in fields(cls) if f.name in options}
        )

    def as_options(self) -> dict[str, Any]:
        """The fields that narrow it down, as JSON can hold them."""
        return {name: value for name, value in asdict(self).items() if value}

    def questions(self, project: Project) -> QuestionQuerySet:
        """The project's questions that are chosen; runs no query."""
        found = Question.objects.of(project)
        for name in ("state", "split", "origin"):
            if value := getattr(self, name):
                found = found.filter(**{name: value})
        if self.intent:
            found = found.filter(gold_labels__intent=self.intent)
        if words := self.text.replace("\0", "").split()[:_MOST_WORDS]:
            # As the list's search compares them, but all that match.
            each = " AND ".join(["strpos(folded, labeling_fold(%s)) > 0"] * len(words))
            sql = (
                "SELECT question_id FROM labeling_searchtext"  # noqa: S608
                f" WHERE project_id = %s AND {each}"
            )
            ids = RawSQL(sql, [project.pk, *words])  # noqa: S611 (as parameters)
            found = found.filter(pk__in=ids)
        match self.confidence:
            case "low":
                found = found.low_confidence(project)
            case "high":
                found = found.filter(confidence__gte=project.low_confidence)
            case "none":
                found = found.filter(confidence=None)
        members = Question.objects.of(project).exclude(cluster=None)
        match self.duplicates:
            case "leader":
                found = found.filter(pk__in=members.values("cluster"))
            case "member":
                found = found.exclude(cluster=None)
            case "none":
                found = found.filter(cluster=None)
                found = found.exclude(pk__in=members.values("cluster"))
        match self.learned:
            case "no":
                found = found.not_yet_trained()
            case "yes":
                found = found.labelled().exclude(trained_in="")
        return found


@dataclass(slots=True)
class ExportReport:
    """What an export wrote."""

    rows: int = 0
    left_out: int = 0
    """Questions that the format can't hold."""


def export(
    project: Project,
    file: IO[bytes],
    *,
    kind: str,
    selection: Selection,
    mark: bool = False,
    begin: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Writes the chosen questions into a file.

    Which ones is decided once, at the beginning; what is said of each is read batch by
    batch, so that no transaction stays open for long.

    Args:
        project: Whose questions.
        file: Opened for writing bytes; XLSX must be able to seek.
        kind: One of `KINDS`.
        selection: Which questions.
        mark: As `formats.save` takes it.
        begin: Called with the number of questions as soon as it is known.
        progress: Called with the number of questions so far, once a batch.

    Raises:
        formats.Unwritable: The format can't hold so many.

    Cost: one query for the ids, held as 8 bytes each; then one for each 2,000
    questions, six of them for `FULL`.
    """
    ids = _ids(selection.questions(project), by_labels=kind == "rasa")
    if begin is not None:
        begin(len(ids))
    report = ExportReport()
    many = project.is_multi_intent

    def batches() -> Iterator[list[int]]:
        for start in range(0, len(ids), _BATCH):
            if progress is not None:
                progress(start)
            yield list(ids[start : start + _BATCH])

    if kind == FULL:
        for line in _full(batches(), many=many):
            file.write(line)
            report.rows += 1
    else:

        def counted() -> Iterator[tuple[str, list[str] | None]]:
            for text, labels in _rows(batches()):
                if kind == "rasa" and not rasa.can_hold(text, labels, many=many):
                    report.left_out += 1
                    continue
                report.rows += 1
                yield text, labels

        formats.save(counted(), file, kind=kind, many=many, mark=mark)
    if progress is not None:
        progress(len(ids))
    return report


def _codes() -> ArraySubquery:
    intents = Intent.objects.filter(gold_labels__question=OuterRef("pk"))
    return ArraySubquery(intents.order_by("code").values("code"))


def _ids(questions: QuestionQuerySet, *, by_labels: bool) -> "array[int]":
    """In the order in which they were made, or by their labels."""
    if by_labels:
        questions = questions.annotate(codes=_codes()).order_by("codes", "id")
    else:
        questions = questions.order_by("id")
    ids = questions.values_list("id", flat=True)
    return array("q", ids.iterator(chunk_size=20_000))


def _rows(batches: Iterable[list[int]]) -> Iterator[tuple[str, list[str] | None]]:
    """Text and gold codes of each, as `formats.save` takes them."""
    for batch in batches:
        found = Question.objects.filter(pk__in=batch).annotate(codes=_codes())
        by_id = {
            id_: (text, codes if state == "labelled" else None)
            for id_, text, state, codes in found.values_list(
                "id", "text", "state", "codes"
            )
        }
        for id_ in batch:
            if id_ in by_id:
                yield by_id[id_]


def _full(batches: Iterable[list[int]], *, many: bool) -> Iterator[bytes]:
    people: dict[int | None, str | None] = {None: None}
    for batch in batches:
        for value in _known(batch, people, many=many):
            yield json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _known(
    batch: list[int], people: dict[int | None, str | None], *, many: bool
) -> Iterator[dict[str, Any]]:
    """All that is known of a batch of questions, in its order. Five queries, or six.

    The keys `text`, `label` and `labels` are those of JSONL: an import of the file
    takes them and leaves the rest.
    """
    questions = Question.objects.in_bulk(batch)
    gold = _grouped(
        GoldLabel.objects.filter(question__in=batch)
        .order_by("intent__code")
        .values("question_id", "intent__code", "source", "set_by_id", "set_at")
    )
    annotations = _grouped(
        Annotation.objects.filter(question__in=batch)
        .order_by("id")
        .annotate(
            codes=ArraySubquery(
                Intent.objects.filter(annotations=OuterRef("pk"))
                .order_by("code")
                .values("code")
            )
        )
        .values(
            *("question_id", "annotator_id", "verdict", "codes", "comment"),
            *("time_spent_ms", "queue", "is_blind", "suggested", "suggested_by"),
            *("bulk_id", "created_at", "updated_at"),
        )
    )
    changes = _grouped(
        LabelChange.objects.filter(question__in=batch)
        .order_by("id")
        .values(
            *("question_id", "kind", "before", "after", "reason", "comment"),
            *("bulk_id", "by_id", "at"),
        )
    )
    _meet(people, gold, "set_by_id")
    _meet(people, annotations, "annotator_id")
    _meet(people, changes, "by_id")
    for id_ in batch:
        question = questions.get(id_)
        if question is None:
            continue
        codes = [label["intent__code"] for label in gold[id_]]
        label: dict[str, Any] = {}
        if question.state == Question.State.LABELLED:
            single = not many and len(codes) == 1
            label = {"label": codes[0]} if single else {"labels": codes}
        yield {
            "id": id_,
            "text": question.text,
            **label,
            "state": question.state,
            "split": question.split,
            "origin": question.origin,
            "occurrences": question.occurrences,
            "first_seen": _iso(question.first_seen),
            "last_seen": _iso(question.last_seen),
            "labelled_at": _iso(question.labelled_at),
            "trained_in": question.trained_in,
            "gold": [
                {
                    "intent": one["intent__code"],
                    "source": one["source"],
                    "by": people[one["set_by_id"]],
                    "at": _iso(one["set_at"]),
                }
                for one in gold[id_]
            ],
            "annotations": [
                {
                    "annotator": people[one["annotator_id"]],
                    "verdict": one["verdict"],
                    "intents": one["codes"],
                    "comment": one["comment"],
                    "time_spent_ms": one["time_spent_ms"],
                    "queue": one["queue"],
                    "blind": one["is_blind"],
                    "suggested": one["suggested"],
                    "suggested_by": one["suggested_by"],
                    "bulk": one["bulk_id"],
                    "at": _iso(one["created_at"]),
                    "changed_at": _iso(one["updated_at"]),
                }
                for one in annotations[id_]
            ],
            "history": [
                {
                    "kind": one["kind"],
                    "before": _named(one["before"], people),
                    "after": one["after"],
                    "reason": one["reason"],
                    "comment": one["comment"],
                    "bulk": one["bulk_id"],
                    "by": people[one["by_id"]],
                    "at": _iso(one["at"]),
                }
                for one in changes[id_]
            ],
        }


def _grouped(rows: Iterable[Any]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["question_id"]].append(row)
    return found


def _meet(
    people: dict[int | None, str | None],
    rows: Mapping[int, list[dict[str, Any]]],
    key: str,
) -> None:
    """Looks up the names of those who are not known yet; mostly no query."""
    ids = {one[key] for group in rows.values() for one in group}
    ids |= {
        one["before"]["by"]
        for group in rows.values()
        for one in group
        if isinstance(one.get("before"), dict) and "by" in one["before"]
    }
    if new := ids - people.keys():
        users = get_user_model()._default_manager.filter(Q(pk__in=new))
        people.update(dict.fromkeys(new))
        people.update(users.values_list("pk", "username"))


def _named(before: Any, people: Mapping[int | None, str | None]) -> Any:
    """What was there before, with a name instead of an id."""
    if not isinstance(before, dict) or "by" not in before:
        return before
    return {**before, "by": people.get(before["by"])}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
