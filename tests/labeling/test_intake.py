"""Questions come in one at a time from serving and many at once from files."""

import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from labeling import annotations, priority
from labeling.formats import BadLine, Row
from labeling.intake import bulk, import_rows, log_question
from labeling.models import (
    GoldLabel,
    Intent,
    IntentAlias,
    Lease,
    Project,
    Question,
)
from labeling.normalise import split_of, text_hash
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


def log(project: Project, text: str, **overrides: Any) -> int:
    values: dict[str, Any] = {
        "intents": [{"code": "a", "confidence": 0.6}],
        "confidence": 0.6,
        "margin": 0.2,
        "method": "model",
        "version": "1",
        "at": timezone.now(),
    }
    return log_question(project.pk, text, **{**values, **overrides})


# --- One at a time ----------------------------------------------------------------


def test_an_asked_question_is_one_row_however_it_is_spelt() -> None:
    project = make_project()
    at = timezone.now()
    first = log(project, " 今天 谁没打卡？", at=at)
    second = log(
        project,
        "今天 谁没打卡",
        at=at + timedelta(seconds=5),
        intents=[{"code": "b", "confidence": 0.9}],
        confidence=0.9,
        margin=0.8,
        method="rule",
        version="2",
    )
    question = Question.objects.get()
    assert first == second == question.pk
    assert question.text == "今天 谁没打卡？"
    assert question.text_hash == text_hash("今天 谁没打卡")
    assert question.occurrences == 2
    assert question.first_seen == at
    assert question.last_seen == at + timedelta(seconds=5)
    assert (question.origin, question.state) == ("asked", "open")
    assert question.predicted == [{"code": "b", "confidence": 0.9}]
    assert (question.confidence, question.margin) == (0.9, 0.8)
    assert (question.method, question.predicted_by) == ("rule", "2")
    assert question.priority == priority.score(confidence=0.9, occurrences=2)


def test_logging_is_one_statement(django_assert_num_queries: Any) -> None:
    project = make_project()
    with django_assert_num_queries(1):
        log(project, "once")
    with django_assert_num_queries(1):
        log(project, "once")


def test_an_asked_question_falls_into_the_split_of_its_hash() -> None:
    project = make_project(test_share=0.3, validation_share=0.3)
    for n in range(60):
        log(project, f"question {n}")
    for question in Question.objects.all():
        assert question.split == split_of(
            question.text_hash, test_share=0.3, validation_share=0.3
        )
    assert len({q.split for q in Question.objects.all()}) == 3


def test_asking_a_labelled_question_leaves_its_label_alone() -> None:
    project = make_project()
    question = make_labelled(project, make_intent(project, "a"), "打卡", trained_in="1")
    log(project, "打卡", intents=[{"code": "b", "confidence": 0.4}], confidence=0.4)
    question.refresh_from_db()
    assert question.state == "labelled"
    assert question.trained_in == "1"
    assert question.occurrences == 1
    assert question.predicted == [{"code": "b", "confidence": 0.4}]
    assert gold(project) == {"打卡": ["a"]}


def test_an_unknown_project_is_said_to_be_unknown() -> None:
    project = make_project()
    with pytest.raises(Project.DoesNotExist):
        log_question(
            project.pk + 1,
            "hello",
            intents=[],
            confidence=None,
            margin=None,
            method="rule",
            version="",
            at=timezone.now(),
        )


@pytest.mark.django_db(transaction=True)
def test_concurrent_logs_of_one_text_lose_no_count() -> None:
    project = make_project()
    workers, each = 8, 15
    start = threading.Barrier(workers)

    def ask() -> None:
        try:
            start.wait()
            for _ in range(each):
                log(project, "谁没打卡")
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Question.objects.get().occurrences == workers * each


