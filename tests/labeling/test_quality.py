"""The quality report and its page: right numbers, bounded reads, who may see what."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeling import label_errors
from labeling.agreement import Distance, Undefined
from labeling.labels import gold
from labeling.models import (
    Annotation,
    BulkAction,
    GoldLabel,
    Intent,
    IntentAlias,
    LabelChange,
    Project,
    Question,
)
from labeling.reports import quality
from labeling.reports.quality import Person
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    cache.clear()


@pytest.fixture
def project() -> Project:
    return make_project(name="Ours", overlap=2)


@pytest.fixture
def ab(project: Project) -> tuple[Intent, Intent]:
    return make_intent(project, "a"), make_intent(project, "b")


def judge(
    question: Question,
    person: User,
    *intents: Intent,
    verdict: str = "label",
    **values: Any,
) -> Annotation:
    annotation = Annotation.objects.create(
        question=question, annotator=person, verdict=verdict, **values
    )
    annotation.intents.set(intents)
    return annotation


def shared(
    project: Project,
    people: Sequence[User],
    *verdicts: Sequence[Intent],
    **values: Any,
) -> list[Question]:
    """One question for each group of verdicts, one verdict for each person."""
    questions = []
    for group in verdicts:
        question = make_question(project)
        for person, intent in zip(people, group, strict=True):
            judge(question, person, intent, **values)
        questions.append(question)
    return questions


def person(project: Project, name: str) -> Person:
    people = quality.report(project).people
    return next(one for one in people if one.name == name)


class TestAgreement:
    def test_alpha_kappa_and_intents_of_what_two_people_said(
        self, project: Project, ab: tuple[Intent, Intent]
    ) -> None:
        a, b = ab
        ann, rex = make_person("ann", project), make_person("rex", project)
        shared(
            project, (ann, rex), *[(a, a)] * 12, *[(b, b)] * 6, *[(a, b), (b, a)] * 1
        )
        judge(make_question(project), ann, a)  # alone: says nothing
        other = make_project()
        shared(other, (ann, rex), *[(make_intent(other), make_intent(other))] * 12)
        found = quality.report(project)
        # 20 questions, 40 verdicts: 26 a, 14 b; observed disagreement 2 / 20.
        expected = 1 - (2 / 20) / (2 * 26 * 14 / (40 * 39))
        assert found.alpha.value == pytest.approx(expected)
        assert (found.alpha.n, found.distance) == (20, Distance.NOMINAL)
        assert {one.code: one.alpha.n for one in found.intents} == {"a": 14, "b": 8}
        [pair] = found.pairs
        assert {pair.a, pair.b} == {"ann", "rex"}
        assert pair.kappa.n == 20

    def test_sets_of_intents_agree_in_part(self, ab: tuple[Intent, Intent]) -> None:
        project = make_project(is_multi_intent=True, overlap=2)
        a, b, c = (make_intent(project, code) for code in "abc")
        ann, rex = make_person("ann", project), make_person("rex", project)
        for number in range(12):
            question = make_question(project)
            judge(question, ann, a, b) if number else judge(question, ann, c)
            judge(question, rex, a) if number else judge(question, rex, c)
        found = quality.report(project)
        assert found.distance == Distance.MASI
        assert found.alpha.observed == pytest.approx(1 - 11 / 12 * (2 / 3))

    def test_skips_and_bulk_actions_are_no_judgements(
        self, project: Project, ab: tuple[Intent, Intent]
    ) -> None:
        a, _b = ab
        ann, rex = make_person("ann", project), make_person("rex", project)
        action = BulkAction.objects.create(
            project=project, kind="selection", codes=["a"], by=rex
        )
        for _ in range(12):
            question = make_question(project)
            judge(question, ann, a)
            judge(question, rex, a, bulk=action)
        skipped = make_question(project)
        judge(skipped, ann, a)
        judge(skipped, rex, verdict="skip")
        found = quality.report(project)
        assert found.alpha.n == 0
        assert found.alpha.undefined == Undefined.ONE_RATER
        assert (person(project, "rex").labels, person(project, "rex").skips) == (0, 1)

    def test_reads_no_more_than_the_window(
        self,
        project: Project,
        ab: tuple[Intent, Intent],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        a, b = ab
        ann, rex = make_person("ann", project), make_person("rex", project)
        old = shared(project, (ann, rex), *[(a, b)] * 20)
        Annotation.objects.filter(question__in=old).update(
            updated_at=timezone.now() - timedelta(days=1)
        )
        shared(project, (ann, rex), *[(a, a), (b, b)] * 10)
        monkeypatch.setattr(quality, "VERDICTS", 0)
        monkeypatch.setattr(quality, "LEAST_EACH", 20)
        found = quality.report(project)
        assert (found.verdicts, found.each, found.alpha.value) == (40, 20, 1.0)

    def test_few_queries_and_none_while_it_is_remembered(
        self,
        project: Project,
        ab: tuple[Intent, Intent],
        django_assert_max_num_queries: Any,
    ) -> None:
        people = [make_person(name, project) for name in ("ann", "rex", "mia")]
        shared(project, people, *[(*ab, ab[0])] * 12)
        with django_assert_max_num_queries(8):
            first = quality.report(project)
        with django_assert_max_num_queries(0):
            assert quality.report(project) == first


class TestPeople:
    def test_labels_skips_and_the_median_of_seconds(
        self, project: Project, ab: tuple[Intent, Intent]
    ) -> None:
        ann = make_person("ann", project)
        for spent in (1000, 3000, 90_000, None):
            judge(make_question(project), ann, ab[0], time_spent_ms=spent)
        judge(make_question(project), ann, verdict="skip", time_spent_ms=4000)
        found = person(project, "ann")
        assert (found.labels, found.skips, found.median_s) == (4, 1, 3.5)

    def test_settled_leaves_out_what_is_only_ones_own(
        self, project: Project, ab: tuple[Intent, Intent]
    ) -> None:
        a, b = ab
        ann, rex = make_person("ann", project), make_person("rex", project)

        def settle(question: Question, intent: Intent, by: User, source: str) -> None:
            kind = LabelChange.Kind(source)
            gold.set_gold([question.pk], [intent], source=source, by=by, kind=kind)

        alone = make_question(project)
        judge(alone, ann, a)
        settle(alone, a, ann, "annotation")
        corrected = make_question(project)
        judge(corrected, ann, a)
        settle(corrected, b, rex, "adjudication")
        agreed, disputed = shared(project, (ann, rex), (a, a), (a, b))
        settle(agreed, a, rex, "annotation")
        Question.objects.filter(pk=disputed.pk).update(state="disputed")
        found = person(project, "ann").settled
        assert (found.hits, found.n) == (1, 2)
        assert found.value is None

    def test_anchoring_is_shown_minus_blind(
        self, project: Project, ab: tuple[Intent, Intent]
    ) -> None:
        a, b = ab
        ann = make_person("ann", project)
        IntentAlias.objects.create(project=project, code="old_a", intent=a)
        for number in range(20):
            judge(make_question(project), ann, a, suggested="old_a")
            chosen = a if number < 10 else b
            judge(make_question(project), ann, chosen, suggested="a", is_blind=True)
        judge(make_question(project), ann, a, suggested="")
        judge(make_question(project), ann, a, suggested="gone")
        found = person(project, "ann")
        assert (found.shown.hits, found.shown.n) == (20, 20)
        assert (found.blind.hits, found.blind.n) == (10, 20)
        gap = found.anchoring
        assert gap is not None
        assert gap.centre == pytest.approx(0.5)
        assert 0 < gap.low < 0.5 < gap.high

    def test_anchoring_of_few_is_not_told(
        self, project: Project, ab: tuple[Intent, Intent]
    ) -> None:
        ann = make_person("ann", project)
        judge(make_question(project), ann, ab[0], suggested="a", is_blind=True)
        assert person(project, "ann").anchoring is None


class TestReasons:
    def test_only_adjudications_of_the_project_count(
        self, project: Project, ab: tuple[Intent, Intent]
    ) -> None:
        other = make_project()
        cases = [
            (project, "adjudication", "slip"),
            (project, "adjudication", "slip"),
            (project, "adjudication", "guideline_gap"),
            (project, "adjudication", ""),
            (project, "annotation", ""),
            (other, "adjudication", "ambiguous"),
        ]
        for where, kind, reason in cases:
            LabelChange.objects.create(
                question=make_question(where),
                kind=kind,
                reason=reason,
                at=timezone.now(),
            )
        assert list(quality.report(project).reasons.items()) == [
            *(("guideline_gap", 1), ("slip", 2), ("", 1)),
        ]


class TestPage:
    def open(self, name: str, project: Project, language: str = "en") -> Any:
        client = Client()
        client.force_login(make_person(name, project))
        client.cookies["django_language"] = language
        return client.get(reverse("labeling:quality", args=[project.slug]))

    @pytest.mark.parametrize("language", ["en", "zh-hans"])
    @pytest.mark.parametrize("name", ["rex", "mia"])
    def test_opens_empty_and_full(
        self,
        name: str,
        language: str,
        project: Project,
        ab: tuple[Intent, Intent],
    ) -> None:
        assert self.open(name, project, language).status_code == 200
        cache.clear()
        people = [make_person(one, project) for one in ("ann", "rex", "mia")]
        a, b = ab
        shared(project, people, *[(a, a, b), (b, b, b)] * 8, suggested="a")
        shared(project, people, *[(a, a, b)] * 12, suggested="a", is_blind=True)
        label_errors.find(project.pk)
        page = self.open(name, project, language)
        assert page.status_code == 200
        body = page.content.decode()
        assert body.count("tl-interval-range") >= 6
        assert "queue=disputed" in body
        assert "queue=suspect" in body

    def test_is_not_for_annotators_nor_strangers(self, project: Project) -> None:
        assert self.open("ann", project).status_code == 403
        assert self.open("out", project).status_code == 404

    def test_reviewers_do_not_see_who_follows_suggestions(
        self, project: Project, ab: tuple[Intent, Intent]
    ) -> None:
        judge(make_question(project), make_person("ann", project), ab[0])
        assert "Anchoring" in self.open("mia", project).content.decode()
        assert "Anchoring" not in self.open("rex", project).content.decode()

    def test_says_what_to_switch_on(self) -> None:
        project = make_project(overlap=1)
        change = reverse("admin:labeling_project_change", args=[project.pk])
        assert "With 2 or more" in self.open("rex", project).content.decode()
        assert change in self.open("mia", project).content.decode()

    def test_few_queries(
        self,
        project: Project,
        ab: tuple[Intent, Intent],
        django_assert_max_num_queries: Any,
    ) -> None:
        people = [make_person(name, project) for name in ("ann", "rex", "mia")]
        shared(project, people, *[(*ab, ab[0])] * 12)
        client = Client()
        client.force_login(people[2])
        with django_assert_max_num_queries(20):
            client.get(reverse("labeling:quality", args=[project.slug]))


class TestLook:
    def look(self, name: str, project: Project) -> Any:
        client = Client()
        client.force_login(make_person(name, project))
        return client.post(reverse("labeling:look_for_errors", args=[project.slug]))

    def test_reviewers_may_ask_for_a_search(self, project: Project) -> None:
        page = self.look("rex", project)
        assert page.status_code == 302
        check = label_errors.last(project)
        assert check is not None
        assert label_errors.is_under_way(check)
        assert check.by == make_person("rex")

    def test_annotators_may_not(self, project: Project) -> None:
        assert self.look("ann", project).status_code == 403
        assert label_errors.last(project) is None

    def test_what_was_found_is_told(self, project: Project) -> None:
        intents = [make_intent(project), make_intent(project)]
        for number in range(30):
            word = ("holiday", "invoice")[number % 2]
            make_labelled(project, intents[number % 2], f"{word} number {number}")
        wrong = make_labelled(project, intents[0], "invoice invoice number")
        label_errors.find(project.pk)
        wrong.refresh_from_db()
        assert wrong.suspicion is not None
        assert GoldLabel.objects.get(question=wrong).intent == intents[0]
        body = TestPage().open("rex", project).content.decode()
        assert "1 of 31 labels is likely wrong" in body
