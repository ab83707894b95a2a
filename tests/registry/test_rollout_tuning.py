"""Re-tuning from the log: what would change, what is proposed, put in force, undone."""

import random

import pytest
from django.db import DatabaseError, transaction

from labeling.models import GoldLabel, Project, Question
from labeling.rules import decisions
from registry.models import ClassificationLog, Tuning, Version
from registry.rollout import tuning
from registry.rollout.tuning import Log, TuningError
from registry.serving import engine, tracing
from registry.serving.engine import Answer
from tests.makers import make_intent, make_project, make_question, make_rule
from tests.registry.makers import make_version

pytestmark = pytest.mark.django_db

LABELS = [f"intent_{n}" for n in range(12)]


def log(project: Project, *texts: str) -> list[Answer]:
    """Asks and logs; the answers."""
    target = engine.target_of(Project.objects.get(pk=project.pk))
    answers = engine.classify(target, texts, use_gold=False)
    for answer in answers:
        question = Question.objects.filter(project=project, text=answer.text).first()
        ClassificationLog.objects.create(
            project=project,
            question=question or make_question(project, answer.text),
            text=answer.text,
            intents=answer.intents,
            confidence=answer.confidence,
            method=str(answer.method),
            version=answer.version,
            needs_review=answer.needs_review,
            latency_ms=1.0,
            scores=answer.scores,
        )
    return answers


def label(project: Project, text: str, code: str) -> None:
    question = project.questions.get(text=text)
    question.state = Question.State.LABELLED
    question.save()
    GoldLabel.objects.create(
        question=question,
        intent=project.intents.get(code=code),
        source=GoldLabel.Source.IMPORT,
        set_at=question.last_seen,
    )


def values(project: Project, **changed: float) -> dict[str, float]:
    return {**tuning.current(project), **changed}


def rule(project: Project, pattern: str, code: str, boost: float = 0.9) -> None:
    intent = project.intents.get(code=code)
    decisions.save(make_rule(project, pattern, intent, boost=boost))


@pytest.mark.parametrize("multi", [False, True])
def test_logged_scores_decide_as_the_live_answers_do(multi: bool) -> None:
    """Under any weights and thresholds: the log must hold enough of each side."""
    project = make_project(is_multi_intent=multi)
    make_version(
        project,
        [*LABELS, "none"],
        strength=1.4,
        active=True,
        multi=multi,
        thresholds={"intent_3": 0.8, "intent_4": 0.2} if multi else None,
    )
    project.intents.filter(code="none").update(is_fallback=True)
    make_intent(project, "unlearned")
    rule(project, "soon", "unlearned", 0.7)
    rule(project, "then", "intent_11", 0.6)
    rng = random.Random(5)
    words = [*LABELS, "none", "soon", "then", "else"]
    texts = sorted(
        {" ".join(rng.choices(words, k=rng.randint(1, 4))) for _n in range(60)}
    )
    log(project, *texts)
    for _turn in range(12):
        changed = {
            "accept_threshold": rng.random(),
            "rule_weight": rng.choice([0.0, 0.3, 0.5, 1.0]),
            "model_weight": rng.choice([0.0, 0.4, 0.7]),
            "low_confidence": rng.random(),
        }
        logs = Log(project)
        preview = logs.preview(values(project, **changed))
        for name, value in changed.items():
            setattr(project, name, value)
        project.save()
        live = engine.classify(engine.target_of(project), texts, use_gold=False)
        assert preview.n == len(texts)
        assert preview.after.low == sum(answer.needs_review for answer in live)
        assert preview.after.fallback == sum(a.method == "fallback" for a in live)
        by_text = {one.text: one for one in logs.answers}
        for answer in live:
            decided = logs._codes(logs._decide(by_text[answer.text], values(project)))
            chosen = answer.intents if multi else answer.intents[:1]
            assert decided == sorted(i["code"] for i in chosen), answer.text


def test_scores_keep_what_can_win_and_little_else() -> None:
    project = make_project()
    make_version(project, LABELS, active=True)
    make_intent(project, "none", is_fallback=True)
    rule(project, "then", "intent_11")
    (answer,) = log(project, "intent_1 then")
    assert answer.scores is not None
    model = answer.scores["model"]
    assert tracing.MODEL_SHOWN <= len(model) <= tracing.MODEL_SHOWN + 2
    assert {"intent_1", "intent_11"} <= set(model)
    assert answer.scores["rules"] == {"intent_11": 0.9}


