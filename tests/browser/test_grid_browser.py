"""The grid in Chromium: keyboard, clicks, the dialog, and a phone."""

import pytest
from playwright.sync_api import expect

from labeling.models import BulkAction, GoldLabel, Question
from tests.makers import make_intent, make_person, make_project, make_question

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def project():
    project = make_project(name="Factory")
    make_intent(project, "pay", name="Payment")
    make_intent(project, "ship", name="发货查询")
    for n in range(12):
        make_question(project, f"订单 {n:02}", split="train", priority=100 - n)
    return project


@pytest.fixture
def ann(project):
    return make_person("ann", project)


def chosen(page):
    return page.locator(".tl-grid-item[aria-selected=true] .tl-grid-text")


def main_button(page):
    return page.locator("[data-main]")


def test_by_keyboard_alone(open_as, project, ann):
    page = open_as(ann, f"/label/{project.slug}/grid")
    expect(page.locator(".tl-grid-item")).to_have_count(12)
    expect(main_button(page)).to_be_disabled()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")  # one row of the grid further
    page.keyboard.press("Space")
    columns = page.locator(".tl-grid-items").evaluate(
        "grid => getComputedStyle(grid).gridTemplateColumns.split(' ').length"
    )
    below = f"订单 {1 + columns:02}"
    expect(chosen(page)).to_have_text(["订单 00", "订单 01", below])
    expect(main_button(page)).to_have_text("Label 3 questions")
    page.keyboard.press("Enter")  # no intent yet: to the picker
    page.keyboard.type("fhcx")  # pinyin initials
    expect(page.locator("#grid-found")).to_contain_text("发货查询")
    page.keyboard.press("Enter")
    expect(page.locator(".tl-queue-chip")).to_have_text("发货查询")
    page.keyboard.press("Enter")
    dialog = page.locator("#grid-dialog")
    expect(dialog).to_contain_text("3 open questions get this label")
    assert not BulkAction.objects.exists()
    page.keyboard.press("Enter")
    expect(page.locator("#grid-body")).to_contain_text("3 questions labelled")
    expect(dialog).to_be_hidden()
    expect(page.locator(".tl-grid-item")).to_have_count(9)
    assert GoldLabel.objects.filter(intent__code="ship").count() == 3
    page.keyboard.press("u")
    expect(page.locator("#grid-body")).to_contain_text("Taken back")
    expect(page.locator(".tl-grid-item")).to_have_count(12)
    assert Question.objects.open().count() == 12


def test_shift_click_all_and_escape(open_as, project, ann):
    page = open_as(ann, f"/label/{project.slug}/grid")
    items = page.locator(".tl-grid-item")
    items.nth(2).click()
    items.nth(5).click(modifiers=["Shift"])
    expect(chosen(page)).to_have_text([f"订单 {n:02}" for n in (2, 3, 4, 5)])
    items.nth(3).click()
    expect(main_button(page)).to_have_text("Label 3 questions")
    page.keyboard.press("a")
    expect(chosen(page)).to_have_count(12)
    page.keyboard.press("a")
    expect(chosen(page)).to_have_count(0)
    items.nth(0).click()
    items.nth(0).click()
    expect(chosen(page)).to_have_count(0)
    items.nth(0).click()
    page.keyboard.press("l")
    page.keyboard.type("pay")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#grid-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#grid-dialog")).to_be_hidden()
    assert not BulkAction.objects.exists()
    expect(main_button(page)).to_have_text("Label 1 question")


def test_search_and_all_matches(open_as, project, ann):
    page = open_as(ann, f"/label/{project.slug}/grid")
    page.keyboard.press("/")
    page.keyboard.type("订单 11")
    page.keyboard.press("Enter")
    expect(page.locator(".tl-grid-text")).to_have_text(["订单 11"])
    assert "q=" in page.url
    assert "state=" not in page.url
    page.locator("[name=state]").select_option("labelled")
    expect(page.locator("#grid-body")).to_contain_text("No question found")
    page.go_back()
    page.goto(f"/label/{project.slug}/grid/all?q=订单")
    expect(page.locator("#grid-form")).to_contain_text("12 matches")
    page.keyboard.press("l")
    page.keyboard.type("pay")
    page.keyboard.press("Enter")
    main_button(page).click()
    page.locator("#grid-confirm").click()
    expect(page.locator("#grid-body")).to_contain_text("12 questions labelled")
    assert BulkAction.objects.get().kind == "filter"


def test_a_refusal_keeps_what_was_chosen(open_as, project, ann):
    page = open_as(ann, f"/label/{project.slug}/grid")
    page.locator(".tl-grid-item").first.click()
    page.keyboard.press("l")
    page.keyboard.type("pay")
    page.keyboard.press("Enter")
    project.intents.filter(code="pay").update(code="gone")  # meanwhile
    main_button(page).click()
    expect(page.locator("#grid-notice")).to_contain_text("no such intent")
    expect(chosen(page)).to_have_count(1)
    page.route("**/preview", lambda route: route.abort())
    main_button(page).click()
    expect(page.locator("#grid-notice")).to_contain_text("did not answer")
    expect(chosen(page)).to_have_count(1)


def test_on_a_phone_by_touch(open_as, project, ann):
    page = open_as(
        ann,
        f"/label/{project.slug}/grid",
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".tl-grid-item").nth(0).tap()
    page.locator(".tl-grid-item").nth(1).tap()
    page.locator("#grid-picker").tap()
    page.locator("#grid-found [data-code=pay]").tap()
    main_button(page).tap()
    page.locator("#grid-confirm").tap()
    expect(page.locator("#grid-body")).to_contain_text("2 questions labelled")
    assert GoldLabel.objects.count() == 2
