"""Likely label errors: planted ones are found, confirmed ones stay, and why not."""

import random
from collections.abc import Iterable
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from labeling import label_errors
from labeling.label_errors import finding
from labeling.labels import gold
from labeling.models import (
    Embedding,
    GoldLabel,
    Intent,
    LabelChange,
    LabelCheck,
    Project,
    Question,
)
from labeling.normalise import split_of, text_hash
from tests.makers import make_intent, make_labelled, make_person, make_project
from tuneloop import sample

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project()


def fill(
    project: Project, labelled: Iterable[tuple[str, list[Intent]]]
) -> list[Question]:
    """Labelled questions, in few statements."""
    now = timezone.now()
    made, wanted = [], []
    for text, intents in labelled:
        hash_ = text_hash(text)
        split = split_of(hash_, test_share=0.1, validation_share=0.1)
        made.append(
            Question(
                project=project,
                text=text,
                text_hash=hash_,
                split=split,
                state="labelled",
                first_seen=now,
                last_seen=now,
                labelled_at=now,
            )
        )
        wanted.append(intents)
    questions = Question.objects.bulk_create(made)
    GoldLabel.objects.bulk_create(
        GoldLabel(question=question, intent=intent, source="import", set_at=now)
        for question, intents in zip(questions, wanted, strict=True)
        for intent in intents
    )
    return questions


def two_topics(project: Project, n: int = 30) -> tuple[list[Question], Question]:
    """Two intents that are easy to tell apart, and one label that is wrong."""
    holiday, invoice = make_intent(project, "holiday"), make_intent(project, "invoice")
    rows = [(f"when is my holiday number {i} approved", [holiday]) for i in range(n)]
    rows += [(f"pay the invoice {i} of the supplier", [invoice]) for i in range(n)]
    questions = fill(project, [*rows, ("holiday holiday approved when", [invoice])])
    return questions, questions[-1]


def suspected(project: Project) -> set[int]:
    found = project.questions.filter(suspicion__isnull=False)
    return set(found.values_list("pk", flat=True))


