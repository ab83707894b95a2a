"""The queue page in Chromium: two people at once, by keyboard, by touch."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from labeling import queue
from labeling.models import Annotation, GoldLabel, Lease, Question
from tests.makers import make_intent, make_person, make_project, make_question

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def project():
    project = make_project(name="Factory", guidelines="Mind the time.")
    make_intent(project, "none", name="Something else", is_fallback=True)
    make_intent(project, "pay", name="Payment", description="Pay an invoice")
    make_intent(project, "stock", name="库存", description="How much is left")
    return project


@pytest.fixture
def ann(project):
    return make_person("ann", project)


def text_of(page: Page):
    return page.locator("#queue-text")


def question_on(page: Page) -> int:
    return int(page.locator("#queue-card").get_attribute("data-question"))


def press_and_wait(page: Page, key: str) -> None:
    """Presses a key that answers, and waits for the next card."""
    token = page.locator("#queue-form input[name=token]").get_attribute("value")
    page.keyboard.press(key)
    gone = page.locator(f'#queue-form input[name=token][value="{token}"]')
    expect(gone).to_have_count(0)


def test_two_annotators_work_through_50_questions(open_as, project, ann):
    questions = {make_question(project).pk for _n in range(50)}
    rex = make_person("rex", project)
    address = f"/label/{project.slug}/"
    pages = {ann: open_as(ann, address), rex: open_as(rex, address)}
    seen: dict[int, str] = {}
    while len(seen) < 50:
        for person, page in pages.items():
            if page.locator("#queue-form").count() == 0:
                continue
            pk = question_on(page)
            assert seen.setdefault(pk, person.username) == person.username
            assert pk in questions
            # Both have a question before either answers.
        for page in pages.values():
            if page.locator("#queue-form").count():
                press_and_wait(page, "12"[len(seen) % 2])
    for page in pages.values():
        page.reload()
        done = "All questions are answered"
        expect(page.locator("#queue-card")).to_contain_text(done)
    assert set(seen) == questions
    assert set(seen.values()) == {"ann", "rex"}
    assert GoldLabel.objects.count() == 50
    for annotation in Annotation.objects.select_related("annotator"):
        assert seen[annotation.question_id] == annotation.annotator.username
        assert annotation.time_spent_ms is not None
    assert not Lease.objects.exists()


def test_everything_by_keyboard(open_as, project, ann):
    first, second, third, fourth = (
        make_question(project, f"question {n}", priority=9 - n) for n in range(4)
    )
    page = open_as(ann, f"/label/{project.slug}/")
    expect(text_of(page)).to_have_text("question 0")

    # Type-ahead: by description, arrows, Enter.
    page.keyboard.press("/")
    page.keyboard.type("left")
    expect(page.locator("#queue-found [aria-selected=true]")).to_contain_text("stock")
    page.keyboard.press("Enter")
    expect(text_of(page)).to_have_text("question 1")
    assert first.gold_labels.get().intent.code == "stock"

    # Comment, then the key of an intent.
    page.keyboard.press("c")
    page.keyboard.type("is it 1 or 2?")
    expect(text_of(page)).to_have_text("question 1")  # digits there are text
    page.keyboard.press("Enter")
    code = page.locator('[data-key="1"]').get_attribute("data-code")
    press_and_wait(page, "1")
    assert second.gold_labels.get().intent.code == code
    assert second.annotations.get().comment == "is it 1 or 2?"

    # Skip with a reason.
    page.keyboard.press("s")
    page.keyboard.type("no idea")
    press_and_wait(page, "Enter")
    assert third.annotations.get().comment == "no idea"

    # Out of scope, then undo twice: the skip and what came before.
    press_and_wait(page, "0")
    assert fourth.gold_labels.get().intent.code == "none"
    expect(page.locator("#queue-card")).to_contain_text("All questions are answered")
    page.keyboard.press("u")
    expect(text_of(page)).to_have_text("question 3")
    page.keyboard.press("u")
    expect(text_of(page)).to_have_text("question 2")
    assert Annotation.objects.count() == 2
    press_and_wait(page, "2")
    expect(text_of(page)).to_have_text("question 3")

    # Help opens and closes; keys do nothing meanwhile.
    page.keyboard.press("?")
    expect(page.locator("#queue-keys")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    expect(page.locator("#queue-keys")).to_be_hidden()
    expect(text_of(page)).to_have_text("question 3")


def test_search_finds_by_code_name_and_description(open_as, project, ann):
    make_question(project)
    page = open_as(ann, f"/label/{project.slug}/")
    search, found = page.locator("#queue-search"), page.locator("#queue-found li")
    search.focus()
    expect(found).to_have_count(3)
    for typed, code in (("库", "stock"), ("INVOICE", "pay"), ("ock", "stock")):
        search.fill(typed)
        expect(found).to_have_count(1)
        expect(found).to_contain_text(code)
    search.fill("zzz")
    expect(found).to_have_text("No intent matches.")
    page.keyboard.press("Enter")
    assert not Annotation.objects.exists()
    search.fill("")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#queue-found [aria-selected=true]")).to_contain_text("stock")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#queue-found [aria-selected=true]")).to_contain_text("none")
    page.keyboard.press("Escape")
    expect(page.locator("#queue-found")).to_be_hidden()


def test_a_lost_lease_keeps_what_was_typed(open_as, project, ann):
    make_question(project, "the question", priority=2)
    make_question(project, "another")
    page = open_as(ann, f"/label/{project.slug}/")
    page.keyboard.press("c")
    page.keyboard.type("long thought")
    page.keyboard.press("Enter")
    Lease.objects.all().delete()  # a manager released it
    page.keyboard.press("1")
    expect(page.locator("#queue-notice")).to_contain_text("not saved")
    expect(page.locator("#queue-comment")).to_have_value("long thought")
    expect(page.locator('[data-key="1"]')).to_have_attribute("aria-pressed", "true")
    assert not Annotation.objects.exists()
    page.keyboard.press("2")  # nothing more is sent
    # Going on hands out the same question; what was there comes back.
    page.keyboard.press("n")
    expect(page.locator("#queue-notice")).to_contain_text("again")
    expect(page.locator("#queue-comment")).to_have_value("long thought")
    press_and_wait(page, "Enter")
    assert Annotation.objects.get().comment == "long thought"
    expect(text_of(page)).to_have_text("another")
    expect(page.locator("#queue-notice")).to_be_empty()


def test_a_question_taken_over_leads_to_the_next(open_as, project, ann):
    make_question(project, "the question", priority=2)
    make_question(project, "another")
    page = open_as(ann, f"/label/{project.slug}/")
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    queue.claim(project, make_person("rex", project))
    page.keyboard.press("1")
    expect(page.locator("#queue-notice")).to_contain_text("Somebody else")
    page.locator("#queue-notice button").click()
    expect(text_of(page)).to_have_text("another")
    expect(page.locator("#queue-notice")).to_be_empty()


def test_the_heartbeat_keeps_the_lease_and_tells_when_it_is_lost(open_as, ann):
    project = make_project(lease_s=10)
    make_person("ann", project)
    make_intent(project, "pay")
    make_question(project)
    page = open_as(ann, f"/label/{project.slug}/")
    expect(text_of(page)).to_be_visible()
    soon = timezone.now() + timedelta(seconds=2)
    Lease.objects.update(expires_at=soon)
    with page.expect_response("**/renew") as answer:
        pass
    assert answer.value.status == 204
    assert Lease.objects.get().expires_at > soon
    Lease.objects.all().delete()
    expect(page.locator("#queue-notice")).to_contain_text("given back to the queue")


def test_a_server_that_is_away_loses_nothing(open_as, project, ann):
    question = make_question(project)
    page = open_as(ann, f"/label/{project.slug}/")
    page.keyboard.press("c")
    page.keyboard.type("keep me")
    page.keyboard.press("Enter")
    page.route("**/submit", lambda route: route.abort())
    page.keyboard.press("1")
    expect(page.locator("#queue-notice")).to_contain_text("did not answer")
    expect(page.locator("#queue-comment")).to_have_value("keep me")
    page.unroute("**/submit")
    press_and_wait(page, "Enter")
    assert question.annotations.get().comment == "keep me"


def test_signed_out_meanwhile(open_as, project, ann):
    make_question(project)
    page = open_as(ann, f"/label/{project.slug}/")
    session = page.context.cookies()
    page.context.clear_cookies(name="tuneloop_session")
    page.keyboard.press("1")
    expect(page.locator("#queue-notice")).to_contain_text("signed out")
    page.context.add_cookies(session)  # signed in again in another tab
    press_and_wait(page, "Enter")
    assert Annotation.objects.count() == 1


def test_several_intents_by_keyboard(open_as, ann):
    project = make_project(is_multi_intent=True)
    make_person("ann", project)
    for code in ("a", "b", "c"):
        make_intent(project, code)
    first = make_question(project, priority=2)
    second = make_question(project)
    page = open_as(ann, f"/label/{project.slug}/")
    page.keyboard.press("Enter")
    expect(page.locator("#queue-notice")).to_contain_text("Choose an intent")
    for key in "1212":
        page.keyboard.press(key)
    page.keyboard.press("2")
    page.keyboard.press("/")
    page.keyboard.type("c")
    page.keyboard.press("Enter")
    expect(page.locator(".tl-queue-chip")).to_have_text(["b", "c"])
    press_and_wait(page, "Enter")  # still in the search field, which is empty
    assert {g.intent.code for g in first.gold_labels.all()} == {"b", "c"}
    press_and_wait(page, "0")
    second.refresh_from_db()
    assert second.state == Question.State.LABELLED
    assert not second.gold_labels.exists()


def test_on_a_phone_by_touch(open_as, project, ann):
    question = make_question(project)
    page = open_as(
        ann,
        f"/label/{project.slug}/",
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
    )
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    page.locator('[data-code="pay"]').first.tap()
    expect(page.locator("#queue-card")).to_contain_text("All questions are answered")
    assert question.gold_labels.get().intent.code == "pay"


def test_the_page_in_chinese(open_as, project, ann):
    make_question(project)
    page = open_as(ann, f"/label/{project.slug}/", locale="zh-CN")
    expect(page.locator("html")).to_have_attribute("lang", "zh-hans")
    expect(page.locator("#queue-card")).to_contain_text("待标注")
    press_and_wait(page, "0")
    expect(page.locator("#queue-card")).to_contain_text("none")


def test_the_empty_page_finds_a_new_question_by_itself(open_as, project, ann):
    page = open_as(ann, f"/label/{project.slug}/")
    expect(page.locator("#queue-card")).to_contain_text("All questions are answered")
    page.clock.install()
    page.reload()
    make_question(project, "just asked")
    page.clock.run_for(21_000)
    expect(text_of(page)).to_have_text("just asked")
