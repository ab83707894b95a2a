"""Templates and synthetic questions go along when the label set changes."""

import pytest

from labeling import growth, taxonomy
from labeling.models import Intent, Project, SyntheticQuestion, Template
from labeling.normalise import text_hash
from labeling.taxonomy import Part
from tests.makers import make_intent, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project()


def made(intent: Intent, text: str, template: Template | None = None) -> None:
    SyntheticQuestion.objects.create(
        project=intent.project,
        intent=intent,
        text=text,
        text_hash=text_hash(text),
        template=template,
        origin="template" if template else "paraphrase",
    )


def has(intent: Intent) -> set[tuple[str, bool]]:
    return set(intent.synthetic_questions.values_list("text", "is_used"))


def test_a_merge_moves_them_and_keeps_one_of_two_equal_templates(
    project: Project,
) -> None:
    wages, salary, pay = (make_intent(project, c) for c in ("wages", "salary", "pay"))
    kept = Template.objects.create(intent=pay, text="where is my money")
    for intent in (wages, salary):
        double = Template.objects.create(intent=intent, text="where is my money")
        made(intent, f"made by {intent.code}", double)
        Template.objects.create(intent=intent, text="pay me at once")
        made(intent, f"other words of {intent.code}")
    taxonomy.merge([wages, salary], pay, by=None)
    assert sorted(pay.templates.values_list("text", flat=True)) == [
        "pay me at once",
        "where is my money",
    ]
    assert has(pay) == {
        ("made by wages", True),
        ("made by salary", True),
        ("other words of wages", True),
        ("other words of salary", True),
    }
    assert set(kept.made.values_list("text", flat=True)) == {
        "made by wages",
        "made by salary",
    }


def test_the_preview_of_a_merge_counts_them(project: Project) -> None:
    wages, pay = make_intent(project, "wages"), make_intent(project, "pay")
    Template.objects.create(intent=wages, text="where is my money")
    made(wages, "one")
    made(wages, "two")
    moved = taxonomy.preview_merge([wages], pay).moved
    assert (moved.templates, moved.synthetic) == (1, 2)


def test_a_split_shares_them_out_by_keywords(project: Project) -> None:
    pay = make_intent(project, "pay")
    for text in ("by visa {when}", "cash {when}", "{when}"):
        Template.objects.create(intent=pay, text=text)
    for text in ("May I use VISA", "现金 cash please", "visa or cash", "how much"):
        made(pay, text)
    parts = [Part("card", keywords=("visa",)), Part("cash", keywords=("cash",))]
    done = taxonomy.split(pay, parts, heir="card", by=None)
    card, cash = done.intents["card"], done.intents["cash"]
    assert set(card.templates.values_list("text", flat=True)) == {
        "by visa {when}",
        "{when}",
    }
    assert set(cash.templates.values_list("text", flat=True)) == {"cash {when}"}
    assert has(cash) == {("现金 cash please", True)}
    # Nobody said that these belong to the heir.
    assert has(card) == {
        ("May I use VISA", True),
        ("visa or cash", False),
        ("how much", False),
    }


def test_the_rest_goes_to_the_part_that_takes_it(project: Project) -> None:
    pay = make_intent(project, "pay")
    Template.objects.create(intent=pay, text="pay {when}")
    made(pay, "how much")
    parts = [Part("card", keywords=("visa",)), Part("other", takes_rest=True)]
    done = taxonomy.split(pay, parts, heir="card", by=None)
    assert has(done.intents["other"]) == {("how much", True)}
    assert done.intents["other"].templates.count() == 1


def test_a_retired_intent_keeps_them_out_of_sight(project: Project) -> None:
    pay, ship = make_intent(project, "pay"), make_intent(project, "ship")
    Template.objects.create(intent=pay, text="where is my money")
    Template.objects.create(intent=ship, text="where is my parcel")
    taxonomy.retire(pay, by=None)
    assert growth.fill(project, by=None).by_intent == {"ship": 1}
    taxonomy.restore(Intent.objects.get(pk=pay.pk), by=None)
    assert growth.fill(project, by=None).by_intent == {"pay": 1, "ship": 0}


def test_a_new_code_changes_nothing(project: Project) -> None:
    pay = make_intent(project, "pay")
    Template.objects.create(intent=pay, text="where is my money")
    growth.fill(project, by=None)
    renamed = taxonomy.rename(pay, code="wages", by=None)
    assert has(renamed) == {("where is my money", True)}
