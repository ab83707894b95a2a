"""The pages of evaluations in Chromium: from a figure to the questions behind it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from labeling.models import Intent, Project, Question
from labeling.normalise import text_hash
from registry.models import Evaluation
from tests.browser.boxes import swiped
from tests.makers import make_person, make_project
from tests.registry.makers import make_version
from tests.training.evaluations import Row, make_evaluation, make_rows
from training import evaluation as measuring
from training.models import EvaluationRun
from training.reports import side_by_side

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OpenAs = Callable[..., Page]

FEW = ["bill", "card", "loan", "rate", "stock"]
MANY = [f"a_rather_long_intent_{n:03}" for n in range(150)]
LANGUAGES = pytest.mark.parametrize("language", ["en", "zh-CN"])


def measured(
    project: Project, codes: list[str], *, each: int, wrong: float
) -> tuple[Evaluation, Evaluation]:
    """An older and a newer version on the same questions."""
    Intent.objects.bulk_create(
        Intent(project=project, code=code, name=code) for code in codes
    )
    now = timezone.now()
    new = make_rows(codes, each=each, wrong=wrong)
    old: list[Row] = make_rows(codes, each=each, wrong=2 * wrong, seed=7)
    questions = Question.objects.bulk_create(
        Question(
            project=project,
            text=row[0],
            text_hash=text_hash(row[0]),
            first_seen=now,
            last_seen=now,
            labelled_at=now,
            state="labelled",
            split="test",
        )
        for row in new
    )
    version = make_version(project, FEW, active=True)
    before = make_evaluation(version, old, questions=questions)
    after = make_evaluation(make_version(project, FEW), new, questions=questions)
    return before, after


@LANGUAGES
def test_a_cell_leads_to_its_questions_and_a_version_to_the_other(
    open_as: OpenAs, language: str
) -> None:
    project = make_project()
    before, after = measured(project, FEW, each=30, wrong=0.15)
    mia = make_person("mia", project)
    home = f"/train/evaluations/{after.pk}/"
    page = open_as(mia, home, locale=language)
    expect(page.locator("html")).to_have_attribute(
        "lang", "en" if language == "en" else "zh-hans"
    )
    expect(page.locator("svg.tl-plot .tl-plot-bar").last).to_be_visible()
    expect(page.locator(".tl-matrix tbody tr")).to_have_count(5)

    cell = page.locator(".tl-matrix td.tl-cell-wrong a").first
    n = int(cell.inner_text())
    cell.click()
    expect(page).to_have_url(re.compile(r"/questions/\?right=\w+&answered=\w+"))
    expect(page.locator(".tl-answers > li")).to_have_count(n)
    page.locator("a.tl-answer-text").first.click()
    expect(page).to_have_url(re.compile(r"/admin/labeling/question/\d+/change/"))

    page.goto(home)
    page.locator(f'a[href="{home}against/"]').click()
    expect(page).to_have_url(re.compile(r"/against/\d+/$"))
    found = side_by_side.compare(before, after)
    assert found is not None
    texts = page.locator("#fixed a.tl-answer-text")
    expect(texts).to_have_count(side_by_side.PAGE)
    assert side_by_side.PAGE < found.fixed < 10 * side_by_side.PAGE
    for shown in range(
        2 * side_by_side.PAGE, found.fixed + side_by_side.PAGE, side_by_side.PAGE
    ):
        page.locator("#fixed button[hx-get]").click()
        expect(texts).to_have_count(min(shown, found.fixed))
    expect(page.locator("#fixed button[hx-get]")).to_have_count(0)
    assert len(set(texts.all_inner_texts())) == found.fixed


def test_of_many_intents_those_that_matter_are_found(open_as: OpenAs) -> None:
    project = make_project()
    _before, after = measured(project, MANY, each=4, wrong=0.1)
    page = open_as(make_person("mia", project), f"/train/evaluations/{after.pk}/")
    heads = page.locator(".tl-matrix thead th")
    expect(heads).to_have_count(13)

    page.locator("#matrix input[name=around]").fill(MANY[77])
    page.locator("#matrix input[name=around]").press("Enter")
    expect(heads.first).to_have_attribute("title", MANY[77])
    assert "around" not in page.url  # the matrix alone came anew
    page.locator("#matrix input[name=add]").fill(MANY[5])
    page.locator("#matrix input[name=add]").press("Enter")
    expect(page.locator(f'.tl-matrix th[title="{MANY[5]}"]')).to_have_count(2)
    page.locator(".tl-chip", has_text=MANY[5]).locator("a").click()
    expect(page.locator(f'.tl-matrix th[title="{MANY[5]}"]')).to_have_count(0)

    rows = page.locator("#intents-table tbody tr")
    weakest = rows.first.inner_text()
    page.get_by_role("button", name="F1", exact=True).click()
    expect(rows.first).not_to_have_text(weakest)
    page.get_by_role("searchbox", name="Find").fill("INTENT_14")
    expect(rows.locator("visible=true")).to_have_count(10)


@LANGUAGES
def test_a_file_is_measured_and_its_result_opened(
    open_as: OpenAs, language: str, tmp_path: Path
) -> None:
    project = make_project()
    version = make_version(project, FEW)
    file = tmp_path / "mine.csv"
    file.write_text("text,label\nthe bill,bill\nmy card,card\nmy stock,loan\n", "utf-8")
    path = f"/train/versions/{version.pk}/measure/"
    page = open_as(make_person("mia", project), path, locale=language)
    page.locator("input[name=kind][value=file]").check()
    page.locator("input[name=file]").set_input_files(file)
    page.locator(".tl-measure button[type=submit]").click()
    expect(page.locator("#runs .tl-badge.tl-bad")).to_be_visible()  # no worker listens
    run = EvaluationRun.objects.get()
    assert measuring.execute(run.pk)
    # No reload by hand: the list polls until it is done.
    page.locator("#runs li a").click()
    expect(page).to_have_url(re.compile(r"/train/evaluations/\d+/$"))
    expect(page.locator(".tl-figure").first).to_contain_text("66.7")


def test_the_pages_fit_a_phone(open_as: OpenAs) -> None:
    project = make_project()
    before, after = measured(project, MANY, each=2, wrong=0.3)
    mia = make_person("mia", project)
    home = f"/train/evaluations/{after.pk}/"
    page = open_as(mia, home, viewport={"width": 390, "height": 844})
    for path in (
        home,
        f"{home}questions/?show=wrong",
        f"{home}against/{before.pk}/",
        f"/train/versions/{after.version_id}/measure/",
        f"/admin/registry/version/{after.version_id}/change/",
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path
        assert not swiped(page), path
