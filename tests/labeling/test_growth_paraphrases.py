"""Paraphrases by a language model: a real server on loopback speaks its protocol."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from labeling import growth
from labeling.growth import paraphraser, paraphrasing
from labeling.llm import Unreadable
from labeling.models import (
    Intent,
    Paraphrasing,
    Project,
    Question,
    SyntheticQuestion,
)
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db

State = Paraphrasing.State
Answer = tuple[int, str] | str
"""A status and a body, or the text that the model says."""


class Model:
    """A language model's server: what it was asked, and what it says to it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.bodies: list[str] = []
        self.say: Callable[[dict[str, Any]], Answer] = self.other_words

    @staticmethod
    def other_words(question: dict[str, Any]) -> str:
        n = question["paraphrases_wanted"]
        words = ["could you tell me about", "I wonder regarding", "please explain"]
        # Backwards: other words enough.
        turned = question["question"][::-1]
        return json.dumps({"paraphrases": [f"{w} {turned}" for w in words[:n]]})

    def sent(self) -> list[str]:
        """The texts of the questions in the order in which they came."""
        return [one["question"] for one in self.asked]

    def answer(self, path: str, body: bytes, key: str | None) -> tuple[int, str]:
        self.bodies.append(body.decode())
        self.keys.append(key)
        request = json.loads(body)
        if path != "/v1/chat/completions":
            return 404, json.dumps({"error": {"message": "no such page"}})
        self.asked.append(json.loads(request["messages"][-1]["content"]))
        said = self.say(self.asked[-1])
        if isinstance(said, tuple):
            return said
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        head = {"id": "1", "object": "chat.completion", "created": 1}
        return 200, json.dumps({**head, "model": request["model"], "choices": [choice]})


@pytest.fixture
def model(settings: Any) -> Iterator[Model]:
    """A server that the settings name."""
    model = Model()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, text = model.answer(
                self.path, body, self.headers.get("Authorization")
            )
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    settings.LLM_URL = f"http://127.0.0.1:{server.server_port}/v1"
    settings.LLM_MODEL = "tiny"
    settings.LLM_KEY = "secret"
    yield model
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paraphraser, "_RETRIES", 0)


@pytest.fixture
def project() -> Project:
    """Two intents, with questions of every split and state."""
    project = make_project()
    pay, ship = make_intent(project, "pay", name="Wages"), make_intent(project, "ship")
    for text in ("where is my payment", "工资什么时候发", "the salary is late again"):
        make_labelled(project, pay, text, split="train")
    make_labelled(project, ship, "when does the parcel arrive", split="train")
    make_labelled(project, ship, "secret test question", split="test")
    make_labelled(project, pay, "secret validation question", split="validation")
    make_question(project, "secret open question", split="train")
    make_question(project, "secret skipped question", split="train", state="skipped")
    retired = make_intent(project, "old", retired_at=timezone.now())
    make_labelled(project, retired, "secret retired question", split="train")
    return project


@pytest.fixture
def mia(project: Project) -> User:
    return make_person("mia", project)


def ran(run: Paraphrasing) -> Paraphrasing:
    assert growth.run(run.pk)
    run.refresh_from_db()
    return run


def made(project: Project) -> list[SyntheticQuestion]:
    rows = SyntheticQuestion.objects.filter(project=project).order_by("pk")
    return list(rows.select_related("source", "intent"))


def test_paraphrases_are_kept_with_intent_and_source(
    project: Project, mia: User, model: Model
) -> None:
    run = ran(growth.paraphrase(project, per_question=2, by=mia))
    assert (run.state, run.error, run.sent, run.made) == ("succeeded", "", 4, 8)
    assert run.finished_at is not None
    rows = made(project)
    assert len(rows) == 8
    assert {row.origin for row in rows} == {"paraphrase"}
    for row in rows:
        assert row.source is not None
        assert row.text.endswith(row.source.text[::-1])
        assert row.source.gold.get() == row.intent
    assert model.keys == ["Bearer secret"] * 4
    wages = next(one for one in model.asked if one["question"] == "工资什么时候发")
    assert (wages["meaning"], wages["paraphrases_wanted"]) == ("Wages", 2)
    assert json.loads(model.bodies[0])["model"] == "tiny"