class TestFinding:
    def test_most_planted_errors_are_found(self, project: Project) -> None:
        draw = random.Random(7)
        intents = {one.code: make_intent(project, one.code) for one in sample.intents()}
        questions = sample.questions()
        planted = set(draw.sample(range(len(questions)), len(questions) // 20))
        rows = []
        for place, question in enumerate(questions):
            code = question.intent
            if place in planted:
                code = draw.choice([other for other in intents if other != code])
            rows.append((question.text, [intents[code]]))
        made = fill(project, rows)
        check = label_errors.find(project.pk)
        found = suspected(project)
        hits = found & {made[place].pk for place in planted}
        assert len(hits) >= 0.75 * len(planted)
        assert len(hits) >= 0.4 * len(found)
        assert (check.found, check.examined) == (len(found), len(made))
        assert check.features == LabelCheck.Features.TEXTS
        # The queue shows the surest first: these are nearly all planted ones.
        surest = project.questions.filter(pk__in=found).order_by("-suspicion")
        first = set(surest.values_list("pk", flat=True)[: len(planted) // 2])
        assert len(first & hits) >= 0.75 * len(first)
        # Measuring goes by test labels: they are examined like all others.
        assert project.questions.filter(pk__in=hits, split="test").exists()

    def test_several_intents_a_question(self) -> None:
        project = make_project(is_multi_intent=True)
        topics = {
            name: make_intent(project, name) for name in ("salary", "parking", "lunch")
        }
        draw = random.Random(1)
        planted = range(1, 150, 29)
        rows = []
        for number in range(150):
            chosen = draw.sample(sorted(topics), number % 3)
            text = " and ".join(f"the {name} question" for name in chosen)
            if number in planted:
                chosen = [draw.choice([name for name in topics if name not in chosen])]
            own = [topics[name] for name in chosen]
            rows.append((f"{text or 'hello there'} {number}", own))
        made = fill(project, rows)
        label_errors.find(project.pk)
        found = suspected(project)
        assert {made[number].pk for number in planted} <= found
        assert len(found) <= 10

    def test_vectors_are_used_where_there_are_some(self, project: Project) -> None:
        draw = np.random.default_rng(0)
        centres = draw.normal(size=(2, Embedding.DIMENSIONS))
        intents = [make_intent(project), make_intent(project)]
        # The texts say nothing: only the vectors can tell.
        made = fill(project, [(f"q {i}", [intents[i % 2]]) for i in range(60)])
        for place, question in enumerate(made):
            towards = centres[1 - place % 2 if place == 0 else place % 2]
            vector = towards + 0.5 * draw.normal(size=Embedding.DIMENSIONS)
            Embedding.objects.create(
                question=question,
                project=project,
                vector=(vector / np.linalg.norm(vector)).tolist(),
                is_labelled=True,
            )
        check = label_errors.find(project.pk)
        assert check.features == LabelCheck.Features.VECTORS
        assert suspected(project) == {made[0].pk}

    def test_near_duplicates_with_one_label_do_not_vouch_for_each_other(self) -> None:
        groups = [number // 3 for number in range(60)]
        labels = [(group % 2,) for group in groups]
        folds = finding._folds(labels, groups)
        for group in range(20):
            assert len(set(folds[[g == group for g in groups]])) == 1
        # Each label is in every fold: what is held out is known to the others.
        for label in (0, 1):
            mine = folds[[own == (label,) for own in labels]]
            assert set(mine) == set(range(finding.FOLDS))

    def test_the_same_labels_give_the_same_answer(self, project: Project) -> None:
        two_topics(project)
        label_errors.find(project.pk)
        first = dict(project.questions.values_list("pk", "suspicion"))
        label_errors.find(project.pk)
        assert first == dict(project.questions.values_list("pk", "suspicion"))


class TestWriting:
    def test_what_is_right_now_is_cleared(self, project: Project) -> None:
        questions, wrong = two_topics(project)
        right = questions[0]
        project.questions.filter(pk=right.pk).update(suspicion=0.9)
        label_errors.find(project.pk)
        assert suspected(project) == {wrong.pk}

    def test_other_projects_are_left_alone(self, project: Project) -> None:
        other = make_project()
        theirs = make_labelled(other, make_intent(other), suspicion=0.5)
        two_topics(project)
        label_errors.find(project.pk)
        assert suspected(other) == {theirs.pk}

    def test_what_a_reviewer_confirmed_is_not_suspected_again(
        self, project: Project
    ) -> None:
        _questions, wrong = two_topics(project)
        label_errors.find(project.pk)
        assert suspected(project) == {wrong.pk}
        gold.set_gold(
            [wrong.pk],
            [project.intents.get(code="invoice")],
            source=GoldLabel.Source.ADJUDICATION,
            by=make_person("rex", project),
            kind=LabelChange.Kind.ADJUDICATION,
        )
        assert suspected(project) == set()
        label_errors.find(project.pk)
        assert suspected(project) == set()

    def test_a_label_changed_during_the_search_is_not_suspected(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _questions, wrong = two_topics(project)
        doubt = finding.doubt

        def meanwhile(*args: object, **values: object) -> finding.Doubts:
            gold.set_gold(
                [wrong.pk],
                [project.intents.get(code="holiday")],
                source=GoldLabel.Source.ANNOTATION,
                by=make_person("ann", project),
                kind=LabelChange.Kind.ANNOTATION,
            )
            return doubt(*args, **values)  # type: ignore[arg-type]

        project.questions.update(labelled_at=timezone.now() - timedelta(1))
        monkeypatch.setattr(finding, "doubt", meanwhile)
        label_errors.find(project.pk)
        assert suspected(project) == set()


class TestWhyNot:
    def test_too_few_labels(self, project: Project) -> None:
        make_labelled(project, make_intent(project), suspicion=0.4)
        check = label_errors.find(project.pk)
        assert check.refusal == LabelCheck.Refusal.FEW_LABELS
        assert check.finished_at is not None

    def test_one_intent_only(self, project: Project) -> None:
        only, rare = make_intent(project), make_intent(project, "rare")
        fill(project, [(f"question {i}", [only]) for i in range(20)])
        fill(project, [(f"rare {i}", [rare]) for i in range(4)])
        check = label_errors.find(project.pk)
        assert check.refusal == LabelCheck.Refusal.FEW_INTENTS

    def test_rare_intents_are_left_out_and_named(self, project: Project) -> None:
        questions, wrong = two_topics(project)
        fill(project, [("a rare thing", [make_intent(project, "rare")])])
        check = label_errors.find(project.pk)
        assert check.left_out == ["rare"]
        assert check.examined == len(questions)
        assert suspected(project) == {wrong.pk}

    def test_a_broken_search_says_so(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        two_topics(project)

        def broken(*args: object, **values: object) -> finding.Doubts:
            raise MemoryError

        monkeypatch.setattr(finding, "doubt", broken)
        with pytest.raises(MemoryError):
            label_errors.find(project.pk)
        check = label_errors.last(project)
        assert check is not None
        assert check.refusal == LabelCheck.Refusal.FAILED
        assert not label_errors.is_under_way(check)


class TestAsking:
    def test_is_enqueued_once_and_taken_up_by_the_worker(
        self, project: Project
    ) -> None:
        mia = make_person("mia", project)
        first = label_errors.ask(project, by=mia)
        assert label_errors.ask(project, by=mia) == first
        assert label_errors.is_under_way(first)
        two_topics(project)
        done = label_errors.find(project.pk)
        assert (done.pk, done.by) == (first.pk, mia)
        assert not label_errors.is_under_way(done)
        assert label_errors.ask(project, by=mia).pk != first.pk

    def test_one_that_a_worker_lost_does_not_block_the_next(
        self, project: Project
    ) -> None:
        lost = label_errors.ask(project, by=None)
        LabelCheck.objects.filter(pk=lost.pk).update(
            asked_at=timezone.now() - timedelta(hours=2)
        )
        assert label_errors.ask(project, by=None).pk != lost.pk
