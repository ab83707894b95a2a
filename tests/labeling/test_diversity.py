"""Diversity: one question of each kind goes first, near-duplicates go last."""

from typing import Any

import numpy as np
import pytest

from labeling.models import Project, Question
from labeling.ranking import diversity, priority
from labeling.search import similar
from tests.makers import make_project, make_question


def around(*directions: int, spread: float = 0.05) -> Any:
    """Unit vectors near the axes that are named, each a little off."""
    random = np.random.default_rng(5)
    rows = spread * random.normal(size=(len(directions), 384)) / 20
    rows[np.arange(len(directions)), directions] += 1.0
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def factors(vectors: Any, **overrides: Any) -> list[float]:
    values = {
        "base": np.linspace(1.0, 0.9, len(vectors)),
        "clusters": range(len(vectors)),
        "groups": 3,
        **overrides,
    }
    return list(diversity.factors(vectors=vectors, **values))


def test_the_best_of_each_group_goes_first() -> None:
    kinds = (0, 0, 0, 1, 1, 2)
    found = factors(around(*kinds))
    assert found == pytest.approx([1, 1 / 2, 1 / 3, 1, 1 / 2, 1])


def test_typical_ones_go_first_where_all_are_equally_unknown() -> None:
    vectors = around(0, 0, 0, 1, 1, 1)
    odd = vectors[0] + 0.6 * np.eye(384)[7]
    vectors[0] = odd / np.linalg.norm(odd)
    found = factors(vectors, base=np.ones(6), groups=2)
    assert found[0] == pytest.approx(1 / 3)


def test_near_duplicates_stand_behind_their_best() -> None:
    found = factors(around(0, 0, 1, 2), clusters=[7, 7, 8, 9])
    assert found == [1, diversity.DUPLICATE, 1, 1]


def test_a_late_rank_is_no_worse_than_not_being_ranked() -> None:
    found = factors(around(*[0] * 30), groups=1)
    assert min(found) == priority.UNRANKED


def test_small_numbers() -> None:
    assert factors(np.zeros((0, 384)), base=np.zeros(0)) == []
    assert factors(around(0)) == [1]
    same = factors(np.repeat(around(0), 5, axis=0), groups=3)
    assert sorted(same) == pytest.approx([1 / 5, 1 / 4, 1 / 3, 1 / 2, 1])


def test_the_same_questions_always_give_the_same() -> None:
    random = np.random.default_rng(1).normal(size=(200, 384))
    vectors = random / np.linalg.norm(random, axis=1, keepdims=True)
    assert factors(vectors, groups=20) == factors(vectors, groups=20)


def test_more_groups_than_one_spread_the_head() -> None:
    """Of 300 questions of 30 kinds the first 30 cover nearly all kinds."""
    kinds = [n % 30 for n in range(300)]
    base = np.sort(np.random.default_rng(2).random(300))[::-1]
    found = np.array(factors(around(*kinds), base=base, groups=30)) * base
    head = np.argsort(-found)[:30]
    assert len({kinds[n] for n in head}) >= 25


@pytest.mark.django_db
class TestRenew:
    def fill(self, project: Project, **overrides: Any) -> list[Question]:
        kinds = (0, 0, 1, 1)
        questions = [
            make_question(
                project,
                f"q{n} {overrides}",
                **{
                    "split": "train",
                    "margin": 0.1 + 0.01 * n,
                    "predicted": [{"code": "a", "confidence": 0.5}],
                    **overrides,
                },
            )
            for n in range(len(kinds))
        ]
        vectors = around(*kinds)
        similar.store(project.pk, {q.pk: vectors[n] for n, q in enumerate(questions)})
        return questions

    def test_writes_factor_and_priority(self) -> None:
        project = make_project()
        self.fill(project)
        assert diversity.renew(project.pk, round_size=2) == 4
        for q in project.questions.all():
            expected = priority.score(
                margin=q.margin, occurrences=0, diversity=q.diversity
            )
            assert q.priority == pytest.approx(expected)
        kept = list(
            project.questions.order_by("pk").values_list("diversity", flat=True)
        )
        assert kept == pytest.approx([1, 0.5, 1, 0.5])
        assert diversity.renew(project.pk, round_size=2) == 0

    def test_leaves_out_what_nobody_is_asked(self) -> None:
        project = make_project()
        self.fill(project, split="test")
        self.fill(project, state="labelled")
        other = self.fill(make_project())
        bare = make_question(project, "without a vector", split="train")
        assert diversity.renew(project.pk, round_size=2) == 0
        for question in (*other, bare):
            question.refresh_from_db()
            assert question.diversity == priority.UNRANKED

    def test_whoever_falls_out_of_the_head_loses_its_factor(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project = make_project()
        questions = self.fill(project)
        diversity.renew(project.pk, round_size=2)
        monkeypatch.setattr(diversity, "MOST_COMPARED", 2)
        Question.objects.filter(pk=questions[0].pk).update(margin=0.99)
        diversity.renew(project.pk, round_size=2)
        questions[0].refresh_from_db()
        assert questions[0].diversity == priority.UNRANKED

    def test_raised_ones_stay_raised(self) -> None:
        project = make_project()
        self.fill(project, priority=priority.RAISED)
        diversity.renew(project.pk, round_size=2)
        assert set(project.questions.values_list("priority", flat=True)) == {
            priority.RAISED
        }
