"""Many questions at once: what an import takes, keeps, reports and leaves alone."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from labeling.formats import BadLine, Row
from labeling.intake import bulk, import_rows
from labeling.labels import annotations
from labeling.models import (
    GoldLabel,
    Intent,
    IntentAlias,
    Lease,
    Project,
    Question,
)
from labeling.normalise import text_hash
from labeling.ranking import priority
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db


def rows(*pairs: tuple[str, Any]) -> list[Row]:
    """Rows numbered from 1; a label may be a code, several, or None."""
    return [
        Row(n, text, (label,) if isinstance(label, str) else label)
        for n, (text, label) in enumerate(pairs, start=1)
    ]


def gold(project: Project) -> dict[str, list[str] | None]:
    """Each question's text and gold codes; None for one that is not labelled."""
    return dict(Question.objects.of(project).order_by("id").rows())


def test_an_import_writes_what_labelling_by_hand_writes() -> None:
    project = make_project(test_share=0, validation_share=0)
    mia = make_person("mia", project)
    intent = make_intent(project, "clock_in")
    before = timezone.now()
    report = import_rows(
        project, rows((" 怎么打卡？ ", "clock_in"), ("随便聊聊", None)), by=mia
    )
    assert (report.rows, report.created, report.labelled) == (2, 2, 1)

    labelled = Question.objects.get(text="怎么打卡？")
    assert labelled.state == "labelled"
    assert labelled.labelled_at is not None
    assert labelled.labelled_at >= before
    assert (labelled.trained_in, labelled.occurrences) == ("", 0)
    assert (labelled.origin, labelled.split) == ("imported", "train")
    assert labelled.text_hash == text_hash("怎么打卡")
    assert labelled.predicted is None
    label = GoldLabel.objects.get()
    assert (label.question, label.intent) == (labelled, intent)
    assert (label.source, label.set_by) == ("import", mia)
    assert label.set_at == labelled.labelled_at

    still_open = Question.objects.get(text="随便聊聊")
    assert (still_open.state, still_open.labelled_at) == ("open", None)
    assert still_open.priority == priority.score(
        margin=None, occurrences=0, diversity=priority.UNRANKED
    )


def test_bulk_labels_end_as_set_gold_leaves_them() -> None:
    project = make_project(is_multi_intent=True)
    ann = make_person("ann", project)
    a, b = make_intent(project, "a"), make_intent(project, "b")
    by_hand, by_import = (
        make_question(project, text, split="train") for text in ("one", "other")
    )
    for n, question in enumerate((by_hand, by_import)):
        Lease.objects.create(
            question=question,
            holder=ann,
            token=n,
            claimed_at=timezone.now(),
            expires_at=timezone.now() + timedelta(minutes=5),
        )
    annotations.set_gold(by_hand, [a, b], source="import", by=ann)
    import_rows(project, rows(("other", ("b", "a"))), by=ann)

    def end_state(question: Question) -> dict[str, Any]:
        state = Question.objects.filter(pk=question.pk).values().get()
        assert state.pop("labelled_at") is not None
        for own in ("id", "text", "text_hash", "first_seen", "last_seen"):
            state.pop(own)
        labels = question.gold_labels.order_by("intent")
        return {
            **state,
            "gold": list(labels.values_list("intent", "source", "set_by")),
            "leases": question.leases.count(),
        }

    assert end_state(by_hand) == end_state(by_import)
    assert end_state(by_import)["leases"] == 0


def snapshot() -> list[Any]:
    """Every row of what an import may touch, its storage version included."""
    out: list[Any] = []
    with connection.cursor() as cursor:
        for table in ("question", "goldlabel", "intent"):
            cursor.execute(
                f"SELECT xmin::text, t.* FROM labeling_{table} t ORDER BY id"
            )
            out.extend(cursor.fetchall())
    return out


