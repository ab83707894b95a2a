"""Evaluations that are asked for: queued, run by a worker, given up, swept."""

import json
from pathlib import Path
from typing import Any

import django_rq
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import translation

from labeling import background, formats
from registry import artifacts
from registry.models import Evaluation, Version
from tests.makers import make_labelled, make_person, make_project
from tests.registry.makers import make_version
from training import evaluation, jobs
from training.evaluation import runs
from training.models import EvaluationRun

pytestmark = pytest.mark.django_db

State = EvaluationRun.State


@pytest.fixture(autouse=True)
def _own_files(settings: Any, tmp_path: Path) -> Any:
    settings.MEDIA_ROOT = tmp_path
    queue = django_rq.get_queue(background.DEFAULT)
    queue.empty()
    yield
    queue.empty()


@pytest.fixture
def version() -> Version:
    version = make_version(make_project(), ["greet", "order"], gate="pending")
    greet = version.project.intents.get(code="greet")
    for n in range(4):
        make_labelled(version.project, greet, f"greet {n}", split="test")
    return version


def lines(*pairs: tuple[str, str], name: str = "q.jsonl") -> ContentFile:
    rows = [json.dumps({"text": text, "label": label}) for text, label in pairs]
    return ContentFile("\n".join(rows).encode(), name)


def ask(version: Version, **values: Any) -> EvaluationRun:
    return evaluation.request(version, **{"kind": "test", "by": None, **values})


def ended(run: EvaluationRun) -> EvaluationRun:
    assert evaluation.execute(run.pk)
    run.refresh_from_db()
    assert run.finished_at is not None
    return run


def stored() -> list[str]:
    try:
        return list(default_storage.listdir(runs.FOLDER)[1])
    except FileNotFoundError:
        return []


def queued() -> list[str]:
    return list(django_rq.get_queue(background.DEFAULT).job_ids)


def age(run: EvaluationRun, seconds: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE training_evaluationrun SET"
            " beat_at = now() - %s * interval '1 second',"
            " created_at = now() - %s * interval '1 second' WHERE id = %s",
            [seconds, seconds, run.pk],
        )


def test_a_file_is_queued_measured_and_deleted(
    version: Version, django_capture_on_commit_callbacks: Any
) -> None:
    mia = make_person("mia", version.project)
    file = lines(("greet you", "greet"), ("order", "greet"), ("hm\0", "return"))
    with django_capture_on_commit_callbacks(execute=True):
        run = ask(version, kind="file", file=file, by=mia)
    assert (run.state, run.source, run.by) == (State.QUEUED, "q.jsonl", mia)
    assert len(stored()) == 1
    (job,) = django_rq.get_queue(background.DEFAULT).jobs
    assert (job.func_name, list(job.args)) == ("training.jobs.evaluate_run", [run.pk])
    jobs.evaluate_run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.error, run.attempts) == (State.DONE, "", 1)
    kept = run.evaluation
    assert kept is not None
    assert (kept.kind, kept.source, kept.n) == ("file", "q.jsonl", 3)
    assert kept.accuracy == pytest.approx(1 / 3)
    assert kept.answers.count() == 3
    assert stored() == []
    version.refresh_from_db()
    assert version.gate == "pending", "a file says nothing of the verdict"


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_tables_are_read_too(version: Version, kind: str) -> None:
    import io

    content = io.BytesIO()
    formats.save([("greet", ("greet",))], content, kind=kind, many=False)
    file = ContentFile(content.getvalue(), f"rows.{kind}")
    run = ended(ask(version, kind="file", file=file))
    assert (run.state, run.error) == (State.DONE, "")
    assert run.evaluation is not None
    assert run.evaluation.accuracy == 1.0


def test_test_questions_renew_the_verdict(version: Version) -> None:
    run = ended(ask(version))
    assert run.state == State.DONE
    version.refresh_from_db()
    assert version.gate == "passed"
    assert version.evaluations.get() == run.evaluation