def test_only_labelled_train_questions_leave_this_house(
    project: Project, mia: User, model: Model
) -> None:
    shown = growth.preview_paraphrase(project, intents=None, per_question=3, limit=1000)
    run = ran(growth.paraphrase(project, limit=1000, by=mia))
    assert sorted(model.sent()) == sorted(
        [
            "where is my payment",
            "工资什么时候发",
            "the salary is late again",
            "when does the parcel arrive",
        ]
    )
    assert not any("secret" in body for body in model.bodies)
    assert shown.questions == run.questions
    assert shown.examples == model.sent()
    assert shown.server.host == run.server


def test_what_became_another_question_meanwhile_is_not_sent(
    project: Project, mia: User, model: Model
) -> None:
    run = growth.paraphrase(project, by=mia)
    changed = {
        "where is my payment": {"state": "open"},
        "when does the parcel arrive": {"split": "test"},
        "工资什么时候发": {"split": "validation"},
    }
    for text, values in changed.items():
        Question.objects.filter(text=text).update(**values)
    ran(run)
    assert model.sent() == ["the salary is late again"]
    assert run.left_out["not_sent"] == 3
    assert run.state == State.SUCCEEDED


def test_intents_take_turns_and_fresh_questions_come_first(
    project: Project, mia: User, model: Model
) -> None:
    first = ran(growth.paraphrase(project, limit=2, by=mia))
    sent = Question.objects.filter(pk__in=first.questions)
    assert set(sent.values_list("gold__code", flat=True)) == {"pay", "ship"}
    pay = Intent.objects.get(project=project, code="pay")
    second = ran(growth.paraphrase(project, intents=[pay], limit=2, by=mia))
    assert not set(first.questions) & set(second.questions)


def test_questions_of_several_intents_are_not_sent(mia: User, model: Model) -> None:
    project = make_project(is_multi_intent=True)
    a, b = make_intent(project, "a"), make_intent(project, "b")
    both = make_labelled(project, a, "both of them", split="train")
    both.gold_labels.create(intent=b, source="import", set_at=timezone.now())
    make_labelled(project, a, "one of them alone", split="train")
    ran(growth.paraphrase(project, by=mia))
    assert model.sent() == ["one of them alone"]


def test_copies_are_left_out(project: Project, mia: User, model: Model) -> None:
    asked = "could you please transfer my money right now to me"
    make_question(project, asked, split="test")
    answers = {
        "where is my payment": [
            "Where is my payment?",  # the question itself
            "could you please transfer my money right now",  # near a test question
            "do you know what happened to the sum that I was promised",
            "do you know what happened to the sum that I was promised?!",
            "   ",
        ]
    }
    model.say = lambda one: json.dumps(
        {"paraphrases": answers.get(one["question"], ["工资几号到账"])}
    )
    run = ran(growth.paraphrase(project, per_question=5, by=mia))
    assert {row.text for row in made(project)} == {
        "do you know what happened to the sum that I was promised",
        "工资几号到账",
    }
    assert run.left_out["taken"] == 2
    assert run.left_out["near"] == 3
    assert run.made == 2


def test_no_more_are_kept_than_were_asked_for(
    project: Project, mia: User, model: Model
) -> None:
    words = ["apple pie", "blue whale", "canyon", "dust devil", "energy"]
    model.say = lambda one: json.dumps(
        {"paraphrases": [f"{w} {one['question'][::-1]} {w}" for w in words]}
    )
    assert ran(growth.paraphrase(project, per_question=3, limit=1, by=mia)).made == 3