@pytest.mark.django_db(transaction=True)
def test_a_second_import_changes_nothing() -> None:
    project = make_project()
    source = rows(
        ("a?", "x"), ("A", None), ("b", "y"), ("c", None), ("b", "z"), ("d", "oos")
    )
    first = import_rows(project, source, create_intents=True)
    assert (first.rows, first.created, first.existing) == (6, 4, 2)
    assert (first.labelled, first.conflicts) == (3, 1)
    before = snapshot()
    second = import_rows(project, source, create_intents=True)
    assert snapshot() == before
    assert (second.created, second.labelled, second.existing) == (0, 0, 6)
    assert second.conflicts == 1
    assert second.new_intents == []


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_repeats_within_a_file_across_chunks_and_not(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNK_ROWS", chunk)
    project = make_project()
    report = import_rows(
        project,
        rows(("q", None), ("Q!", "a"), ("ｑ", "b"), ("q.", "a"), ("r", "b")),
        create_intents=True,
    )
    assert (report.rows, report.created, report.labelled) == (5, 2, 2)
    assert gold(project) == {"q": ["a"], "r": ["b"]}
    assert report.conflicts == 1
    assert tuple(report.conflict_lines[0]) == (3, ("b",), ("a",))
    assert "line 3" in str(report.conflict_lines[0])


def test_a_label_that_people_gave_is_kept() -> None:
    project = make_project()
    a, b = make_intent(project, "a"), make_intent(project, "b")
    by_hand = make_labelled(project, a, "taken", trained_in="3")
    make_question(project, "open one")
    make_question(project, "skipped one", state="skipped")
    make_question(project, "disputed one", state="disputed")
    report = import_rows(
        project,
        rows(
            ("taken", "b"),
            ("taken!", "a"),
            ("open one", "b"),
            ("skipped one", "b"),
            ("disputed one", "b"),
        ),
    )
    assert gold(project) == {
        "taken": ["a"],
        "open one": ["b"],
        "skipped one": ["b"],
        "disputed one": None,
    }
    assert (report.created, report.labelled, report.conflicts) == (0, 2, 3)
    by_hand.refresh_from_db()
    assert by_hand.trained_in == "3"
    assert GoldLabel.objects.filter(intent=b).count() == 2


def test_bad_rows_are_reported_and_the_others_taken() -> None:
    project = make_project()
    make_intent(project, "a")
    make_intent(project, "old", retired_at=timezone.now())
    report = import_rows(
        project,
        [
            BadLine(1, "not JSON"),
            Row(2, "  \n", ("a",)),
            Row(3, "x" * 2001, ("a",)),
            Row(4, "nul \x00", ("a",)),
            Row(5, "half \ud800", ("a",)),
            Row(6, "who", ("nobody",)),
            Row(7, "two", ("a", "b")),
            Row(8, "retired", ("old",)),
            Row(9, "none", ()),
            Row(10, "x" * 2000, ("a",)),
            Row(11, "good", ("a", "a")),
        ],
    )
    assert report.rows == report.created == 2
    assert [line for line, _ in report.bad_lines] == list(range(1, 10))
    reasons = dict(report.bad_lines)
    assert reasons[1] == "not JSON"
    assert "no text" in reasons[2]
    assert "2001" in reasons[3]
    assert "NUL" in reasons[4]
    assert "surrogate" in reasons[5]
    assert "nobody" in reasons[6]
    assert "retired" in reasons[8]
    assert report.bad == 9
    text = "\n".join(report.summary(shown=3))
    assert "line 3:" in text
    assert "line 4:" not in text
    assert "6 more" in text


def test_a_bad_row_makes_no_intent() -> None:
    project = make_project()
    report = import_rows(project, rows(("q", ("a", "b"))), create_intents=True)
    assert report.bad == 1
    assert not Intent.objects.exists()


@pytest.mark.parametrize("code", ["a\tb", "x" * 101, "a\nb", "zero\u200bwidth"])
def test_a_code_that_is_unfit_makes_no_intent(code: str) -> None:
    project = make_project()
    report = import_rows(project, rows(("q", code)), create_intents=True)
    assert (report.rows, report.bad) == (0, 1)
    assert not Intent.objects.exists()


def test_created_intents_and_the_fallback_among_them() -> None:
    project = make_project()
    report = import_rows(
        project,
        rows(("q1", "ask"), ("q2", "oos"), ("q3", "none"), ("q4", "ask")),
        create_intents=True,
    )
    assert sorted(report.new_intents) == ["ask", "none", "oos"]
    assert report.fallback == "oos"
    assert Intent.objects.get(is_fallback=True).code == "oos"
    project.refresh_from_db()
    assert project.serving_revision == 1


def test_a_fallback_that_is_there_stays_the_only_one() -> None:
    project = make_project()
    make_intent(project, "chat", is_fallback=True)
    import_rows(project, rows(("q", "oos")), create_intents=True)
    assert Intent.objects.get(is_fallback=True).code == "chat"


def test_without_the_wish_no_intent_is_made() -> None:
    project = make_project()
    report = import_rows(project, rows(("q", "oos")))
    assert report.bad == 1
    assert not Intent.objects.exists()


def test_aliases_name_their_intent() -> None:
    project = make_project()
    intent = make_intent(project, "new")
    IntentAlias.objects.create(project=project, code="old", intent=intent)
    report = import_rows(
        project, rows(("q", "old"), ("q", "new"), ("r", ("old", "new")))
    )
    assert gold(project) == {"q": ["new"], "r": ["new"]}
    assert (report.conflicts, report.bad) == (0, 0)


def test_several_intents_and_none_in_a_multi_intent_project() -> None:
    project = make_project(is_multi_intent=True)
    source = rows(("both", ("b", "a")), ("neither", ()), ("one", ("a",)))
    import_rows(project, source, create_intents=True)
    assert gold(project) == {"both": ["a", "b"], "neither": [], "one": ["a"]}
    assert Question.objects.get(text="neither").state == "labelled"

    make_intent(project, "chat", is_fallback=True)
    report = import_rows(project, rows(("still none", ()), ("both", ("a", "b"))))
    assert gold(project)["still none"] == ["chat"]
    assert report.conflicts == 0


def test_the_split_is_for_new_questions_only() -> None:
    project = make_project(test_share=0, validation_share=0)
    was_test = make_question(project, "held out", split="test")
    report = import_rows(
        project,
        rows(("held out", "a"), ("fresh", "a")),
        split="train",
        create_intents=True,
    )
    was_test.refresh_from_db()
    assert (was_test.split, was_test.state) == ("test", "labelled")
    assert report.labelled == 2
    import_rows(project, rows(("fresh", "a"), ("kept out", "a")), split="test")
    assert Question.objects.get(text="fresh").split == "train"
    assert Question.objects.get(text="kept out").split == "test"


def test_projects_do_not_mix() -> None:
    one, other = make_project(), make_project()
    import_rows(one, rows(("q", "a")), create_intents=True)
    report = import_rows(other, rows(("q", "b")), create_intents=True)
    assert (report.created, report.conflicts) == (1, 0)
    assert (gold(one), gold(other)) == ({"q": ["a"]}, {"q": ["b"]})


def test_required_labels() -> None:
    project = make_project()
    report = import_rows(
        project, rows(("q", "a"), ("r", None)), create_intents=True, require_labels=True
    )
    assert (report.rows, report.bad_lines) == (1, [BadLine(2, "no label")])


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_counts_the_same_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 3)
    project = make_project()
    make_labelled(project, make_intent(project, "a"), "taken")
    make_question(project, "open one")
    source = rows(
        *[("taken", "b"), ("open one", "b"), ("new", "a"), ("new 2", None)],
        *[("new 3", "oos"), ("more", "b"), ("new!", "a"), ("x\x00", "a")],
    )
    before = snapshot()
    dry = import_rows(project, source, create_intents=True, dry_run=True)
    assert snapshot() == before
    wet = import_rows(project, source, create_intents=True)
    assert dry == wet
    assert (wet.rows, wet.created, wet.labelled, wet.conflicts) == (7, 4, 4, 1)


def test_a_test_question_cannot_be_moved_by_any_road() -> None:
    project = make_project()
    question = make_question(project, "held out", split="test")
    for split in ("train", "validation"):
        with pytest.raises(IntegrityError), transaction.atomic():
            Question.objects.filter(pk=question.pk).update(split=split)
    question.refresh_from_db()
    assert question.split == "test"
