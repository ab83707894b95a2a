"""What the queue page's card offers, in Chromium: duplicates, review, blind, panels."""

import pytest
from playwright.sync_api import expect

from labeling.models import Annotation, GoldLabel, LabelChange, Lease, Question
from labeling.search import similar
from tests.browser.queue_page import (
    OpenAs,
    all_answered,
    card,
    notice_of,
    press_and_wait,
    stage_of,
    text_of,
    wait_until_sent,
)
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
}
VECTOR = [1.0] + [0.0] * 383


@pytest.fixture
def project():
    project = make_project(name="Factory", audit_share=0.0)
    make_intent(project, "pay", name="Payment", guidelines="Only **bills**.")
    make_intent(project, "stock", name="库存查询", description="How much is left")
    make_intent(project, "none", is_fallback=True)
    return project


def test_near_duplicates_by_key_and_one_undo(open_as: OpenAs, project):
    first = make_question(project, "pay the bill", split="train", priority=9)
    for n in range(3):
        make_question(project, f"pay the bill {n}", split="train", priority=8 - n)
    make_question(project, "another", split="train")
    Question.objects.exclude(text="another").update(cluster=first)
    page = open_as(make_person("ann", project), f"/label/{project.slug}/")
    toggle = page.locator("[data-duplicates]:visible")
    expect(toggle).to_contain_text("also label these 3 near-duplicates")
    page.keyboard.press("d")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("1")
    # Two of them were on the page already, waiting: they are not asked any more.
    expect(text_of(page)).to_have_text("another")
    wait_until_sent(page)
    assert GoldLabel.objects.count() == 4
    page.keyboard.press("u")
    expect(text_of(page)).to_have_text("pay the bill")
    assert GoldLabel.objects.count() == 0
    page.keyboard.press("1")  # without `d`: this one alone
    wait_until_sent(page)
    assert GoldLabel.objects.count() == 1


def test_a_reviewer_settles_by_keyboard(open_as: OpenAs, project):
    question = make_question(
        project, "which one", split="train", state="disputed", priority=0.5
    )
    for name, code in (("ann", "pay"), ("bob", "stock")):
        verdict = Annotation.objects.create(
            question=question, annotator=make_person(name, project), verdict="label"
        )
        verdict.intents.add(project.intents.get(code=code))
    page = open_as(
        make_person("rex", project), f"/label/{project.slug}/?queue=disputed"
    )
    expect(card(page)).to_contain_text("bob")
    page.keyboard.press("g")
    expect(notice_of(page)).to_contain_text("Choose an intent first")
    page.keyboard.press("2")
    expect(page.locator(".tl-queue-chip:visible")).to_have_text("stock")
    assert not LabelChange.objects.exists()
    page.keyboard.press("c")
    page.keyboard.type("stock means parts")
    page.keyboard.press("Enter")
    page.keyboard.press("g")
    expect(page.locator("#queue-stage")).to_contain_text("Nothing is disputed")
    change = LabelChange.objects.get()
    assert (change.reason, change.after) == ("guideline_gap", ["stock"])
    assert change.comment == "stock means parts"
    page.keyboard.press("u")
    expect(text_of(page)).to_have_text("which one")


def test_a_blind_card_offers_the_search_alone(open_as: OpenAs, project):
    question = make_question(
        project,
        "how to pay",
        split="test",
        predicted=[{"code": "pay", "confidence": 0.9}],
        confidence=0.9,
        trace={"rules": [{"code": "pay", "pattern": "pay", "confidence": 0.9}]},
    )
    page = open_as(make_person("ann", project), f"/label/{project.slug}/?queue=audit")
    expect(card(page)).to_contain_text("audit: no suggestions, on purpose")
    expect(page.locator("[data-key], mark, [data-duplicates]")).to_have_count(0)
    expect(page.locator("[data-intent-panel]")).to_be_hidden()
    page.keyboard.press("1")
    page.wait_for_timeout(200)
    assert not Annotation.objects.exists()
    page.keyboard.press("/")
    page.keyboard.type("kccx")  # pinyin initials
    page.keyboard.press("Enter")
    expect(stage_of(page)).to_contain_text("The random audit is done")
    annotation = question.annotations.get()
    assert (annotation.is_blind, annotation.suggested) == (True, "pay")
    assert annotation.intents.get().code == "stock"


