"""Imports that are cut off, run side by side, or beside questions being asked."""

import threading
from collections.abc import Iterable
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from labeling.formats import Row
from labeling.intake import bulk, import_rows, log_question
from labeling.models import GoldLabel, Project, Question
from tests.makers import make_project

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


def ask(project: Project, text: str) -> None:
    log_question(
        project.pk,
        text,
        intents=[],
        confidence=0.5,
        margin=None,
        method="model",
        version="1",
        at=timezone.now(),
    )


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

    def ask_all() -> None:
        try:
            start.wait()
            for n in range(0, 400, 3):
                ask(project, f"q{n}")
        finally:
            connection.close()

    threads = [
        threading.Thread(target=run, args=(pairs,)),
        threading.Thread(target=run, args=(pairs[::-1],)),
        threading.Thread(target=ask_all),
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
            target=lambda: (ask(project, "asked"), connection.close())
        )
        asking.start()
        asking.join(timeout=30)
        assert not asking.is_alive()
        waiting = run(project)
        waiting.join(timeout=0.5)
        assert waiting.is_alive()
    waiting.join(timeout=30)
    assert Question.objects.of(project).count() == 3
