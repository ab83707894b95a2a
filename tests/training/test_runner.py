"""A batch from its claim to its verdict, with real training on a tiny base model."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from labeling.models import Question
from registry import artifacts, versions
from registry.models import Evaluation
from registry.onnx.session import OnnxClassifier
from tests.training.makers import add_labels, make_batch, make_trainable
from tests.waiting import crowd
from training import batches
from training.batches import ownership, workspace
from training.models import TrainingBatch
from training.running import runner, stages

# The heartbeat writes from a connection of its own: it has to see what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

State = TrainingBatch.State


def run(batch: TrainingBatch) -> TrainingBatch:
    done = runner.run(batch.pk)
    assert done is not None
    return done


def test_a_batch_ends_as_a_registered_measured_and_judged_version(base: str) -> None:
    project = make_trainable()
    batch = run(make_batch(project, base))
    assert (batch.state, batch.error) == (State.SUCCEEDED, "")
    version = batch.version
    assert version is not None
    assert version.number == 1
    assert version.state == "candidate"
    assert version.label_set == batch.dataset.label_set
    assert version.gate == "passed"
    assert {reason["code"] for reason in version.gate_reasons} == {
        "enough_test_questions",
        "int8_agrees",
    }

    evaluation = version.evaluations.get()
    assert evaluation.kind == "test"
    assert evaluation.n == project.questions.filter(split="test").count() == 24
    assert evaluation.accuracy is not None
    assert evaluation.accuracy > 0.8
    assert evaluation.answers.filter(is_right=True).count() == round(
        24 * evaluation.accuracy
    )
    assert evaluation.metrics["floor"]["accuracy"] > 0.8
    assert "Counting words" in batch.log

    folder = artifacts.open_verified(version)
    model = OnnxClassifier(folder)
    assert model.labels == version.label_set
    samples = json.loads((folder / "samples.json").read_text("utf-8"))
    best = model.logits([s["text"] for s in samples]).argmax(axis=1)
    assert [model.labels[i] for i in best] == [s["intent"] for s in samples]
    assert {"card.md", "samples.json", "head.safetensors"} <= set(version.manifest)
    assert batch.dataset.digest in (folder / "card.md").read_text()

    origin = version.provenance
    assert origin["dataset"]["digest"] == batch.dataset.digest
    assert origin["base"] == base
    assert origin["recipe"] == batch.recipe
    assert origin["recipe"]["seed"] == 13
    assert origin["code_revision"]
    assert origin["libraries"]["torch"]
    assert origin["fit"]["device"]
    assert origin["seconds"].keys() == {
        *("prepare", "fit", "export", "calibrate", "evaluate")
    }

    assert batch.steps.filter(loss__isnull=False).exists()
    assert batch.steps.filter(macro_f1__isnull=False).exists()
    assert 0 < batch.step <= batch.total_steps
    assert not workspace.folder(batch.pk).exists()

    learned = project.questions.filter(trained_in="1")
    assert set(learned.values_list("split", flat=True)) == {"train", "validation"}
    assert not project.questions.filter(split="test").exclude(trained_in="").exists()


def test_an_incremental_batch_trains_on_the_new_and_replays_some_old(
    base: str,
) -> None:
    project = make_trainable(topics=("attendance", "stock", "payment"))
    first = run(make_batch(project, base)).version
    assert first is not None
    versions.activate(first, by=None)
    add_labels(project, 40, topics=("shipping", "payment"), seed=7)
    batch = batches.create(
        project,
        preset="incremental",
        # The parent itself says which old questions are hardest for it.
        overrides={"replay": "0.5", "replay_order": "hardest"},
        by=None,
        force=True,
        enqueue=False,
    )
    assert batch.parent == first
    assert batch.base == base
    assert batch.dataset.label_set[:3] == first.label_set
    done = run(batch)
    assert (done.state, done.error) == (State.SUCCEEDED, "")
    second = done.version
    assert second is not None
    rows = second.provenance["dataset"]
    assert (rows["new"], rows["replayed"]) == (28, 14)
    assert second.parent == first
    assert second.provenance["parent"] == 1
    # Both were measured on the same questions, and the verdict says so.
    assert {r["code"] for r in second.gate_reasons} >= {"no_loss", "nothing_forgotten"}
    assert done.metrics["active"]["version"] == 1
    assert done.metrics["comparison"]["n"] == done.metrics["active"]["n"] > 24
    waiting = project.questions.filter(broken_by=second.number)
    assert waiting.count() == done.metrics["comparison"]["broken"]


def test_a_renamed_intent_keeps_what_the_parent_learned(base: str) -> None:
    from labeling import taxonomy

    project = make_trainable()
    first = run(make_batch(project, base)).version
    assert first is not None
    versions.activate(first, by=None)
    stock = project.intents.get(code="stock")
    taxonomy.rename(stock, code="inventory", by=None)
    add_labels(project, 20, topics=("payment",), seed=7)
    done = run(
        batches.create(
            project, preset="incremental", by=None, force=True, enqueue=False
        )
    )
    assert (done.state, done.error) == (State.SUCCEEDED, "")
    assert done.version is not None
    assert "inventory" in done.version.label_set
    assert done.version.provenance["dataset"]["new"] == 14
    per_intent = done.version.evaluations.get().metrics["per_intent"]
    assert per_intent["inventory"]["recall"] > 0.8


def test_a_claim_belongs_to_one(base: str) -> None:
    batch = make_batch(make_trainable(), base)
    assert ownership.claim(batch.pk) == 1
    assert ownership.claim(batch.pk) is None
    assert runner.run(batch.pk) is None


def test_a_cancelled_run_leaves_nothing_behind(
    base: str,
) -> None:
    project = make_trainable()
    batch = make_batch(project, base, epochs=400)
    seen = []

    def cancel_at_step_5(progress: object) -> None:
        seen.append(progress.step)  # type: ignore[attr-defined]
        if seen[-1] == 5:
            batches.cancel(batch, None)

    done = runner.run(batch.pk, on_progress=cancel_at_step_5)
    assert done is not None
    assert done.state == State.CANCELLED
    assert max(seen) < 4000, "trained to its end"
    assert not project.versions.exists()
    assert not workspace.folder(batch.pk).exists()
    assert not project.questions.exclude(trained_in="").exists()


def test_a_cancel_during_the_measurement_is_obeyed(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_trainable()
    batch = make_batch(project, base)
    took: list[float] = []

    def long(*args: object, check: Callable[[], None], **kwargs: object) -> None:
        batches.cancel(batch, None)
        started = time.monotonic()
        try:
            while time.monotonic() < started + 30:
                check()
                time.sleep(0.02)
        finally:
            took.append(time.monotonic() - started)

    monkeypatch.setattr("training.statistics.floor.train", long)
    assert run(batch).state == State.CANCELLED
    assert took[0] < 5 * crowd()
    assert not project.versions.exists()
    assert not Evaluation.objects.exists()


def test_a_cancel_in_the_last_moment_is_obeyed(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_trainable()
    batch = make_batch(project, base)
    work = stages.Run.work

    def cancel_after_the_work(self: stages.Run) -> stages.Result:
        result = work(self)
        batches.cancel(batch, None)
        return result

    monkeypatch.setattr(stages.Run, "work", cancel_after_the_work)
    assert run(batch).state == State.CANCELLED
    assert not project.versions.exists()


def test_who_lost_the_batch_registers_nothing(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_trainable()
    batch = make_batch(project, base)
    work = stages.Run.work

    def lose_it_after_the_work(self: stages.Run) -> stages.Result:
        result = work(self)
        TrainingBatch.objects.filter(pk=batch.pk).update(fence=9)
        return result

    monkeypatch.setattr(stages.Run, "work", lose_it_after_the_work)
    assert runner.run(batch.pk) is None
    batch.refresh_from_db()
    assert (batch.state, batch.fence) == (State.RUNNING, 9)
    assert not project.versions.exists()
    assert _artifact_files(project.slug) == []


def test_a_run_that_lost_its_batch_stops_at_the_next_step(base: str) -> None:
    batch = make_batch(make_trainable(), base, epochs=4000)
    steps = []

    def lose_it(progress: object) -> None:
        steps.append(progress.step)  # type: ignore[attr-defined]
        if steps[-1] == 3:
            TrainingBatch.objects.filter(pk=batch.pk).update(fence=9)

    assert runner.run(batch.pk, on_progress=lose_it) is None
    assert max(steps) < 40000, "an orphan trained to its end"


def test_a_failure_is_explained_and_registers_nothing(base: str) -> None:
    project = make_trainable()
    batch = make_batch(project, base)
    batch.recipe["max_length"] = 0
    batch.save(update_fields=["recipe"])
    done = run(batch)
    assert done.state == State.FAILED
    assert "recipe cannot be used: max_length must be at least 1" in done.error
    assert "Error" not in done.log, "a manager reads a sentence, no traceback"
    assert not project.versions.exists()


def test_a_dataset_of_one_intent_fails_with_a_reason(base: str) -> None:
    project = make_trainable(questions=40, topics=("stock",))
    done = run(make_batch(project, base))
    assert done.state == State.FAILED
    assert "at least two" in done.error
    assert "Error" not in done.log


def test_files_are_gone_when_the_registration_fails(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_trainable()
    batch = make_batch(project, base)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.evaluation.record", full)
    done = run(batch)
    assert done.state == State.FAILED
    assert done.error.startswith("The disk is full")
    assert not project.versions.exists()
    assert _artifact_files(project.slug) == []
    assert not project.questions.exclude(trained_in="").exists()


def test_a_batch_goes_on_from_its_checkpoint(base: str) -> None:
    batch = make_batch(
        make_trainable(), base, epochs=12, checkpoint_every_s=0.01, preset="first"
    )

    def stop_at_step_30(progress: object) -> None:
        if progress.step == 30:  # type: ignore[attr-defined]
            raise runner.Interrupted

    with pytest.raises(runner.Interrupted):
        runner.run(batch.pk, on_progress=stop_at_step_30)
    batch.refresh_from_db()
    assert batch.state == State.QUEUED
    done = run(batch)
    assert (done.state, done.error) == (State.SUCCEEDED, "")
    assert 20 <= done.metrics["fit"]["resumed_from_step"] <= 30


def test_a_multi_intent_project_trains_and_is_measured(base: str) -> None:
    from labeling.models import GoldLabel

    project = make_trainable(is_multi_intent=True)
    stock = project.intents.get(code="stock")
    for question in project.questions.filter(gold__code="payment")[:20]:
        question.text += " stock alert"
        question.save(update_fields=["text"])
        GoldLabel.objects.create(
            question=question, intent=stock, source="import", set_at=question.last_seen
        )
    done = run(make_batch(project, base, epochs=20))
    assert (done.state, done.error) == (State.SUCCEEDED, "")
    assert done.version is not None
    measured = done.version.evaluations.get().metrics
    assert measured["micro_f1"] > 0.7
    assert measured["exact_match"] == measured["accuracy"]


def test_without_test_questions_a_first_version_passes_with_a_remark(
    base: str,
) -> None:
    project = make_trainable()
    batch = make_batch(project, base)
    Question.objects.filter(project=project, split="test").delete()
    done = run(batch)
    assert done.version is not None
    assert done.version.gate == "passed"
    evaluation = done.version.evaluations.get()
    assert (evaluation.n, evaluation.accuracy) == (0, None)


def _artifact_files(slug: str) -> list[Path]:
    root = Path(settings.STORAGES["artifacts"]["OPTIONS"]["location"]) / slug
    return [path for path in root.rglob("*") if path.is_file()]
