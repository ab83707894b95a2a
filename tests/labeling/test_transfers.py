"""Imports and exports as transfers: started, run, cancelled, swept."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import django_rq
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from redis import Redis
from rq import Queue

from labeling import background, formats, queue, transfers
from labeling.labels import annotations
from labeling.models import Question, Transfer
from labeling.transfers import ownership, running
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_files(settings: Any, tmp_path: Path) -> Any:
    settings.MEDIA_ROOT = tmp_path
    jobs = django_rq.get_queue(background.DEFAULT)
    jobs.empty()
    yield
    jobs.empty()


def file(*rows: dict[str, Any], name: str = "q.jsonl") -> ContentFile:
    return ContentFile("".join(json.dumps(row) + "\n" for row in rows).encode(), name)


def stored() -> list[str]:
    try:
        return default_storage.listdir("transfers")[1]
    except FileNotFoundError:
        return []


def jobs() -> list[str]:
    return list(django_rq.get_queue(background.DEFAULT).job_ids)


def text_of(transfer: Transfer) -> str:
    with default_storage.open(transfer.stored_as) as data:
        return data.read().decode()


def test_an_import_is_queued_runs_and_leaves_its_report(
    django_capture_on_commit_callbacks: Any,
) -> None:
    project = make_project()
    make_labelled(project, make_intent(project, "old"), "taken")
    mia = make_person("mia", project)
    with django_capture_on_commit_callbacks(execute=True):
        transfer = transfers.start_import(
            project,
            file(
                {"text": "new", "label": "fresh"},
                {"text": "taken", "label": "fresh"},
                {"no": "text"},
            ),
            format="jsonl",
            options={"create_intents": True, "split": "train"},
            by=mia,
        )
    assert jobs() == [f"transfer-{transfer.pk}-1"]
    assert (transfer.state, transfer.file_name) == ("queued", "q.jsonl")
    assert len(stored()) == 1
    assert transfers.run(transfer.pk)
    transfer.refresh_from_db()
    assert (transfer.state, transfer.error, transfer.stored_as) == ("succeeded", "", "")
    assert transfer.done == transfer.total == transfer.size > 0
    report = transfer.report
    assert (report["rows"], report["created"], report["labelled"]) == (2, 1, 1)
    assert report["bad_lines"] == [[3, "no text"]]
    assert report["conflict_lines"] == [[2, ["fresh"], ["old"]]]
    question = Question.objects.get(text="new")
    assert question.gold_labels.get().set_by == mia
    assert question.split == "train"
    assert stored() == []
    assert not transfers.run(transfer.pk)


def test_an_export_holds_what_was_chosen() -> None:
    project = make_project()
    intent = make_intent(project, "a")
    make_labelled(project, intent, "=打卡", split="train")
    make_labelled(project, make_intent(project, "b"), "b", split="train")
    make_question(project, "open", split="train")
    make_labelled(project, intent, "test", split="test")
    make_question(make_project(), "somebody else's", split="train")
    mia = make_person("mia", project)

    def export(kind: str, **options: Any) -> str:
        transfer = transfers.start_export(project, format=kind, options=options, by=mia)
        assert transfers.run(transfer.pk)
        transfer.refresh_from_db()
        assert transfer.state == "succeeded"
        assert transfer.size == default_storage.size(transfer.stored_as)
        assert transfer.file_name.startswith(project.slug)
        return text_of(transfer)

    assert export("csv", split="train") == (
        '\ufefftext,label\n"\'=打卡","a"\n"b","b"\n"open",""\n'
    )
    assert export("jsonl", split="train", intent=intent.pk, other="ignored") == (
        '{"text": "=打卡", "label": "a"}\n'
    )
    assert export("jsonl", text="EN ｏｐ") == '{"text": "open"}\n'
    assert export("jsonl", text="op no") == ""
    leader, member = Question.objects.of(project)[:2]
    Question.objects.filter(pk=member.pk).update(cluster=leader)
    assert leader.text in export("jsonl", duplicates="leader")
    assert member.text in export("jsonl", duplicates="member")
    assert export("jsonl", duplicates="none").count("\n") == 2
    assert export("rasa", state="labelled").count("- intent:") == 2


def test_rasa_keeps_an_intent_together_and_says_what_it_left_out() -> None:
    project = make_project(is_multi_intent=True)
    one, two = make_intent(project, "a"), make_intent(project, "c+")
    for n in range(4):
        make_labelled(project, (one, two)[n % 2], f"q{n}")
    make_question(project, "open")
    both = make_labelled(project, one, "both")
    both.gold_labels.create(intent=two, source="import", set_at=timezone.now())
    transfer = transfers.start_export(
        project, format="rasa", by=make_person("mia", project)
    )
    transfers.run(transfer.pk)
    transfer.refresh_from_db()
    assert text_of(transfer) == (
        'version: "3.1"\n\nnlu:\n- intent: a\n  examples: |\n    - q0\n    - q2\n'
    )
    assert (transfer.report["rows"], transfer.report["left_out"]) == (2, 4)


def test_a_full_export_tells_who_said_what_when() -> None:
    project = make_project()
    for code in ("pay", "refund"):
        make_intent(project, code)
    make_question(project, "asked", split="train")
    ann, rex = make_person("ann", project), make_person("rex", project)
    [claimed] = queue.claim(project, ann)
    queue.submit(
        claimed.question.pk,
        ann,
        token=claimed.token,
        intents=["pay"],
        comment="sure",
    )
    question = Question.objects.get()
    annotations.set_gold(
        question, [project.intents.get(code="refund")], source="adjudication", by=rex
    )
    transfer = transfers.start_export(
        project, format="full", by=make_person("mia", project)
    )
    transfers.run(transfer.pk)
    transfer.refresh_from_db()
    assert transfer.file_name.endswith(".full.jsonl")
    told = json.loads(text_of(transfer))
    assert (told["text"], told["label"], told["state"]) == (
        "asked",
        "refund",
        "labelled",
    )
    (gold,) = told["gold"]
    assert (gold["intent"], gold["source"], gold["by"]) == (
        "refund",
        "adjudication",
        "rex",
    )
    (said,) = told["annotations"]
    assert (said["annotator"], said["intents"], said["comment"]) == (
        "ann",
        ["pay"],
        "sure",
    )
    assert [change["after"] for change in told["history"]] == [["pay"], ["refund"]]
    assert told["history"][1]["before"]["by"] == "ann"
    assert told["history"][1]["by"] == "rex"
    with default_storage.open(transfer.stored_as) as data:
        (row,) = formats.read(data, kind="jsonl")
    assert (row.text, row.labels) == ("asked", ("refund",))


def test_a_file_that_cannot_be_read_fails_with_the_reason() -> None:
    project = make_project()
    transfer = transfers.start_import(
        project,
        ContentFile(b"question,answer\na,b\n", "q.csv"),
        format="csv",
        by=make_person("mia", project),
    )
    transfers.run(transfer.pk)
    transfer.refresh_from_db()
    assert transfer.state == "failed"
    assert "name the columns" in transfer.error
    assert stored() == []
    with pytest.raises(ValueError, match="no format"):
        transfers.start_export(project, format="pdf", by=transfer.by)


def test_the_report_is_in_the_language_of_who_asked() -> None:
    from django.utils import translation

    project = make_project()
    with translation.override("zh-hans"):
        transfer = transfers.start_import(
            project,
            file({"text": "a"}, {}),
            format="jsonl",
            by=make_person("mia", project),
        )
    transfers.run(transfer.pk)
    transfer.refresh_from_db()
    assert transfer.report["bad_lines"][0][1] != "no text"


def test_a_waiting_one_is_cancelled_at_once() -> None:
    project = make_project()
    mia = make_person("mia", project)
    transfer = transfers.start_import(
        project, file({"text": "a"}), format="jsonl", by=mia
    )
    transfers.cancel(transfer, by=mia)
    transfer.refresh_from_db()
    assert (transfer.state, transfer.options["cancelled_by"]) == ("cancelled", "mia")
    assert not transfers.run(transfer.pk)
    assert not Question.objects.exists()
    with pytest.raises(transfers.WrongState):
        transfers.cancel(transfer, by=mia)
    transfers.sweep()
    assert stored() == []


def test_a_claim_is_lost_to_whoever_takes_over() -> None:
    project = make_project()
    transfer = transfers.start_export(
        project, format="jsonl", by=make_person("mia", project)
    )
    claim = ownership.Claim.take(transfer.pk)
    assert claim is not None
    assert claim.beat(done=1)
    assert ownership.Claim.take(transfer.pk) is None
    Transfer.objects.update(beat_at=timezone.now() - timedelta(seconds=31))
    second = ownership.Claim.take(transfer.pk)
    assert second is not None
    assert not claim.beat(done=9)
    assert not claim.end("failed")
    assert second.end("succeeded")
    transfer.refresh_from_db()
    assert (transfer.state, transfer.done) == ("succeeded", 0)


def test_the_result_of_a_lost_claim_is_thrown_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = make_project()
    make_question(project)
    transfer = transfers.start_export(
        project, format="jsonl", by=make_person("mia", project)
    )

    def taken_over(*args: Any, **kwargs: Any) -> Any:
        Transfer.objects.update(beat_at=timezone.now() + timedelta(seconds=1))
        return written(*args, **kwargs)

    written = running.exporting.export
    monkeypatch.setattr(running.exporting, "export", taken_over)
    transfers.run(transfer.pk)
    transfer.refresh_from_db()
    assert (transfer.state, transfer.stored_as) == ("running", "")
    assert stored() == []


def test_the_sweep_takes_up_what_a_dead_worker_left(
    django_capture_on_commit_callbacks: Any,
) -> None:
    project = make_project()
    mia = make_person("mia", project)
    dead, alive, lost, fresh = (
        transfers.start_export(project, format="jsonl", by=mia) for _ in range(4)
    )
    assert ownership.Claim.take(dead.pk)
    assert ownership.Claim.take(alive.pk)
    old = timezone.now() - timedelta(seconds=31)
    Transfer.objects.filter(pk=dead.pk).update(beat_at=old)
    Transfer.objects.filter(pk=lost.pk).update(created_at=old)
    with django_capture_on_commit_callbacks(execute=True):
        assert transfers.sweep() == [dead.pk, lost.pk]
    assert jobs() == [f"transfer-{dead.pk}-2", f"transfer-{lost.pk}-2"]
    assert transfers.sweep() == []
    states = dict(Transfer.objects.values_list("pk", "state"))
    assert states == {
        dead.pk: "queued",
        alive.pk: "running",
        lost.pk: "queued",
        fresh.pk: "queued",
    }


def test_a_transfer_that_kills_its_workers_is_given_up() -> None:
    project = make_project()
    transfer = transfers.start_export(
        project, format="jsonl", by=make_person("mia", project)
    )
    for attempt in range(1, 6):
        assert ownership.Claim.take(transfer.pk), attempt
        old = timezone.now() - timedelta(seconds=31)
        Transfer.objects.update(beat_at=old)
        transfers.sweep()
    transfer.refresh_from_db()
    assert transfer.state == "failed"
    assert "5 times" in transfer.error


def test_results_are_kept_for_seven_days() -> None:
    project = make_project()
    transfer = transfers.start_export(
        project, format="jsonl", by=make_person("mia", project)
    )
    transfers.run(transfer.pk)
    transfers.sweep()
    assert len(stored()) == 1
    past = timezone.now() - timedelta(days=7, minutes=1)
    Transfer.objects.update(finished_at=past)
    transfers.sweep()
    assert stored() == []
    transfer.refresh_from_db()
    assert (transfer.state, transfer.stored_as) == ("succeeded", "")


def test_a_queue_that_does_not_answer_is_asked_again_later(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    project = make_project()
    nowhere = Queue("default", connection=Redis(port=1, retry=None))
    with monkeypatch.context() as patch:
        patch.setattr(background.django_rq, "get_queue", lambda *a, **k: nowhere)
        with django_capture_on_commit_callbacks(execute=True):
            transfer = transfers.start_export(
                project, format="jsonl", by=make_person("mia", project)
            )
        assert transfers.workers() is None
    assert transfer.state == "queued"
    Transfer.objects.update(created_at=timezone.now() - timedelta(seconds=31))
    with django_capture_on_commit_callbacks(execute=True):
        assert transfers.sweep() == [transfer.pk]
    assert jobs() == [f"transfer-{transfer.pk}-2"]
    assert transfers.workers() == 0
