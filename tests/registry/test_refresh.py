"""The queue follows the active version: answers, vectors, ranking, priorities."""

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import django_rq
import numpy as np
import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from redis import Redis
from rq import Queue

from labeling.models import Embedding, Project, Question
from labeling.ranking import priority
from labeling.search import clusters, similar
from registry import artifacts, jobs, queueing, refresh, versions
from registry.models import Refresh
from tests.makers import make_intent, make_labelled, make_project, make_question
from tests.registry.makers import make_version

pytestmark = pytest.mark.django_db


SWAPPED = {"pay": ["ship"], "ship": ["pay"]}


def embed(texts: Sequence[str]) -> Any:
    """Texts with the same first word point almost the same way."""
    rows = []
    for text in texts:
        word = text.split()[0]
        rng = np.random.default_rng(int.from_bytes(word.encode()[:4], "big"))
        own = np.random.default_rng(int.from_bytes(text.encode()[-4:], "big"))
        row = rng.normal(size=384) + 0.3 * own.normal(size=384)
        rows.append(row / np.linalg.norm(row))
    return np.array(rows, np.float32)


@pytest.fixture(autouse=True)
def encoder() -> Iterator[None]:
    with override_settings(LABELING_ENCODER=f"{__name__}.embed"):
        yield


def make_open(project: Project, *texts: str, **overrides: Any) -> list[Question]:
    values = {"split": "train", "diversity": priority.UNRANKED, **overrides}
    return [make_question(project, text, **values) for text in texts]


def run(project: Project, **kwargs: Any) -> refresh.Report:
    report = refresh.run(project.pk, **kwargs)
    assert report is not None
    return report


def test_open_questions_get_the_active_versions_answer() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    make_open(project, "pay me", "hello", "ship it")
    report = run(project)
    assert (report.predicted, report.embedded, report.is_done) == (3, 3, True)
    sure, unsure, _other = project.questions.order_by("pk")
    assert sure.predicted is not None
    assert sure.predicted[0]["code"] == "pay"
    assert (sure.predicted_by, sure.method) == ("1", "model")
    assert sure.trace is not None
    assert sure.trace["model"][0]["code"] == "pay"
    assert sure.confidence is not None
    assert sure.confidence > 0.99
    assert unsure.margin == 0.0
    assert unsure.priority > sure.priority


def test_a_second_run_changes_nothing() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    make_open(project, *(f"pay {n}" for n in range(30)))
    run(project)
    before = list(project.questions.order_by("pk").values())
    report = run(project)
    assert report == refresh.Report(0, 0, 0, 0, True)
    assert list(project.questions.order_by("pk").values()) == before


def test_a_new_version_answers_anew_and_a_roll_back_too() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    make_open(project, "pay me")
    run(project)
    make_version(project, ["pay", "ship"], words=SWAPPED, active=True)
    assert run(project).predicted == 1
    question = project.questions.get()
    assert question.predicted is not None
    assert (question.predicted_by, question.predicted[0]["code"]) == ("2", "ship")
    versions.roll_back(project, by=None)
    assert run(project).predicted == 1
    question.refresh_from_db()
    assert (question.predicted_by, question.predicted[0]["code"]) == ("1", "pay")


def test_labelled_test_questions_are_answered_without_their_gold() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    ship = project.intents.get(code="ship")
    tested = make_labelled(project, ship, "pay tested", split="test")
    trained = make_labelled(project, ship, "pay trained", split="train")
    assert run(project).predicted == 1
    tested.refresh_from_db()
    trained.refresh_from_db()
    assert tested.predicted is not None
    assert (tested.predicted[0]["code"], tested.method) == ("pay", "model")
    assert trained.predicted is None


def test_open_test_questions_and_other_projects_are_left_alone() -> None:
    project, other = make_project(), make_project()
    make_version(project, ["pay", "ship"], active=True)
    make_open(project, "pay blind", split="test")
    make_open(other, "pay elsewhere")
    assert run(project).predicted == 0
    assert not Question.objects.exclude(predicted_by="").exists()


def test_bounds_hold_and_the_highest_priority_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refresh, "MOST_PREDICTED", 4)
    monkeypatch.setattr(refresh, "MOST_EMBEDDED", 5)
    monkeypatch.setattr(refresh, "_AT_ONCE", 2)
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    for n in range(10):
        make_open(project, f"pay {n}", priority=1.0 + n)
    report = run(project)
    assert (report.predicted, report.embedded, report.is_done) == (4, 5, True)
    answered = project.questions.filter(predicted_by="1").values_list("text", flat=True)
    assert set(answered) == {"pay 6", "pay 7", "pay 8", "pay 9"}
    assert run(project).predicted == 0
    Refresh.objects.update(began_at=timezone.now() - timedelta(days=2))
    assert run(project).predicted == 4


def test_a_run_without_time_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refresh, "_AT_ONCE", 4)
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    make_open(project, *(f"pay {n}" for n in range(12)))
    clock = iter(range(1000))
    monkeypatch.setattr("registry.refresh.monotonic", lambda: float(next(clock)))
    runs = [run(project, budget_s=1.5)]
    while not runs[-1].is_done:
        runs.append(run(project, budget_s=1.5))
    assert len(runs) > 4
    assert sum(r.predicted for r in runs) == sum(r.embedded for r in runs) == 12
    assert project.questions.filter(diversity=1.0).exists()