def disputed(project: Project) -> Version:
    """The rule on "order" is wrong; 40 labels say so."""
    version = make_version(project, ["pay", "ship"], strength=2.0, active=True)
    rule(project, "order", "ship", 1.0)
    project.rule_weight, project.model_weight = 0.8, 0.2
    project.save()
    texts = [f"pay order {n}" for n in range(40)]
    log(project, *texts)
    for text in texts:
        label(project, text, "pay")
    return version


def test_a_preview_counts_changes_and_right_answers() -> None:
    project = make_project()
    disputed(project)
    log(project, "ship")
    preview = Log(project).preview(values(project, rule_weight=0.2, model_weight=0.8))
    assert (preview.n, preview.changed, preview.labelled) == (41, 40, 40)
    assert (preview.before.right, preview.after.right) == (0, 40)
    assert preview.examples[0].before == ["ship"]
    assert preview.examples[0].after == preview.examples[0].wanted == ["pay"]


def test_what_the_version_has_learned_does_not_tell_who_is_right() -> None:
    project = make_project()
    disputed(project)
    project.questions.update(trained_in="1")
    log_ = Log(project)
    assert log_.preview(values(project)).labelled == 0
    assert log_.propose() is None


def test_better_values_are_proposed_and_the_nearest_of_them() -> None:
    project = make_project()
    disputed(project)
    proposed = Log(project).propose()
    assert proposed is not None
    assert proposed["rule_weight"] < 0.5
    assert Log(project).preview(proposed).after.right == 40
    # Nothing that would not help is changed.
    assert proposed["low_confidence"] == project.low_confidence
    assert proposed["accept_threshold"] == pytest.approx(0.3, abs=0.051)
    for name, value in proposed.items():
        setattr(project, name, value)
    project.save()
    assert Log(project).propose() is None


def test_a_change_is_in_force_and_undone() -> None:
    project = make_project()
    before = tuning.current(project)
    changed = values(project, accept_threshold=0.5)
    done = tuning.apply(project, changed, expected=before, by=None, reason="why")
    project.refresh_from_db()
    assert (project.accept_threshold, project.serving_revision) == (0.5, 1)
    assert (done.number, done.before, done.after) == (1, before, changed)
    undone = tuning.undo(done, by=None)
    project.refresh_from_db()
    assert tuning.current(project) == before
    assert (undone.number, undone.undoes, project.serving_revision) == (2, done, 2)
    with pytest.raises(TuningError, match="undone already"):
        tuning.undo(done, by=None)


def test_an_undo_leaves_other_changes_alone() -> None:
    project = make_project()
    before = tuning.current(project)
    second = values(project, accept_threshold=0.5)
    third = {**second, "low_confidence": 0.9}
    first_change = tuning.apply(project, second, expected=before, by=None)
    tuning.apply(project, third, expected=second, by=None)
    tuning.undo(first_change, by=None)
    project.refresh_from_db()
    assert (project.accept_threshold, project.low_confidence) == (0.3, 0.9)


def test_later_changes_of_the_same_values_are_undone_first() -> None:
    project = make_project()
    before = tuning.current(project)
    second, third = (values(project, accept_threshold=v) for v in (0.5, 0.6))
    first_change = tuning.apply(project, second, expected=before, by=None)
    tuning.apply(project, third, expected=second, by=None)
    with pytest.raises(TuningError, match="later change"):
        tuning.undo(first_change, by=None)


def test_nobody_overwrites_what_they_have_not_seen() -> None:
    project = make_project()
    before = tuning.current(project)
    changed = values(project, accept_threshold=0.5)
    with pytest.raises(TuningError, match="in force already"):
        tuning.apply(project, before, expected=before, by=None)
    tuning.apply(project, changed, expected=before, by=None)
    with pytest.raises(TuningError, match="meanwhile"):
        tuning.apply(project, values(project), expected=before, by=None)


def test_changes_are_only_ever_added() -> None:
    project = make_project()
    before = tuning.current(project)
    tuning.apply(
        project, values(project, accept_threshold=0.5), expected=before, by=None
    )
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        Tuning.objects.update(reason="another")
