"""The engine: who answers, with which version, and what a broken one costs."""

from dataclasses import replace
from pathlib import Path

import pytest

from labeling import revision
from labeling.models import IntentAlias, Project
from labeling.rules import decisions
from registry import artifacts, versions
from registry.models import Version
from registry.serving import engine
from registry.serving.engine import Answer
from registry.serving.runtime import Runtime, Unavailable, runtime
from tests.makers import make_intent, make_labelled, make_project, make_question
from tests.makers import make_rule as _make_rule
from tests.registry.makers import MAX_LENGTH, make_version

pytestmark = pytest.mark.django_db


def make_rule(project: Project, pattern: str, code: str, boost: float = 0.9) -> None:
    intent = project.intents.get(code=code)
    decisions.save(_make_rule(project, pattern, intent, boost=boost))


def ask(project: Project, *texts: str, top_k: int = 3) -> list[Answer]:
    target = engine.target_of(Project.objects.get(pk=project.pk))
    return engine.classify(target, texts, top_k=top_k)


def codes(answer: Answer) -> list[str]:
    return [intent["code"] for intent in answer.intents]


def test_the_model_answers() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    (answer,) = ask(project, "pay me")
    assert codes(answer) == ["pay", "ship"]
    assert answer.intents[0]["name"] == "Pay"
    assert answer.confidence > 0.99
    assert (answer.method, answer.version) == ("model", "1")
    assert not answer.needs_review
    assert set(answer.intents[0]["sources"]) == {"model"}


def test_rules_alone_without_a_version() -> None:
    project = make_project()
    make_intent(project, "clock")
    make_rule(project, "打卡", "clock")
    known, unknown = ask(project, "忘记打卡了", "天气")
    assert (codes(known), known.method, known.version) == (["clock"], "rules", "")
    assert known.intents[0]["sources"] == {"rule": 0.9}
    assert (codes(unknown), unknown.method) == ([], "fallback")
    assert unknown.needs_review
    assert not known.degraded


def test_rules_and_model_are_fused() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], strength=1.0, active=True)
    (alone,) = ask(project, "pay money")
    make_rule(project, "money", "ship")
    (fused,) = ask(project, "pay money")
    assert (alone.method, fused.method) == ("model", "fused")
    p = alone.intents[0]["confidence"]
    ship = next(i for i in fused.intents if i["code"] == "ship")
    assert ship["confidence"] == pytest.approx(0.3 * 0.9 + 0.7 * (1 - p), abs=1e-5)


def test_a_gold_label_answers_before_anyone_else() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    make_labelled(project, project.intents.get(code="ship"), "Pay me!")
    for text in ("pay me", "  PAY   me？"):
        (answer,) = ask(project, text)
        assert (codes(answer), answer.method) == (["ship"], "gold")
        assert (answer.confidence, answer.version) == (1.0, "1")
    make_question(project, "pay them")  # not labelled: the model's
    assert [a.method for a in ask(project, "pay them", "pay me")] == ["model", "gold"]


def test_below_the_threshold_the_fallback_intent_answers() -> None:
    project = make_project(accept_threshold=0.6)
    make_intent(project, "none", is_fallback=True)
    make_version(project, ["pay", "ship"], strength=0.1, active=True)
    (answer,) = ask(project, "pay")
    assert (codes(answer)[0], answer.method) == ("none", "fallback")
    assert answer.needs_review


def test_needs_review_is_the_projects_own_bound() -> None:
    project = make_project(low_confidence=0.999)
    make_version(project, ["pay", "ship"], active=True)
    assert ask(project, "pay")[0].needs_review


def test_top_k_bounds_the_list() -> None:
    project = make_project()
    make_version(project, [f"i{n}" for n in range(5)], active=True)
    assert len(codes(ask(project, "i0", top_k=1)[0])) == 1
    assert len(codes(ask(project, "i0", top_k=20)[0])) == 5


def test_several_intents() -> None:
    project = make_project(is_multi_intent=True)
    make_version(
        project, ["pay", "ship", "clock"], thresholds={"clock": 1.0}, active=True
    )
    make_intent(project, "none", is_fallback=True)
    revision.bump(project.pk)
    both, nothing, guarded = ask(project, "pay ship", "hello", "clock pay")
    assert sorted(codes(both)) == ["pay", "ship"]
    assert codes(nothing) == ["none"]
    assert codes(guarded) == ["pay"]


def test_a_long_text_is_cut_and_says_so() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    short, long = ask(project, "pay", "pay " * (MAX_LENGTH + 1))
    assert (short.truncated, long.truncated) == (False, True)


def test_renamed_and_retired_intents_are_answered_as_of_today() -> None:
    project = make_project()
    make_version(project, ["pay", "ship", "clock"], active=True)
    pay, ship = (project.intents.get(code=code) for code in ("pay", "ship"))
    pay.code, ship.retired_at = "payment", ship.created_at
    pay.save()
    ship.save()
    IntentAlias.objects.create(project=project, code="pay", intent=pay)
    revision.bump(project.pk)
    assert codes(ask(project, "pay")[0]) == ["payment", "clock"]
    assert "ship" not in codes(ask(project, "ship")[0])