def test_killed_between_vector_and_cluster_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = make_project()
    make_open(project, "same 1", "same 2")

    def killed(*_args: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(clusters, "assign", killed)
        with pytest.raises(KeyboardInterrupt):
            refresh.run(project.pk)
    placed: list[int] = []

    def place(_project: int, ids: Sequence[int]) -> int:
        placed.extend(ids)
        return 0

    monkeypatch.setattr(clusters, "assign", place)
    run(project)
    assert set(placed) == set(project.questions.values_list("pk", flat=True))


def test_an_answer_given_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    (question,) = make_open(project, "pay me", predicted_by="0")
    answer = refresh._Run._answer
    written: list[int | None] = []

    def stale(self: Any, rows: Any) -> int | None:
        if not written:
            Question.objects.filter(pk=question.pk).update(
                predicted_by="2", predicted=[{"code": "newer", "confidence": 1.0}]
            )
        written.append(answer(self, rows))
        return written[-1]

    monkeypatch.setattr(refresh._Run, "_answer", stale)
    refresh.run(project.pk)
    # The first answer was computed for a row that had changed: it was not written.
    assert written == [0]
    question.refresh_from_db()
    assert question.predicted_by == "2"


def test_what_a_client_raised_stays_above_all() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    make_open(project, "pay raised", priority=priority.RAISED)
    make_open(project, *(f"hello {n}" for n in range(5)))
    run(project)
    assert project.questions.order_by("-priority")[0].text == "pay raised"


def test_a_version_that_cannot_be_loaded_writes_nothing() -> None:
    project = make_project()
    version = make_version(project, ["pay", "ship"], active=True)
    make_open(project, "pay me")
    (artifacts.open_verified(version) / "model.onnx").unlink()
    assert run(project).predicted == 0
    assert project.questions.get().predicted is None


def test_without_a_version_typical_questions_of_each_kind_come_first() -> None:
    project = make_project(min_labels_first=3)
    make_intent(project, "a")
    for word in ("red", "green", "blue"):
        make_open(project, *(f"{word} {n}" for n in range(8)))
    assert run(project).is_done
    head = project.questions.order_by("-priority", "pk")[:3]
    assert {q.text.split()[0] for q in head} == {"red", "green", "blue"}


def test_without_an_encoder_the_rest_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    make_open(project, "pay me")

    def missing(_texts: Sequence[str]) -> Any:
        raise similar.EncoderMissing("build one")

    monkeypatch.setattr(similar, "encode", missing)
    report = run(project)
    assert (report.predicted, report.embedded, report.is_done) == (1, 0, True)
    assert not Embedding.objects.exists()


def test_five_questions_are_enough() -> None:
    project = make_project()
    make_open(project, *(f"q{n} x" for n in range(5)))
    assert run(project).is_done
    assert all(0 < q.priority < priority.RAISED for q in project.questions.all())
    run(make_project())  # and none at all


@pytest.mark.django_db(transaction=True)
def test_two_at_once_do_no_harm() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    make_open(project, *(f"pay {n}" for n in range(300)))
    start, reports = threading.Barrier(4), []

    def go() -> None:
        try:
            start.wait()
            reports.append(refresh.run(project.pk))
        finally:
            connection.close()

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [r for r in reports if r is not None]
    assert sum(r.predicted for r in done) == sum(r.embedded for r in done) == 300
    assert project.questions.filter(predicted_by="1").count() == 300


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_nobody() -> None:
    from django.db import transaction

    project = make_project()
    held, free = make_open(project, "pay held", "pay free")
    run(project)
    make_version(project, ["pay", "ship"], active=True)
    done = threading.Event()

    def go() -> None:
        try:
            refresh.run(project.pk)
            done.set()
        finally:
            connection.close()

    with transaction.atomic():
        Question.objects.select_for_update(no_key=True).get(pk=held.pk)
        thread = threading.Thread(target=go)
        thread.start()
        assert done.wait(20)
        thread.join()
    assert set(project.questions.values_list("text", "predicted_by")) == {
        ("pay held", ""),
        ("pay free", "1"),
    }
    run(project)
    held.refresh_from_db()
    assert held.predicted_by == "1"
    assert free.predicted_by == ""


class TestEnqueueing:
    @pytest.fixture
    def queue(self) -> Iterator[Queue]:
        queue = django_rq.get_queue("default")
        queue.empty()
        yield queue
        queue.empty()

    def test_an_activation_enqueues_one(
        self, queue: Queue, django_capture_on_commit_callbacks: Any
    ) -> None:
        project = make_project()
        with django_capture_on_commit_callbacks(execute=True):
            make_version(project, active=True)
        queueing.refresh(project.pk)
        assert queue.job_ids == [f"refresh-{project.pk}"]
        job = queue.fetch_job(queue.job_ids[0])
        assert job is not None
        assert (job.func_name, list(job.args)) == (queueing.JOB, [project.pk])

    def test_an_unreachable_queue_does_not_stop_an_activation(
        self,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        django_capture_on_commit_callbacks: Any,
    ) -> None:
        nowhere = Queue("default", connection=Redis(port=1, retry=None))
        monkeypatch.setattr(django_rq, "get_queue", lambda *a, **k: nowhere)
        project = make_project()
        with django_capture_on_commit_callbacks(execute=True):
            version = make_version(project, active=True)
        assert version.state == "active"
        assert "could not be put on the queue" in caplog.text

    def test_the_scheduler_asks_for_what_is_due(self, queue: Queue) -> None:
        rested, waiting, _empty = make_project(), make_project(), make_project()
        for project in (rested, waiting):
            make_open(project, f"hello {project.pk}")
        run(rested)
        jobs.refresh_queues()
        assert queue.job_ids == [f"refresh-{waiting.pk}"]
        Refresh.objects.update(ran_at=timezone.now() - timedelta(minutes=6))
        assert refresh.due() == sorted([rested.pk, waiting.pk])

    def test_the_job_runs(self) -> None:
        project = make_project()
        make_open(project, "hello there")
        jobs.refresh_queue(project.pk)
        assert Refresh.objects.get().is_done
