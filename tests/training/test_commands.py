"""`train` and `evaluate` as scripts call them: in processes of their own."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.registry.makers import make_version
from tests.training.makers import QUICK, make_trainable
from training.management.commands import train
from training.models import TrainingBatch

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SET = [f"{key}={value}" for key, value in QUICK.items()]


@pytest.fixture
def run(manage: list[str], process_env: dict[str, str]) -> Run:
    env = {**process_env, "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*manage, *arguments],
            env=env,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


@pytest.mark.django_db(transaction=True)
def test_train_prints_one_json_object_and_nothing_else(base: str, run: Run) -> None:
    project = make_trainable()
    done = run("train", project.slug, "--base", base, "--json", "--set", *SET)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result) == ["version", "state", "seconds", "metrics"]
    assert (result["version"], result["state"]) == (1, "succeeded")
    assert result["metrics"]["n"] == 24
    assert result["metrics"]["accuracy"] > 0.8
    assert result["metrics"]["gate"] == "passed"
    batch = TrainingBatch.objects.get()
    assert batch.version == project.versions.get()


@pytest.mark.django_db(transaction=True)
def test_an_interrupt_cancels_the_batch(
    base: str, manage: list[str], process_env: dict[str, str]
) -> None:
    project = make_trainable()
    slow = [*SET, "epochs=9000", "early_stopping_patience=0"]
    process = subprocess.Popen(
        [*manage, "train", project.slug, "--base", base, "--json", "--set", *slow],
        env={**process_env, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not TrainingBatch.objects.filter(step__gt=20).exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == ""
    assert err.strip().splitlines()[-1] == "CommandError: Cancelled."
    assert "Traceback" not in err
    assert TrainingBatch.objects.get().state == "cancelled"
    assert not project.versions.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "no project nowhere"),
        (["{slug}", "--preset", "best"], "no preset “best”"),
        (["{slug}", "--set", "epochs"], "key=value"),
        (["{slug}", "--set", "epochs=0"], "epochs must be at least 1"),
        (["{slug}", "--base", "7"], "no version 7"),
        (["{slug}", "--base", "bert"], "bert"),
        (["{slug}", "--preset", "incremental"], "no active version"),
    ],
)
def test_train_fails_with_one_clear_line(arguments: list[str], says: str) -> None:
    project = make_trainable(questions=60)
    with pytest.raises(CommandError, match=says) as failed:
        call_command("train", *(a.format(slug=project.slug) for a in arguments))
    assert "\n" not in str(failed.value)
    assert not TrainingBatch.objects.exists()


@pytest.mark.django_db
def test_train_says_how_many_labels_are_missing(base: str) -> None:
    project = make_trainable(questions=20, min_labels_first=100)
    with pytest.raises(CommandError, match="80 more labels"):
        call_command("train", project.slug, "--base", base)


@pytest.mark.django_db
def test_a_number_as_base_goes_on_from_that_version(base: str) -> None:
    project = make_trainable()
    make_version(project, provenance={"base": base})
    second = make_version(project, provenance={"base": base})
    options: dict[str, Any] = {"base": "2", "preset": None, "overrides": []}
    batch = train._create(project, {**options, "force": False})
    assert (batch.parent, batch.preset, batch.base) == (second, "incremental", base)
    afresh = train._create(
        project, {**options, "base": base, "preset": None, "force": True}
    )
    assert (afresh.parent, afresh.preset) == (None, "first")


@pytest.mark.django_db(transaction=True)
def test_evaluate_measures_a_file_and_prints_json(run: Run, tmp_path: Path) -> None:
    project = make_trainable(questions=20)
    make_version(project, ["stock", "payment"])
    file = tmp_path / "questions.csv"
    file.write_text(
        "user_input,intent_code\nmy stock,stock\npayment,payment\nhello,greeting\nx,\n",
        "utf-8-sig",
    )
    done = run("evaluate", project.slug, "1", "--file", str(file), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["n"] == 3
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert {"macro_f1", "per_intent", "out_of_scope", "calibration"} <= set(result)
    assert "Line 5" in done.stderr
    assert "confusion" in result


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere", "1"], "no project nowhere"),
        (["{slug}", "9"], "no version 9"),
        (["{slug}", "1", "--file", "/no/file.jsonl"], "/no/file.jsonl"),
        (["{slug}", "1", "--file", "/no/file.xls"], "name the format .jsonl, csv"),
        (["{slug}", "1"], "no labelled test questions"),
    ],
)
def test_evaluate_fails_with_one_clear_line(arguments: list[str], says: str) -> None:
    project = make_trainable(questions=4)
    project.questions.all().delete()
    make_version(project)
    with pytest.raises(CommandError, match=says):
        call_command("evaluate", *(a.format(slug=project.slug) for a in arguments))


@pytest.mark.django_db
def test_evaluate_refuses_damaged_files() -> None:
    from registry import artifacts

    project = make_trainable(questions=60)
    version = make_version(project)
    folder = artifacts.open_verified(version)
    model = next(path for path in folder.iterdir() if path.suffix == ".onnx")
    artifacts._verified.clear()
    model.write_bytes(model.read_bytes() + b"x")
    with pytest.raises(CommandError, match="not the file that was registered"):
        call_command("evaluate", project.slug, "1")
