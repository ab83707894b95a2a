"""Reads for many requests at once: shared, bounded, broken off and taken up again."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pytest
from django.db import connection

from labeling.models import GoldLabel, Project
from labeling.normalise import text_hash
from registry.serving import engine, gold, lookup
from registry.serving.lookup import Away, Lookup
from registry.serving.process import ROLE
from registry.serving.runtime import runtime
from tests.makers import make_intent, make_labelled, make_project
from tests.registry.makers import make_version
from tests.waiting import crowd, within

Read = Callable[[Sequence[str]], dict[str, str]]


@pytest.fixture
def start(monkeypatch: Any) -> Iterator[Callable[..., Lookup[str, str]]]:
    monkeypatch.setattr(lookup, "_PROBE_S", 0.05)
    running: list[Lookup[str, str]] = []

    def start(read: Read, **options: Any) -> Lookup[str, str]:
        running.append(Lookup("test", read, **{"wait_s": 2.0, **options}))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def at_once(n: int, run: Callable[[int], None]) -> None:
    barrier = threading.Barrier(n)

    def one(i: int) -> None:
        barrier.wait()
        run(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_who_waits_at_the_same_time_shares_a_read(start: Any) -> None:
    reads: list[Sequence[str]] = []

    def read(keys: Sequence[str]) -> dict[str, str]:
        reads.append(keys)
        time.sleep(0.05)
        return {key: key.upper() for key in keys if key != "nobody"}

    one = start(read)
    got: dict[int, Any] = {}
    at_once(20, lambda i: got.update({i: one.get([f"k{i % 5}", "nobody"])}))
    assert got == {i: {f"k{i % 5}": f"K{i % 5}"} for i in range(20)}
    assert len(reads) <= 3
    assert sorted(reads[-1]) == sorted(set(reads[-1]))  # no key twice


def test_a_read_takes_a_bounded_number_of_keys(start: Any) -> None:
    sizes: list[int] = []

    def read(keys: Sequence[str]) -> dict[str, str]:
        sizes.append(len(keys))
        time.sleep(0.02)
        return dict.fromkeys(keys, "")

    one = start(read, max_keys=30)
    at_once(16, lambda i: one.get([f"{i}-{n}" for n in range(10)]))
    assert sum(sizes) == 160
    assert max(sizes) == 30


def test_nobody_waits_longer_and_then_nobody_waits(start: Any) -> None:
    frozen, thawed = threading.Event(), threading.Event()
    reads: list[Sequence[str]] = []

    def read(keys: Sequence[str]) -> dict[str, str]:
        reads.append(keys)
        if frozen.is_set():
            thawed.wait(60)
            time.sleep(0.4)
        return dict.fromkeys(keys, "here")

    one = start(read, wait_s=0.1)
    assert one.get(["a"]) == {"a": "here"}
    frozen.set()
    began = time.monotonic()
    with pytest.raises(Away):
        one.get(["a"])
    assert time.monotonic() - began > 0.09
    for _ in range(1000):  # who waited would wait for 100 s, longer than the read
        with pytest.raises(Away):
            one.get(["a"])
    assert len(reads) == 2
    assert one.is_away
    thawed.set()
    # It comes back, but too slowly: still nobody waits.
    time.sleep(0.6)
    assert one.is_away
    frozen.clear()
    assert within(2, lambda: not one.is_away)
    assert one.get(["a"]) == {"a": "here"}


def test_an_error_is_tried_again_until_it_is_gone(start: Any) -> None:
    broken = threading.Event()
    broken.set()

    def read(keys: Sequence[str]) -> dict[str, str]:
        if broken.is_set():
            raise OSError("no database")
        return dict.fromkeys(keys, "here")

    one = start(read)
    with pytest.raises(Away):
        one.get(["a"])
    time.sleep(0.2)
    assert one.is_away
    broken.clear()
    assert within(2, lambda: not one.is_away)


# --- Gold labels in a web process, from the database ------------------------------


@pytest.fixture
def project(transactional_db: None, monkeypatch: Any) -> Iterator[Project]:
    monkeypatch.setenv(ROLE, "web")
    monkeypatch.setattr(lookup, "_PROBE_S", 0.05)
    yield make_project()
    gold._lookup.stop()


def codes(project: Project, *texts: str) -> list[list[str] | None]:
    hashes = [text_hash(text) for text in texts]
    found = gold.find(project.pk, hashes)
    return [found.get(hash_) for hash_ in hashes]


def test_gold_labels_are_found_through_the_thread(project: Project) -> None:
    pay, ship = make_intent(project, "pay"), make_intent(project, "ship")
    make_labelled(project, pay, "Pay me!")
    several = make_labelled(project, pay, "pay, then ship")
    GoldLabel.objects.create(
        question=several, intent=ship, source="import", set_at=project.created_at
    )
    other = make_project()
    make_labelled(other, make_intent(other, "secret"), "天气")
    assert codes(project, "pay me", "pay, then ship", "天气", "pay") == [
        ["pay"],
        ["pay", "ship"],
        None,
        None,
    ]
    assert codes(other, "天气") == [["secret"]]
    assert gold.find(project.pk, []) == {}


def test_it_is_what_every_other_process_finds(
    project: Project, monkeypatch: Any
) -> None:
    intent = make_intent(project, "pay")
    retired = make_intent(project, "old")
    make_labelled(project, intent, "pay")
    make_labelled(project, retired, "retired")
    none = make_labelled(project, intent, "nothing at all")
    none.gold.clear()
    retired.retired_at = project.created_at
    retired.save()
    texts = ["pay", "retired", "nothing at all", "unknown"]
    in_web = codes(project, *texts)
    assert in_web == [["pay"], None, [], None]
    monkeypatch.setenv(ROLE, "worker")
    assert codes(project, *texts) == in_web


def test_a_locked_table_holds_nobody_up(project: Project) -> None:
    make_labelled(project, make_intent(project, "pay"), "pay")
    assert codes(project, "pay") == [["pay"]]
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory", None)
    parameters.pop("context", None)
    with psycopg.connect(**parameters) as other:
        other.execute("LOCK TABLE labeling_question IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        assert codes(project, "pay") == [None]
        assert time.monotonic() - began < 1.0 * crowd()
        assert gold.is_away()
        other.rollback()
    assert within(3, lambda: not gold.is_away())
    assert codes(project, "pay") == [["pay"]]


def test_a_lost_connection_is_opened_again(project: Project) -> None:
    make_labelled(project, make_intent(project, "pay"), "pay")
    assert codes(project, "pay") == [["pay"]]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    codes(project, "pay")
    assert within(3, lambda: codes(project, "pay") == [["pay"]])


def test_the_model_runs_while_the_database_is_asked(
    project: Project, monkeypatch: Any
) -> None:
    version = make_version(project, ["pay", "ship"], active=True)
    make_labelled(project, project.intents.get(code="ship"), "pay me")
    bundle = runtime.bundle(version.pk)
    ran, real = threading.Event(), bundle.then
    waited: list[bool] = []

    def then(texts: Sequence[str], begin: Any) -> Any:
        ran.set()
        return real(texts, begin)

    read = gold._lookup._read

    def slow(keys: Sequence[gold.Asked]) -> Mapping[gold.Asked, list[str]]:
        waited.append(ran.wait(5))
        return read(keys)

    monkeypatch.setattr(bundle, "then", then)
    monkeypatch.setattr(gold._lookup, "_read", slow)
    monkeypatch.setattr(gold._lookup, "_wait_s", 10.0)
    texts = ["pay me", "pay them", "Pay  ME!"]
    answers = engine.classify(engine.target_of(project), texts)
    assert waited == [True]
    assert [answer.method for answer in answers] == ["gold", "model", "gold"]
    assert [answer.intents[0]["code"] for answer in answers] == ["ship", "pay", "ship"]
    assert [answer.text for answer in answers] == texts
