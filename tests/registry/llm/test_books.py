"""The budget and the answers in the database: shared by all, and never waited for."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from labeling.models import Project
from registry.llm import books, fallback
from registry.llm.books import Spent
from registry.models import LlmAnswer, LlmDay
from registry.serving import engine
from registry.serving.lookup import Away, Lookup
from tests.makers import make_project
from tests.registry.llm.speaker import Speaker
from tests.waiting import crowd, within

pytestmark = pytest.mark.django_db(transaction=True)


def open_page(project: Project, *texts: str, wanted: int | None = None) -> books.Page:
    n = len(texts) if wanted is None else wanted
    return books.open_page(project, texts, model="tiny", wanted=n)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as a web process, with a thread of its own for the books."""
    monkeypatch.setenv("TUNELOOP_ROLE", "web")
    own: Lookup[Any, Any] = Lookup("llm", _then_close, wait_s=books.WAIT_S)
    monkeypatch.setattr(books, "_lookup", own)
    yield
    # Else its connection keeps the test's database from going.
    assert within(20, lambda: not own.is_away)


def _then_close(openings: Any) -> Any:
    try:
        return books._serve(openings)
    finally:
        connection.close()


@pytest.fixture
def locked(transactional_db: Any) -> Iterator[psycopg.Connection]:
    """Another session that can hold what the books need, as a database that hangs."""
    with psycopg.connect(**_address()) as other:
        yield other


def _address() -> dict[str, Any]:
    params = connection.get_connection_params()
    named = ("dbname", "user", "password", "host", "port")
    return {name: params[name] for name in named if params.get(name)}


def test_all_together_take_no_more_than_the_budget() -> None:
    project = make_project(llm_fallback=True, llm_budget=50)

    def take(n: int) -> int:
        try:
            texts = [f"question {n}.{m}" for m in range(n % 5 + 1)]
            return open_page(project, *texts).granted
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(take, range(40)))
    assert sum(granted) == 50
    assert LlmDay.objects.get().calls == 50


def test_whoever_waits_for_another_gets_what_that_one_left() -> None:
    project = make_project(llm_fallback=True, llm_budget=6)
    open_page(project, "a")

    def take() -> int:
        try:
            return open_page(project, "e", "f", "g").granted
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert open_page(project, "b", "c", "d").granted == 3
            second = pool.submit(take)
            assert within(20, _somebody_waits)
        assert second.result(20) == 2
    assert LlmDay.objects.get().calls == 6


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() is not None


def test_what_was_not_used_goes_back() -> None:
    project = make_project(llm_fallback=True, llm_budget=5)
    page = open_page(project, "a", "b", "c", "d")
    assert (page.granted, open_page(project, "e", "f").granted) == (4, 1)
    assert page.day is not None
    books.close_page(Spent(project.pk, page.day, failed=1, returned=3))
    assert open_page(project, "g", "h", "i", "j").granted == 3


def test_a_smaller_budget_takes_nothing_back() -> None:
    project = make_project(llm_fallback=True, llm_budget=5)
    open_page(project, "a", "b", "c")
    project.llm_budget = 1
    assert open_page(project, "d").granted == 0
    assert LlmDay.objects.get().calls == 3


def test_a_project_that_is_gone_has_no_budget() -> None:
    project = make_project(llm_fallback=True)
    gone = Project(pk=project.pk, llm_budget=5)
    project.delete()
    assert open_page(gone, "a").granted == 0


@pytest.mark.usefixtures("web")
class TestInAWebProcess:
    def test_pages_and_answers_go_through_one_thread(self) -> None:
        project = make_project(llm_fallback=True)
        page = open_page(project, "a")
        assert (page.granted, dict(page.known)) == (1, {})
        assert page.day is not None
        key = page.prompt.key("tiny", "a")
        books.close_page(Spent(project.pk, page.day, answered=1, answers={key: ["x"]}))
        assert open_page(project, "a").known == {"a": ["x"]}
        assert LlmDay.objects.get().answered == 1

    def test_a_database_that_hangs_is_not_waited_for(
        self, unsure: Project, speaker: Speaker, locked: psycopg.Connection
    ) -> None:
        target = engine.target_of(unsure)
        said = engine.classify(target, ["the wages"], use_gold=False)
        open_page(unsure, "a")
        locked.execute("LOCK registry_llmday, registry_llmanswer")
        started = time.monotonic()
        assert fallback.improve(target, said)[0].method == "fallback"
        assert time.monotonic() - started < (books.WAIT_S + 2) * crowd()
        with pytest.raises(Away):  # at once: nobody waits any more
            open_page(unsure, "b")
        assert not speaker.asked
        locked.rollback()

        def is_back() -> bool:
            return fallback.improve(target, said)[0].method == "llm"

        assert within(20, is_back)
        # Whoever went on without was not charged.
        assert LlmDay.objects.get().calls == 2

    def test_what_was_spent_meanwhile_is_written_down_once(
        self, unsure: Project, speaker: Speaker, locked: psycopg.Connection
    ) -> None:
        hangs, goes_on = threading.Event(), threading.Event()

        def say(question: str) -> str:
            hangs.set()
            goes_on.wait(20)
            return '{"intent": "pay"}'

        speaker.say = say
        target = engine.target_of(unsure)
        said = engine.classify(target, ["the wages"], use_gold=False)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(fallback.improve, target, said)
            assert hangs.wait(20)
            locked.execute("LOCK registry_llmday, registry_llmanswer")
            goes_on.set()
            assert asked.result(20)[0].method == "llm"
        assert books._unwritten or books._lookup.is_away
        locked.rollback()
        assert within(20, lambda: LlmAnswer.objects.count() == 1)
        assert within(20, lambda: not books._lookup.is_away)
        spent = LlmDay.objects.get()
        assert (spent.calls, spent.answered, spent.tokens_in) == (1, 1, 100)