class TestAnswers:
    def test_json_alone_or_in_one_fence(self) -> None:
        answer = '{"paraphrases": ["a  b", " ", "c"]}'
        assert paraphraser.parse(answer) == ["a b", "c"]
        assert paraphraser.parse(f"```json\n{answer}\n```\n") == ["a b", "c"]

    @pytest.mark.parametrize(
        "answer",
        [
            "",
            "Sure! Here you are:\n1. a\n2. b",
            'Sure! {"paraphrases": ["a"]}',
            '{"paraphrases": ["a"]} and more',
            '{"paraphrases": ["a"], "comment": "b"}',
            '{"paraphrases": "a"}',
            '{"paraphrases": []}',
            '{"paraphrases": ["a", 1]}',
            '["a"]',
            '"paraphrases"',
            "null",
            "[" * 100_000,
            '{"paraphrases": ["' + "a" * 200_000 + '"]}',
        ],
    )
    def test_anything_else_is_refused(self, answer: str) -> None:
        with pytest.raises(Unreadable):
            paraphraser.parse(answer)

    def test_a_question_is_sent_again_once(
        self, project: Project, mia: User, model: Model
    ) -> None:
        def say(one: dict[str, Any]) -> str:
            is_first = model.sent().count(one["question"]) == 1
            return "Sure, I can." if is_first else model.other_words(one)

        model.say = say
        run = ran(growth.paraphrase(project, per_question=1, by=mia))
        assert (run.state, run.made, len(model.asked)) == ("succeeded", 4, 8)

    def test_a_model_that_only_talks_makes_nothing(
        self, project: Project, mia: User, model: Model
    ) -> None:
        pay = Intent.objects.get(project=project, code="pay")
        for n in range(20):
            make_labelled(project, pay, f"one more question {n}", split="train")
        model.say = lambda one: "Sure, I can."
        run = ran(growth.paraphrase(project, by=mia))
        assert run.state == State.FAILED
        assert run.error == "The model's answer is not what was asked for."
        assert len(model.asked) == 20
        assert not made(project)