def test_answers_go_by_the_version_that_the_request_saw() -> None:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    target = engine.target_of(project)
    make_version(project, ["pay", "ship"], active=True)
    assert engine.classify(target, ["pay"])[0].version == "1"
    assert ask(project, "pay")[0].version == "2"


def test_an_approved_rule_is_live_at_the_next_question() -> None:
    project = make_project()
    intent = make_intent(project, "clock")
    rule = _make_rule(project, "打卡", intent, state="candidate")
    assert codes(ask(project, "打卡")[0]) == []
    decisions.approve([rule], by=None)
    assert codes(ask(project, "打卡")[0]) == ["clock"]
    decisions.disable([rule], by=None)
    assert codes(ask(project, "打卡")[0]) == []


class TestBrokenVersions:
    def break_file(self, version: Version, name: str = "model.onnx") -> None:
        path = artifacts.open_verified(version) / name
        path.unlink()

    def test_rules_answer_for_a_version_that_cannot_be_loaded(self) -> None:
        project = make_project()
        version = make_version(project, ["pay", "ship"], active=True)
        make_rule(project, "pay", "pay")
        self.break_file(version)
        (answer,) = ask(project, "pay")
        assert (codes(answer), answer.method) == (["pay"], "rules")
        assert (answer.degraded, answer.version) == (True, "")
        entry = runtime.report()[str(project.pk)]
        assert entry["failed"] == [1]
        assert "model.onnx" in entry["error"]

    def test_another_label_set_than_registered_is_not_served(self) -> None:
        project = make_project()
        version = make_version(project, ["pay", "ship"], active=True)
        Version.objects.filter(pk=version.pk).update(label_set=["ship", "pay"])
        assert ask(project, "pay")[0].degraded

    def test_it_is_tried_again_only_after_a_while(self, monkeypatch) -> None:
        project = make_project()
        version = make_version(project, ["pay", "ship"], active=True)
        folder = artifacts.open_verified(version)
        (folder / "model.onnx").rename(folder / "away.onnx")
        own = Runtime(capacity=1)
        with pytest.raises(Unavailable):
            own.bundle(version.pk)
        (folder / "away.onnx").rename(folder / "model.onnx")
        with pytest.raises(Unavailable):
            own.bundle(version.pk)
        monkeypatch.setattr("registry.serving.runtime._RETRY_AFTER_S", 0.0)
        assert own.bundle(version.pk).number == 1
        assert own.report()[str(project.pk)]["error"] == ""

    def test_a_failing_question_is_answered_by_rules(self, monkeypatch) -> None:
        project = make_project()
        version = make_version(project, ["pay", "ship"], active=True)
        bundle = runtime.bundle(version.pk)
        broken = replace(bundle.reading, temperature=float("nan"))
        monkeypatch.setattr(bundle._model, "reading", broken)
        (answer,) = ask(project, "pay")
        assert answer.degraded
        assert "not a number" in runtime.report()[str(project.pk)]["error"]
        monkeypatch.undo()
        assert not ask(project, "pay")[0].degraded


class TestRuntime:
    def test_least_used_versions_are_dropped_beyond_the_capacity(self) -> None:
        project = make_project()
        made = [make_version(project) for _ in range(3)]
        own = Runtime(capacity=2)
        first = own.bundle(made[0].pk)
        own.bundle(made[1].pk)
        assert own.bundle(made[0].pk) is first
        own.bundle(made[2].pk)
        assert sorted(own.report()[str(project.pk)]["ready"]) == [1, 3]
        assert own.bundle(made[0].pk) is first

    def test_a_rulebook_is_read_once_a_revision(
        self, django_assert_num_queries
    ) -> None:
        project = make_project()
        own = Runtime(capacity=1)
        first = own.rulebook(project.pk, 0)
        with django_assert_num_queries(0):
            assert own.rulebook(project.pk, 0) is first
        revision.bump(project.pk)
        second = own.rulebook(project.pk, 1)
        assert second.revision == 1
        # A request that still saw the old number is answered by the newer one.
        assert own.rulebook(project.pk, 0) is second


@pytest.mark.django_db(transaction=True)
def test_of_many_who_need_a_version_one_loads_it(monkeypatch) -> None:
    import threading

    from django.db import connection

    from registry.serving import runtime as module

    project = make_project()
    version = make_version(project)
    loads: list[int] = []
    real = module.Bundle

    def slow(version: Version) -> object:
        loads.append(version.pk)
        threading.Event().wait(0.2)
        return real(version)

    monkeypatch.setattr(module, "Bundle", slow)
    own, got = Runtime(capacity=1), []

    def need() -> None:
        try:
            got.append(own.bundle(version.pk))
        finally:
            connection.close()

    threads = [threading.Thread(target=need) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [version.pk]
    assert len(got) == 8
    assert len(set(map(id, got))) == 1


def test_the_verified_folder_is_what_serves(tmp_path: Path) -> None:
    """A file planted beside the registered ones is not opened."""
    project = make_project()
    version = make_version(project, ["pay", "ship"], active=True)
    (artifacts.open_verified(version) / "model.int8.onnx").write_bytes(b"planted")
    assert not ask(project, "pay")[0].degraded
    assert versions.active(project) == version
