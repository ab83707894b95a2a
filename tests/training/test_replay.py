"""Which rows a batch trains on."""

from collections import Counter
from collections.abc import Sequence

import pytest

from labeling import datasets, taxonomy
from labeling.models import Dataset, DatasetItem, Project
from registry.models import Version
from tests.makers import make_intent, make_labelled, make_project
from tests.registry.makers import make_version
from training.ml.interface import Example
from training.running import replay

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    """40 questions of "common", 4 of "rare", all to train on."""
    project = make_project()
    for code, count in (("common", 40), ("rare", 4)):
        intent = make_intent(project, code)
        for n in range(count):
            make_labelled(project, intent, f"{code} {n}", split="train")
    return project


def parent_of(project: Project, dataset: Dataset) -> Version:
    return make_version(
        project, dataset.label_set, provenance={"dataset": {"id": dataset.pk}}
    )


def add(project: Project, code: str, count: int) -> None:
    intent = project.intents.filter(code=code).first() or make_intent(project, code)
    for n in range(count):
        make_labelled(project, intent, f"new {code} {n}", split="train")


def freeze(project: Project) -> Dataset:
    return datasets.freeze(project, by=None)


def codes(selection: replay.Selection) -> Counter[str]:
    return Counter(row.labels[0] for row in selection.train)


def test_without_a_parent_every_row_is_new(project: Project) -> None:
    rows = replay.select(freeze(project), parent=None, replay=0.5, seed=1)
    assert (len(rows.train), rows.new, rows.replayed) == (44, 44, 0)


def test_new_rows_come_with_some_old_ones_of_every_intent(project: Project) -> None:
    parent = parent_of(project, freeze(project))
    add(project, "fresh", 20)
    rows = replay.select(freeze(project), parent=parent, replay=0.5, seed=1)
    assert (rows.new, rows.replayed) == (20, 10)
    # In turn, so that the rare intent is not lost among the common.
    assert codes(rows) == {"fresh": 20, "common": 6, "rare": 4}


def test_all_rows_are_trained_on_when_replay_is_not_asked_for(
    project: Project,
) -> None:
    parent = parent_of(project, freeze(project))
    add(project, "fresh", 20)
    rows = replay.select(freeze(project), parent=parent, replay=None, seed=1)
    assert (len(rows.train), rows.new) == (64, 20)


def test_no_replay_is_no_old_row(project: Project) -> None:
    parent = parent_of(project, freeze(project))
    add(project, "fresh", 20)
    rows = replay.select(freeze(project), parent=parent, replay=0.0, seed=1)
    assert codes(rows) == {"fresh": 20}


def test_a_single_new_row_comes_with_one_of_each_old_intent(project: Project) -> None:
    parent = parent_of(project, freeze(project))
    add(project, "rare", 1)
    rows = replay.select(freeze(project), parent=parent, replay=0.5, seed=1)
    assert codes(rows) == {"common": 1, "rare": 2}


def test_there_is_no_more_to_replay_than_there_is(project: Project) -> None:
    parent = parent_of(project, freeze(project))
    add(project, "fresh", 20)
    rows = replay.select(freeze(project), parent=parent, replay=9.0, seed=1)
    assert (len(rows.train), rows.replayed) == (64, 44)


def test_without_new_rows_all_are_gone_over_again(project: Project) -> None:
    parent = parent_of(project, freeze(project))
    rows = replay.select(freeze(project), parent=parent, replay=0.5, seed=1)
    assert (len(rows.train), rows.new) == (44, 0)


def test_what_a_rejected_version_learned_is_new_to_the_active_one(
    project: Project,
) -> None:
    parent = parent_of(project, freeze(project))
    add(project, "fresh", 20)
    datasets.mark_trained(freeze(project), "2")  # version 2 never served
    rows = replay.select(freeze(project), parent=parent, replay=0.0, seed=1)
    assert codes(rows) == {"fresh": 20}


def test_a_changed_label_is_new_and_a_renamed_intent_is_not(project: Project) -> None:
    parent = parent_of(project, freeze(project))
    question = project.questions.get(text="common 3")
    question.gold_labels.update(intent=project.intents.get(code="rare"))
    taxonomy.rename(project.intents.get(code="common"), code="usual", by=None)
    rows = replay.select(freeze(project), parent=parent, replay=0.0, seed=1)
    assert [row.text for row in rows.train] == ["common 3"]


def test_the_choice_depends_on_the_seed_alone(project: Project) -> None:
    parent = parent_of(project, freeze(project))
    add(project, "fresh", 20)
    dataset = freeze(project)
    chosen = [
        [
            r.text
            for r in replay.select(dataset, parent=parent, replay=0.5, seed=s).train
        ]
        for s in (1, 1, 2)
    ]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_of_a_parent_from_elsewhere_the_marks_decide(project: Project) -> None:
    datasets.mark_trained(freeze(project), "1")
    parent = make_version(project, ["common", "rare"])
    add(project, "fresh", 20)
    rows = replay.select(freeze(project), parent=parent, replay=0.0, seed=1)
    assert codes(rows) == {"fresh": 20}


class TestOrder:
    """Which old rows come again; all by ids, as the rows stand in the dataset."""

    def items(self, project: Project) -> list[DatasetItem]:
        return list(freeze(project).items.order_by("id"))

    def test_at_random_goes_by_numbers_and_seed(self, project: Project) -> None:
        items = self.items(project)
        drawn = replay.at_random(items, count=22, seed=3)
        assert drawn == replay.at_random(items, count=22, seed=3)
        assert drawn != replay.at_random(items, count=22, seed=4)
        assert len({item.pk for item in drawn}) == 22
        assert len(replay.at_random(items, count=99, seed=3)) == 44

    def test_hardest_takes_one_of_each_intent_first(self, project: Project) -> None:
        items = self.items(project)
        # The rare ones are the easiest of all.
        hard = [0.0 if item.codes == ["rare"] else item.pk % 7 for item in items]
        drawn = replay.hardest(items, hard, count=5)
        assert [item.codes for item in drawn].count(["rare"]) == 1
        common = sorted(item.pk % 7 for item in drawn if item.codes != ["rare"])
        assert common == [6, 6, 6, 6]

    @pytest.mark.parametrize("order", ["stratified", "random", "hardest"])
    def test_select_follows_the_order(self, project: Project, order: str) -> None:
        parent = parent_of(project, freeze(project))
        add(project, "fresh", 8)
        asked: list[str] = []

        def difficulty(rows: Sequence[Example]) -> list[float]:
            asked.extend(row.text for row in rows)
            return [float(row.text == "common 7") for row in rows]

        rows = replay.select(
            freeze(project),
            parent=parent,
            replay=1.0,
            seed=1,
            order=order,
            difficulty=difficulty,
        )
        assert rows.replayed == 8
        if order == "hardest":
            assert len(asked) == 44
            assert "common 7" in {row.text for row in rows.train}
        else:
            assert not asked


def test_synthetic_rows_are_known_by_their_text(project: Project) -> None:
    old = freeze(project)
    # Rows without a question, as datasets hold them.
    DatasetItem.objects.create(
        dataset=old, text="made up", codes=["common"], split="train", is_new=True
    )
    parent = parent_of(project, old)
    new = freeze(project)
    for text in ("made up", "made up later"):
        DatasetItem.objects.create(
            dataset=new, text=text, codes=["common"], split="train", is_new=True
        )
    rows = replay.select(new, parent=parent, replay=0.0, seed=1)
    assert [row.text for row in rows.train] == ["made up later"]