class TestTheServer:
    @pytest.mark.parametrize(
        ("status", "says"),
        [(401, "refuses the key"), (403, "refuses the key"), (404, "no model “tiny”")],
    )
    def test_what_will_not_change_ends_it_at_once(
        self, project: Project, mia: User, model: Model, status: int, says: str
    ) -> None:
        model.say = lambda one: (status, '{"error": {"message": "no"}}')
        run = ran(growth.paraphrase(project, by=mia))
        assert run.state == State.FAILED
        assert says in run.error
        assert len(model.asked) == 1

    def test_one_question_that_it_refuses_is_passed_by(
        self, project: Project, mia: User, model: Model
    ) -> None:
        model.say = lambda one: (
            (400, '{"error": {"message": "content filter"}}')
            if one["question"] == "where is my payment"
            else model.other_words(one)
        )
        run = ran(growth.paraphrase(project, per_question=1, by=mia))
        assert (run.state, run.made) == ("succeeded", 3)
        assert run.left_out["no_answer"] == 1

    def test_one_that_is_away_is_given_up(
        self, project: Project, mia: User, model: Model
    ) -> None:
        model.say = lambda one: (503, "busy")
        run = ran(growth.paraphrase(project, by=mia))
        assert run.error == "The server answered with an error, status 503."
        assert len(model.asked) == 3

    def test_nobody_listens(self, project: Project, mia: User, settings: Any) -> None:
        settings.LLM_URL, settings.LLM_MODEL = "http://127.0.0.1:9/v1", "tiny"
        run = ran(growth.paraphrase(project, by=mia))
        assert (run.state, run.error) == ("failed", "The server can't be reached.")

    def test_one_that_sleeps_is_not_waited_for(
        self,
        project: Project,
        mia: User,
        model: Model,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(paraphraser, "TIMEOUT_S", 0.2)
        woken = threading.Event()
        model.say = lambda one: "late" if woken.wait(5) else "later"
        run = ran(growth.paraphrase(project, by=mia))
        woken.set()
        assert run.error == "The server did not answer in time."

    def test_a_busy_one_is_asked_again(
        self,
        project: Project,
        mia: User,
        model: Model,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(paraphraser, "_RETRIES", 2)
        model.say = lambda one: (
            (429, "busy") if len(model.asked) < 3 else model.other_words(one)
        )
        run = ran(growth.paraphrase(project, per_question=1, limit=1, by=mia))
        assert (run.state, run.made, len(model.asked)) == ("succeeded", 1, 3)

    @pytest.mark.parametrize("body", ["<html>", "{}", '{"choices": []}', "[]"])
    def test_one_that_speaks_another_language(
        self, project: Project, mia: User, model: Model, body: str
    ) -> None:
        model.say = lambda one: (200, body)
        run = ran(growth.paraphrase(project, by=mia))
        assert run.left_out["unreadable"] == 4
        assert not made(project)

    def test_another_one_than_was_confirmed_is_not_asked(
        self, project: Project, mia: User, model: Model, settings: Any
    ) -> None:
        run = growth.paraphrase(project, by=mia)
        settings.LLM_MODEL = "another"
        assert "set up anew" in ran(run).error
        assert not model.asked


class TestItsLife:
    def test_off_by_default(self, project: Project, mia: User) -> None:
        with pytest.raises(ValidationError, match="TUNELOOP_LLM_URL"):
            growth.paraphrase(project, by=mia)

    def test_amounts_are_bounded(
        self, project: Project, mia: User, model: Model
    ) -> None:
        for wrong in (
            {"per_question": 0},
            {"per_question": growth.MOST_EACH + 1},
            {"limit": 0},
            {"limit": growth.MOST_SENT + 1},
        ):
            with pytest.raises(ValidationError, match="Between 1 and"):
                growth.paraphrase(project, by=mia, **wrong)

    def test_nothing_to_send(self, mia: User, model: Model) -> None:
        with pytest.raises(ValidationError, match="nothing to send"):
            growth.paraphrase(make_project(), by=mia)

    def test_one_at_a_time(self, project: Project, mia: User, model: Model) -> None:
        first = growth.paraphrase(project, by=mia)
        with pytest.raises(growth.UnderWay):
            growth.paraphrase(project, by=mia)
        with pytest.raises(IntegrityError), transaction.atomic():
            Paraphrasing.objects.create(
                project=project, per_question=1, questions=[], by=mia
            )
        growth.cancel(first)
        assert growth.paraphrase(project, by=mia)
        with pytest.raises(growth.WrongState):
            growth.cancel(first)

    def test_the_history_tells_what_left_the_house(
        self, project: Project, mia: User, model: Model
    ) -> None:
        run = growth.paraphrase(project, by=mia)
        said = LogEntry.objects.get(user=mia).get_change_message()
        assert said.startswith("Sends 4 questions to the language model tiny at 127.")
        assert "secret" not in run.server

    def test_what_is_finished_or_somebody_elses_is_not_run(
        self, project: Project, mia: User, model: Model
    ) -> None:
        run = ran(growth.paraphrase(project, by=mia))
        assert not growth.run(run.pk)
        Paraphrasing.objects.filter(pk=run.pk).update(
            state=State.RUNNING, beat_at=timezone.now()
        )
        assert not growth.run(run.pk)

    def test_a_crashed_one_goes_on_where_it_was(
        self, project: Project, mia: User, model: Model
    ) -> None:
        pay = Intent.objects.get(project=project, code="pay")
        for n in range(20):
            make_labelled(project, pay, f"{'word ' * n} {n}{n} more", split="train")
        run = growth.paraphrase(project, per_question=1, by=mia)
        long_ago = timezone.now() - timedelta(minutes=10)
        Paraphrasing.objects.filter(pk=run.pk).update(
            state=State.RUNNING, sent=13, made=9, beat_at=long_ago
        )
        assert growth.sweep() == [run.pk]
        assert growth.sweep() == []
        run.refresh_from_db()
        assert (run.state, run.attempt) == ("queued", 2)
        ran(run)
        texts = dict(Question.objects.values_list("pk", "text"))
        assert model.sent() == [texts[pk] for pk in run.questions[10:]]
        assert (run.state, run.sent) == ("succeeded", 24)
        assert run.made == 9 + len(made(project))

    def test_one_that_always_crashes_is_given_up(
        self, project: Project, mia: User, model: Model
    ) -> None:
        run = growth.paraphrase(project, by=mia)
        Paraphrasing.objects.update(state=State.RUNNING, beat_at=None, attempt=5)
        assert growth.sweep() == []
        run.refresh_from_db()
        assert (run.state, run.error) == (
            "failed",
            "Given up: its process died 5 times.",
        )


@pytest.mark.django_db(transaction=True)
def test_a_cancelled_one_sends_and_keeps_nothing_more(
    project: Project, mia: User, model: Model
) -> None:
    def say(one: dict[str, Any]) -> str:
        if len(model.asked) == 2:
            growth.cancel(run)
            connection.close()  # the server's thread has one of its own
        return model.other_words(one)

    model.say = say
    run = growth.paraphrase(project, by=mia)
    ran(run)
    assert run.state == State.CANCELLED
    assert len(model.asked) == 2
    assert not made(project)


def test_chunks_are_kept_one_by_one(
    project: Project, mia: User, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paraphrasing, "CHUNK", 2)
    model.say = lambda one: (
        model.other_words(one) if len(model.asked) <= 2 else (401, "no")
    )
    run = ran(growth.paraphrase(project, per_question=1, by=mia))
    assert (run.state, run.sent, run.made) == ("failed", 2, 2)
    assert len(made(project)) == 2