def test_who_asks_twice_gets_the_same_and_a_file_is_measured_each_time(
    version: Version, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        first = ask(version)
        assert ask(version) == first
        assert ask(version, kind="audit") != first
        one = ask(version, kind="file", file=lines(("greet", "greet")))
        assert ask(version, kind="file", file=lines(("greet", "greet"))) != one
    assert len(queued()) == 4


def test_a_run_is_done_once(version: Version) -> None:
    run = ended(ask(version))
    assert not evaluation.execute(run.pk)
    assert Evaluation.objects.count() == 1
    other = ask(version)
    EvaluationRun.objects.filter(pk=other.pk).update(
        state=State.RUNNING, attempts=1, beat_at=run.created_at
    )
    age(other, 5)
    assert not evaluation.execute(other.pk), "somebody runs it"


def test_who_lost_a_run_keeps_nothing(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask(version)
    appraise = runs.appraise_version

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        result = appraise(*args, **kwargs)
        EvaluationRun.objects.filter(pk=run.pk).update(attempts=2)
        return result

    monkeypatch.setattr(runs, "appraise_version", overtaken)
    assert not evaluation.execute(run.pk)
    run.refresh_from_db()
    assert (run.state, run.attempts) == (State.RUNNING, 2)
    assert not Evaluation.objects.exists()
    version.refresh_from_db()
    assert version.gate == "pending"


def test_signs_of_life_and_who_stops_without_them(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "BEAT_S", 0.0)
    run = ask(version)
    seen: list[Any] = []
    appraise = runs.appraise_version

    def slow(*args: Any, check: Any, **kwargs: Any) -> Any:
        for _n in range(2):
            check()
            run.refresh_from_db()
            seen.append(run.beat_at)
        EvaluationRun.objects.filter(pk=run.pk).update(attempts=9)
        return appraise(*args, check=check, **kwargs)

    monkeypatch.setattr(runs, "appraise_version", slow)
    assert not evaluation.execute(run.pk)
    assert seen[0] is not None
    assert not Evaluation.objects.exists()


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (None, "Choose a file"),
        (ContentFile(b"", "q.jsonl"), "empty"),
        (ContentFile(b"\x00\x01\x02", "q.bin"), "name the format"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(
    version: Version, file: Any, says: str
) -> None:
    with pytest.raises((evaluation.RequestError, formats.Unreadable), match=says):
        ask(version, kind="file", file=file)
    with pytest.raises(evaluation.RequestError):
        ask(version, kind="nonsense")
    assert not EvaluationRun.objects.exists()
    assert stored() == []


def test_a_large_file_is_refused(version: Version, settings: Any) -> None:
    settings.LABELING_MAX_UPLOAD_MB = 0
    with pytest.raises(evaluation.RequestError, match="larger than"):
        ask(version, kind="file", file=lines(("greet", "greet")))


def test_a_failure_says_what_is_wrong(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlabelled = ContentFile(b'{"text": "greet"}\n{"broken', "q.jsonl")
    run = ended(ask(version, kind="file", file=unlabelled))
    assert run.state == State.FAILED
    assert "no labelled questions" in run.error
    assert "no text or no label" in run.error
    assert stored() == []
    run = ended(ask(version, kind="audit"))
    assert "labelled blind" in run.error
    monkeypatch.setattr("training.evaluation.rows.MAX_ROWS", 1)
    many = lines(("greet", "greet"), ("order", "order"))
    run = ended(ask(version, kind="file", file=many))
    assert "more than 1 questions" in run.error
    run = ask(version, kind="file", file=lines(("greet", "greet")))
    default_storage.delete(run.stored_as)
    assert "no longer there" in ended(run).error
    artifacts.remove(version)
    run = ended(ask(version))
    assert run.state == State.FAILED
    assert run.error
    assert not Evaluation.objects.exists()


def test_errors_are_in_the_language_of_who_asked(version: Version) -> None:
    with translation.override("zh-hans"):
        run = ask(version, kind="audit")
    assert run.language == "zh-hans"
    assert ended(run).state == State.FAILED


def test_an_unforeseen_error_is_on_the_row(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("hm")

    monkeypatch.setattr(runs, "appraise_version", broken)
    run = ended(ask(version))
    assert run.state == State.FAILED
    assert "ZeroDivisionError" in run.error


def test_what_a_dead_worker_left_is_taken_up_and_at_last_given_up(
    version: Version,
) -> None:
    run = ask(version, kind="file", file=lines(("greet", "greet")))
    rows = EvaluationRun.objects.filter(pk=run.pk)
    rows.update(state=State.RUNNING, attempts=1, beat_at=run.created_at)
    age(run, 10)
    assert evaluation.sweep() == []
    age(run, runs.STALE_S + 5)
    assert evaluation.sweep() == [run.pk]
    assert queued() == [f"evaluation-{run.pk}-1"]
    assert ended(run).state == State.DONE
    assert run.attempts == 2
    again = ask(version, kind="file", file=lines(("greet", "greet")))
    rows = EvaluationRun.objects.filter(pk=again.pk)
    rows.update(state=State.RUNNING, attempts=runs.MAX_ATTEMPTS)
    age(again, runs.STALE_S + 5)
    jobs.sweep()
    again.refresh_from_db()
    assert again.state == State.FAILED
    assert "3 times" in again.error
    assert stored() == []


def test_a_stale_run_may_be_claimed_without_the_sweep(version: Version) -> None:
    run = ask(version)
    EvaluationRun.objects.filter(pk=run.pk).update(state=State.RUNNING, attempts=1)
    age(run, runs.STALE_S + 5)
    assert ended(run).state == State.DONE


def test_a_run_that_the_queue_lost_is_put_on_it_again(version: Version) -> None:
    run = ask(version)  # its transaction never commits, so nothing was enqueued
    assert evaluation.sweep() == []
    age(run, runs.LOST_S + 5)
    assert evaluation.sweep() == [run.pk]
    assert evaluation.sweep() == [], "it waits on the queue"
    assert queued() == [f"evaluation-{run.pk}-0"]


def test_files_of_nobody_go(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    kept = ask(version, kind="file", file=lines(("greet", "greet")))
    default_storage.save(f"{runs.FOLDER}/orphan.jsonl", lines(("greet", "greet")))
    evaluation.sweep()
    assert len(stored()) == 2
    monkeypatch.setattr(runs, "_ORPHAN", timedelta(0))
    evaluation.sweep()
    assert [f"{runs.FOLDER}/{name}" for name in stored()] == [kept.stored_as]
