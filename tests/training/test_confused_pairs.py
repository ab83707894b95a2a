"""From a confused pair of an evaluation to the queue between the two intents."""

import pytest
from django.test import Client

from labeling.models import IntentAlias, Project
from labeling.reports import progress
from tests.makers import make_intent, make_person, make_project, make_question
from tests.registry.makers import make_version
from tests.training.evaluations import Row, make_evaluation
from tests.training.test_evaluation_pages import FIVE, as_person, base, page

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    project = make_project(name="Bank")
    for code in FIVE:
        make_intent(project, code)
    return project


@pytest.fixture
def mia(project: Project) -> Client:
    return as_person(make_person("mia", project))


def test_a_pair_leads_to_the_queue_between_the_two(
    project: Project, mia: Client
) -> None:
    rows: list[Row] = [(f"q{n}", ["card"], ["loan"], 0.5) for n in range(3)]
    one = make_evaluation(make_version(project, FIVE), rows)
    html = page(mia, base(one))
    link = f"/label/{project.slug}/?queue=pair&a=card&b=loan"
    assert link not in html  # it would lead to an empty queue
    assert "no open question" in html
    IntentAlias.objects.create(
        project=project, intent=project.intents.get(code="loan"), code="credit"
    )
    for first, second, state, split in (
        ("card", "loan", "open", "train"),
        ("credit", "card", "open", "validation"),  # by an old code
        ("card", "loan", "labelled", "train"),
        ("card", "loan", "open", "test"),  # the audit hands these out
        ("card", "bill", "open", "train"),
    ):
        predicted = [{"code": code, "confidence": 0.5} for code in (first, second)]
        make_question(project, predicted=predicted, state=state, split=split)
    html = page(mia, base(one))
    assert link in html
    assert "Label 2 more of these" in html
    assert mia.get(link).status_code == 200


def test_of_many_open_questions_it_counts_no_more_than_it_says(
    project: Project, mia: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "QUEUE_AT_MOST", 2)
    rows: list[Row] = [("q", ["card"], ["loan"], 0.5)]
    one = make_evaluation(make_version(project, FIVE), rows)
    for _i in range(5):
        codes = [{"code": code, "confidence": 0.5} for code in ("card", "loan")]
        make_question(project, predicted=codes, split="train")
    assert "Label 2+ more of these" in page(mia, base(one))