def test_a_neighbours_intent_is_a_click_away(open_as: OpenAs, project):
    question = make_question(project, "are there bolts", split="train")
    near = make_labelled(
        project, project.intents.get(code="stock"), "bolts left?", split="train"
    )
    similar.store(project.pk, {question.pk: VECTOR, near.pk: VECTOR})
    page = open_as(make_person("ann", project), f"/label/{project.slug}/")
    expect(card(page)).to_contain_text("bolts left?")
    page.locator(".tl-queue-near-intent").click()
    all_answered(page)
    assert question.gold_labels.get().intent.code == "stock"


def test_guidelines_follow_the_intent_that_is_looked_at(open_as: OpenAs, project):
    make_question(
        project,
        split="train",
        predicted=[
            {"code": "pay", "confidence": 0.5},
            {"code": "stock", "confidence": 0.4},
        ],
    )
    page = open_as(make_person("ann", project), f"/label/{project.slug}/")
    panel = page.locator("[data-intent-panel]")
    expect(panel.locator("strong")).to_have_text("bills")
    page.locator('[data-key="2"]').hover()
    expect(panel).to_contain_text("How much is left")
    page.keyboard.press("/")
    page.keyboard.type("payment")
    expect(panel.locator("strong")).to_have_text("bills")


def test_queues_and_history_by_key(open_as: OpenAs, project):
    make_question(project, "unsure one", split="train", confidence=0.3)
    make_question(project, "sure one", split="train", confidence=0.9, priority=9)
    page = open_as(make_person("ann", project), f"/label/{project.slug}/")
    expect(text_of(page)).to_have_text("sure one")
    page.keyboard.press("h")
    expect(page.locator("#queue-history")).to_contain_text("has not changed yet")
    page.keyboard.press("1")  # belongs to the dialog
    page.keyboard.press("Escape")
    assert not Annotation.objects.exists()
    page.keyboard.press("q")
    page.get_by_role("link", name="Low confidence").click()
    expect(page).to_have_url(f"{page.url.split('?')[0]}?queue=unsure")
    expect(page.locator(".tl-queue-choice")).to_contain_text("Low confidence")
    Lease.objects.all().delete()  # the other queue's: free by itself after a while
    page.reload()
    expect(text_of(page)).to_have_text("unsure one")
    press_and_wait(page, "1")
    expect(page.locator("#queue-stage")).to_contain_text("low confidence")


def test_no_page_is_wider_than_a_phone(open_as: OpenAs, project):
    long = "stock_" * 15
    make_intent(project, long, name="A name that goes on and on " * 4)
    make_question(
        project,
        "w" * 300 + " pay",
        split="train",
        confidence=0.5,
        predicted=[{"code": long, "confidence": 0.5}],
        predicted_by="7",
        trace={
            "model": [{"code": long, "confidence": 0.5}],
            "rules": [{"code": long, "pattern": "pay", "confidence": 0.9}],
            "llm": long,
        },
    )
    rex = make_person("rex", project)
    for query in ("", "?queue=pair", f"?queue=pair&a=pay&b={long}", "?queue=disputed"):
        page = open_as(rex, f"/label/{project.slug}/{query}", **PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, query
        page.locator(".tl-queue-choice").tap()
        dialog = page.locator("#queue-queues")
        expect(dialog).to_be_visible()
        box = dialog.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    for button in (
        open_as(rex, f"/label/{project.slug}/", **PHONE)
        .locator("[data-card]:visible :is(.tl-queue-pick, .tl-queue-actions button)")
        .all()
    ):
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44