def test_priority_is_the_same_in_python_and_in_sql() -> None:
    project = make_project()
    cases = [
        (confidence, occurrences)
        for confidence in (None, 0.0, 0.1, 1 / 3, 0.7, 0.999999, 1.0)
        for occurrences in (0, 1, 2, 7, 1000, 10**9)
    ]
    for n, (confidence, occurrences) in enumerate(cases):
        make_question(
            project,
            f"q{n}",
            confidence=confidence,
            occurrences=occurrences,
            priority=-1,
        )
    Question.objects.update(priority=priority.score_expression())
    sql = priority.score_sql(confidence="confidence", occurrences="occurrences")
    for q in Question.objects.extra(select={"plain_sql": sql}):
        expected = priority.score(confidence=q.confidence, occurrences=q.occurrences)
        assert q.priority == expected == q.plain_sql  # type: ignore[attr-defined]


def test_lowest_confidence_comes_first_and_traffic_decides_ties() -> None:
    project = make_project()
    make_question(project, "never predicted")
    log(project, "sure", confidence=0.9)
    log(project, "doubtful", confidence=0.3)
    for _ in range(50):
        log(project, "as doubtful, asked often", confidence=0.3)
        log(project, "sure, asked often", confidence=0.8)
    assert [q.text for q in Question.objects.of(project).by_priority()] == [
        "never predicted",
        "as doubtful, asked often",
        "doubtful",
        "sure, asked often",
        "sure",
    ]


# --- Many at once -----------------------------------------------------------------


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
    assert still_open.priority == priority.score(confidence=None, occurrences=0)


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


@pytest.mark.django_db(transaction=True)
def test_an_import_that_is_cut_off_keeps_its_chunks_and_a_rerun_adds_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 10)
    project = make_project()
    source = rows(*[(f"q{n}", "a") for n in range(35)])

    def cut_off() -> Iterable[Row]:
        yield from source[:25]
        raise KeyboardInterrupt

    reported: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        import_rows(project, cut_off(), create_intents=True, progress=reported.append)
    assert Question.objects.count() == reported[-1] == 20
    report = import_rows(project, source, create_intents=True)
    assert (report.created, report.labelled) == (15, 15)
    assert Question.objects.count() == GoldLabel.objects.count() == 35


@pytest.mark.django_db(transaction=True)
def test_imports_at_the_same_time_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 50)
    project = make_project()
    pairs = [(f"q{n}", f"i{n % 7}") for n in range(400)]
    reports = []
    start = threading.Barrier(3)

    def run(order: list[tuple[str, str]]) -> None:
        try:
            start.wait()
            reports.append(import_rows(project, rows(*order), create_intents=True))
        finally:
            connection.close()

    def ask() -> None:
        try:
            start.wait()
            for n in range(0, 400, 3):
                log(project, f"q{n}")
        finally:
            connection.close()

    threads = [
        threading.Thread(target=run, args=(pairs,)),
        threading.Thread(target=run, args=(pairs[::-1],)),
        threading.Thread(target=ask),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2
    assert gold(project) == {text: [label] for text, label in pairs}
    assert sum(report.labelled for report in reports) == 400
    assert sum(report.conflicts for report in reports) == 0


@pytest.mark.django_db(transaction=True)
def test_imports_of_one_project_take_turns_and_asking_does_not_wait() -> None:
    """Two of them in one another's rows, in opposite orders, would deadlock."""
    project, other = make_project(), make_project()

    def run(into: Project) -> threading.Thread:
        def work() -> None:
            try:
                import_rows(into, rows(("second", None)))
            finally:
                connection.close()

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    with transaction.atomic():
        import_rows(project, rows(("first", None)))
        run(other).join(timeout=30)
        assert Question.objects.of(other).count() == 1
        asking = threading.Thread(
            target=lambda: (log(project, "asked"), connection.close())
        )
        asking.start()
        asking.join(timeout=30)
        assert not asking.is_alive()
        waiting = run(project)
        waiting.join(timeout=0.5)
        assert waiting.is_alive()
    waiting.join(timeout=30)
    assert Question.objects.of(project).count() == 3


def test_a_test_question_cannot_be_moved_by_any_road() -> None:
    project = make_project()
    question = make_question(project, "held out", split="test")
    for split in ("train", "validation"):
        with pytest.raises(IntegrityError), transaction.atomic():
            Question.objects.filter(pk=question.pk).update(split=split)
    question.refresh_from_db()
    assert question.split == "test"
