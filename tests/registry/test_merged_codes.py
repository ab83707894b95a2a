"""A merged intent's old code goes on working for clients, models, imports, training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labeling import datasets, intake, queue, taxonomy
from labeling.formats import Row
from labeling.models import GoldLabel, Intent, Project, Question
from registry.models import Feedback, Version
from tests.makers import (
    make_intent,
    make_key,
    make_labelled,
    make_person,
    make_project,
    make_question,
    make_rule,
)
from tests.registry.makers import make_version
from tests.registry.server import serve
from tests.waiting import within
from training import evaluation, gate

pytestmark = pytest.mark.django_db

Post = Callable[[str, dict[str, Any]], Any]


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def version(project: Project) -> Version:
    """Knows bill and pay apart, and that "due" is half the one and half the other."""
    words = {"bill": ["bill", "due"], "pay": ["pay", "due"], "ship": ["ship"]}
    return make_version(project, list(words), words=words, active=True)


@pytest.fixture
def post(project: Project, client: Any) -> Post:
    _key, secret = make_key(project, scope="label")

    def post(path: str, body: dict[str, Any]) -> Any:
        return client.post(
            f"/api/v1/{path}",
            body,
            content_type="application/json",
            headers={"Authorization": f"Api-Key {secret}"},
        )

    return post


def merge(project: Project, source: str = "bill", target: str = "pay") -> None:
    intents = {intent.code: intent for intent in project.intents.all()}
    mia = make_person("mia", project)
    taxonomy.merge([intents[source]], intents[target], by=mia)


def test_a_version_that_knows_the_old_code_answers_the_new(
    project: Project, version: Version, post: Post
) -> None:
    before = post("classify", {"text": "this is due"}).json()
    assert before["confidence"] < 0.5
    merge(project)
    for text in ("the bill", "a pay", "this is due"):
        answer = post("classify", {"text": text}).json()
        assert answer["intents"][0]["code"] == "pay"
        assert "bill" not in [one["code"] for one in answer["intents"]]
    assert answer["confidence"] > 0.9  # half and half of what is one now


def test_rules_and_exact_answers_name_the_new_code(
    project: Project, version: Version, post: Post
) -> None:
    bill = Intent.objects.get(code="bill")
    make_rule(project, "invoice", bill)
    make_labelled(project, bill, "exactly this")
    merge(project)
    by_rule = post("classify", {"text": "an invoice came"}).json()["intents"][0]
    assert (by_rule["code"], "rule" in str(by_rule["sources"])) == ("pay", True)
    exact = post("classify", {"text": "Exactly this!"}).json()
    assert exact["intents"][0]["code"] == "pay"
    assert exact["method"] == "gold"


def test_clients_may_label_with_the_old_code(project: Project, client: Any) -> None:
    for code in ("bill", "pay"):
        make_intent(project, code)
    question = make_question(project, split="train")
    key, secret = make_key(project, scope="label")
    (held,) = queue.claim(project, key.user)
    merge(project)
    response = client.post(
        f"/api/v1/model-tuning/questions/{question.pk}/label",
        {"intent": "bill", "token": held.token},
        content_type="application/json",
        headers={"Authorization": f"Api-Key {secret}"},
    )
    assert response.status_code == 200
    assert response.json()["intents"] == ["pay"]
    assert question.gold_labels.get().intent.code == "pay"


def test_feedback_is_kept_and_takes_the_old_code(
    project: Project, version: Version, post: Post
) -> None:
    answers = [post("classify", {"text": text}).json() for text in ("ship", "ship it")]
    first, second = (
        {"request_id": answer["request_id"], "verdict": "wrong", "intent": "bill"}
        for answer in answers
    )
    assert post("feedback", first).json()["intent"] == "bill"
    merge(project)
    given = Feedback.objects.get()
    assert given.intent is not None
    assert given.intent.code == "pay"
    assert post("feedback", second).json()["intent"] == "pay"


def test_imports_take_the_old_code_also_half_way(project: Project) -> None:
    for code in ("bill", "pay"):
        make_intent(project, code)

    def rows() -> Any:
        yield Row(1, "before the merge", ("bill",))
        merge(project)  # the row waits in a chunk, with the intent that it named
        yield Row(2, "after it", ("bill",))

    report = intake.import_rows(project, rows(), split="train")
    assert (report.created, report.labelled, report.bad) == (2, 2, 0)
    assert set(GoldLabel.objects.values_list("intent__code", flat=True)) == {"pay"}


def test_an_import_says_which_rows_lost_their_intent(project: Project) -> None:
    bill = make_intent(project, "bill")

    def rows() -> Any:
        yield Row(1, "with it", ("bill",))
        yield Row(2, "without a label", None)
        taxonomy.retire(bill, by=None)

    report = intake.import_rows(project, rows(), split="train")
    assert (report.rows, report.created, report.labelled, report.bad) == (1, 1, 0, 1)
    assert "retired" in str(report.bad_lines)


def test_an_old_version_is_measured_by_the_new_codes(
    project: Project, version: Version
) -> None:
    merge(project)
    pay = Intent.objects.get(code="pay")
    for n in range(10):
        for text in (f"the bill {n}", f"a pay {n}", f"this is due {n}"):
            make_labelled(project, pay, text, split="test")
    ship = Intent.objects.get(code="ship")
    for n in range(10):
        make_labelled(project, ship, f"the ship {n}", split="test")
    measured = evaluation.evaluate(version).metrics
    assert (measured["n"], measured["accuracy"]) == (40, 1.0)
    assert set(measured["per_intent"]) == {"pay", "ship"}
    assert measured["unknown"] == {}
    # Serving adds both columns up, and so does the measure of confidence.
    assert measured["calibration"]["ece"] < 0.05


def test_the_gate_compares_versions_from_before_and_after(
    project: Project, version: Version
) -> None:
    merge(project)
    pay, ship = (Intent.objects.get(code=code) for code in ("pay", "ship"))
    for n in range(15):
        make_labelled(project, pay, f"the bill {n}", split="test")
        make_labelled(project, ship, f"the ship {n}", split="test")
    new = make_version(
        project, ["pay", "ship"], words={"pay": ["pay", "bill"]}, gate="pending"
    )
    assert gate.judge(new).gate == "passed"
    worse = make_version(
        project,
        ["pay", "ship"],
        words={"pay": ["pay"], "ship": ["ship", "bill"]},
        gate="pending",
    )
    reasons = {one["code"]: one for one in gate.judge(worse).gate_reasons}
    lost = reasons["nothing_forgotten"]["values"]["intents"]
    assert [loss["intent"] for loss in lost] == ["pay"]


def test_multi_intent_versions_answer_the_merged_one_once(client: Any) -> None:
    project = make_project(is_multi_intent=True)
    version = make_version(project, ["bill", "pay", "ship"], active=True)
    merge(project)
    pay = Intent.objects.get(code="pay")
    make_labelled(project, pay, "bill and pay", split="test")
    make_labelled(project, pay, "bill alone", split="test")
    _key, secret = make_key(project)
    answer = client.post(
        "/api/v1/classify",
        {"text": "bill and pay, please"},
        content_type="application/json",
        headers={"Authorization": f"Api-Key {secret}"},
    ).json()
    assert [one["code"] for one in answer["intents"]] == ["pay"]
    measured = evaluation.evaluate(version).metrics
    assert measured["exact_match"] == 1.0


def test_a_training_goes_on_in_the_order_of_the_old_labels(
    project: Project, version: Version
) -> None:
    for code in ("ship", "pay", "bill"):
        make_labelled(project, Intent.objects.get(code=code), code, split="train")
    merge(project)
    frozen = datasets.freeze(project, by=None, label_order=version.label_set)
    assert frozen.label_set == ["pay", "ship"]
    assert Question.objects.filter(dataset_items__codes=["pay"]).count() == 2


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_running_server_takes_the_merge_up(process_env: Any, tmp_path: Path) -> None:
    """Every process of a real server answers the new code, with no restart."""
    project = make_project()
    make_version(project, ["bill", "pay", "ship"], active=True)
    _key, secret = make_key(project)
    with serve(process_env, tmp_path / "web.log") as server:
        clients = [server.client(secret) for _n in range(6)]

        def answers() -> set[str]:
            replies = [one.post("classify", {"text": "the bill"}) for one in clients]
            assert {status for status, _body in replies} == {200}
            return {body["intents"][0]["code"] for _status, body in replies}

        assert answers() == {"bill"}
        merge(project)
        # Without a restart, as soon as each process has followed.
        assert within(30, lambda: answers() == {"pay"})
        status, body = clients[0].post("classify", {"text": "the bill is due"})
        given = {"request_id": body["request_id"], "verdict": "right", "intent": "bill"}
        status, body = clients[0].post("feedback", given)
        assert (status, body["intent"]) == (200, "pay")
