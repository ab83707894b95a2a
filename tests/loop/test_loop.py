"""Once round the whole loop: by commands and REST, with a real (tiny) model."""

import json
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from labeling.models import Project, Question
from registry.models import Activation, ClassificationLog
from tests.training.ml.makers import make_tiny_base

TOPICS = {
    "attendance": ("clock in", "attendance today", "打卡", "考勤", "today attendance"),
    "stock": ("stock alert", "stock status", "库存", "库存预警", "alert stock"),
    "payment": ("pay invoice", "my invoice", "付款", "发票", "invoice pay"),
    "shipping": ("ship order", "truck status", "发货", "订单", "order truck"),
}
FILLERS = (
    *("please", "show me", "what is", "how many", "help", "请", "怎么", "多少"),
    *("hello", "list", "the", "my"),
)
TINY_RECIPE = ("min_steps=160", "head_lr=0.01", "encoder_lr=0.001", "batch_size=16")

Manage = Callable[..., str]


def rows() -> Iterator[dict[str, str]]:
    """240 distinct questions of four intents."""
    for topic, phrases in TOPICS.items():
        for filler, phrase in product(FILLERS, phrases):
            yield {"text": f"{filler} {phrase}", "label": topic}


@pytest.fixture
def run(manage: list[str], process_env: dict[str, str], tmp_path: Path) -> Manage:
    """Runs a management command in a process of its own, as a script would."""

    def command(*args: str, fails: bool = False) -> str:
        done = subprocess.run(
            [*manage, *args],
            env=process_env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return command


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_once_round_the_loop(run: Manage, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows()]
    file.write_text("\n".join(lines), encoding="utf-8")
    base = f"path:{make_tiny_base(tmp_path)}"

    # Imported and labelled.
    run("import_questions", "shop", str(file), "--create-project", "--create-intents")
    project = Project.objects.get(slug="shop")
    assert Question.objects.filter(project=project, state="labelled").count() == 240

    # Nothing to activate yet, said in one line.
    said = run("activate", "shop", "1", fails=True)
    assert "Traceback" not in said

    # Trained, evaluated, judged.
    first = train(run, "--base", base, "--set", *TINY_RECIPE)
    assert first["version"] == 1
    assert first["state"] == "succeeded"
    measured = json.loads(run("evaluate", "shop", "1", "--json"))
    assert measured["accuracy"] > 0.9, "a separable set is learned"
    run("activate", "shop", "1")

    # Classified over REST, logged, labelled.
    key = run("issue_key", "shop", "app", "--scope", "label").splitlines()[-1]
    answer = ask(client, key, "attendance today now")
    assert answer["version"] == "1"
    assert answer["intents"][0]["code"] == "attendance"
    log = ClassificationLog.objects.get(request_id=answer["request_id"])
    assert log.text == "attendance today now"
    label_one(client, key, "attendance today now", "attendance")
    assert ask(client, key, "Attendance today NOW?")["method"] == "gold"
    from_shell = json.loads(run("classify", "shop", "库存 please", "--json"))
    assert from_shell["results"][0]["version"] == "1"

    # Too few new labels, said with the number; then trained on anyway.
    assert "199" in run("train", "shop", "--preset", "incremental", fails=True)
    second = train(run, "--preset", "incremental", "--force")
    assert second["version"] == 2

    # Activated and rolled back, seen by the next request each time.
    run("activate", "shop", "2", "--force", "--reason", "the loop's test")
    assert ask(client, key, "truck status now")["version"] == "2"
    run("rollback", "shop")
    assert ask(client, key, "truck status now")["version"] == "1"
    kinds = Activation.objects.order_by("id").values_list("kind", "version__number")
    assert list(kinds) == [("activate", 1), ("activate", 2), ("rollback", 1)]

    # And out again.
    out = tmp_path / "out.jsonl"
    run("export_questions", "shop", str(out), "--state", "labelled")
    exported = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert {(r["text"], r["label"]) for r in exported} == {
        *((r["text"], r["label"]) for r in rows()),
        ("attendance today now", "attendance"),
    }


def train(run: Manage, *args: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run("train", "shop", *args, "--json"))
    return result


def ask(client: Client, key: str, text: str) -> dict[str, Any]:
    return post(client, key, "/api/v1/classify", {"text": text})


def label_one(client: Client, key: str, text: str, intent: str) -> None:
    claimed = client.get(
        "/api/v1/model-tuning/questions/unlabeled?limit=5",
        headers={"Authorization": f"Api-Key {key}"},
    ).json()
    found = next(q for q in claimed["results"] if q["text"] == text)
    post(
        client,
        key,
        f"/api/v1/model-tuning/questions/{found['id']}/label",
        {"intent": intent, "token": found["token"]},
    )


def post(client: Client, key: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client.post(
        path,
        body,
        content_type="application/json",
        headers={"Authorization": f"Api-Key {key}"},
    )
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer
