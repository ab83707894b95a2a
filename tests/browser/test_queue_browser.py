"""The queue page in Chromium: two people at once, by keyboard, by touch."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from labeling import queue
from labeling.models import Annotation, GoldLabel, Lease, Question
from tests.browser.queue_page import (
    all_answered,
    card,
    comment_of,
    gaps_ms,
    notice_of,
    press_and_wait,
    question_on,
    text_of,
    wait_until_sent,
)
from tests.makers import make_intent, make_person, make_project, make_question

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

GAP_MS = 100
"""Most between a verdict and the next question on screen."""


@pytest.fixture
def project():
    project = make_project(name="Factory", guidelines="Mind the time.", audit_share=0.0)
    make_intent(project, "none", name="Something else", is_fallback=True)
    make_intent(project, "pay", name="Payment", description="Pay an invoice")
    make_intent(project, "stock", name="库存", description="How much is left")
    return project


@pytest.fixture
def ann(project):
    return make_person("ann", project)


def open_question(project, text=None, **values):
    """One that is no test question: those are the audit's."""
    return make_question(project, text, **{"split": "train", **values})


def test_two_annotators_work_through_50_questions(open_as, project, ann):
    questions = {open_question(project).pk for _n in range(50)}
    rex = make_person("rex", project)
    address = f"/label/{project.slug}/"
    pages = {ann: open_as(ann, address), rex: open_as(rex, address)}
    seen: dict[int, str] = {}
    while len(seen) < 50:
        for person, page in pages.items():
            if card(page).count() == 0:
                continue
            pk = question_on(page)
            assert seen.setdefault(pk, person.username) == person.username
            assert pk in questions
            # Both have a question before either answers.
        for page in pages.values():
            if card(page).count():
                press_and_wait(page, "12"[len(seen) % 2])
                expect(page.locator("[data-waiting]")).to_have_count(0)
    for page in pages.values():
        wait_until_sent(page)
        page.reload()
        all_answered(page)
    assert set(seen) == questions
    assert set(seen.values()) == {"ann", "rex"}
    assert GoldLabel.objects.count() == 50
    for annotation in Annotation.objects.select_related("annotator"):
        assert seen[annotation.question_id] == annotation.annotator.username
        assert annotation.time_spent_ms is not None
    assert not Lease.objects.exists()


def test_thirty_questions_by_keyboard_alone(open_as, project, ann):
    for n in range(30):
        open_question(project, f"question {n:02}", priority=100 - n)
    page = open_as(ann, f"/label/{project.slug}/")
    for n in range(30):
        expect(text_of(page)).to_have_text(f"question {n:02}")
        page.keyboard.press("12"[n % 2])
    all_answered(page)
    gaps = gaps_ms(page)
    print(f"gap between two labels: median {gaps[15]:.0f} ms, most {gaps[-1]:.0f} ms")
    assert len(gaps) == 30
    assert gaps[15] < GAP_MS
    for n in (29, 28, 27):
        page.keyboard.press("u")
        expect(text_of(page)).to_have_text(f"question {n}")
    assert Annotation.objects.count() == 27
    for n in (27, 28, 29):
        expect(text_of(page)).to_have_text(f"question {n}")
        page.keyboard.press("0")
    all_answered(page)
    assert GoldLabel.objects.filter(intent__code="none").count() == 3
    assert Annotation.objects.count() == 30


def test_the_next_question_needs_no_network(open_as, project, ann):
    for n in range(3):
        open_question(project, f"question {n}", priority=9 - n)
    page = open_as(ann, f"/label/{project.slug}/")
    expect(page.locator("[data-card]")).to_have_count(3)
    page.route(re.compile("/submit|/next"), lambda route: route.abort())
    for n in range(3):
        expect(text_of(page)).to_have_text(f"question {n}")
        page.keyboard.press("1")
    expect(page.locator("[data-sent-state]")).to_have_text("not saved yet")
    expect(notice_of(page)).to_contain_text("does not answer")
    assert not Annotation.objects.exists()
    leaves = []
    page.on("dialog", lambda dialog: (leaves.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)
    page.wait_for_timeout(300)
    assert leaves == ["beforeunload"]
    page.unroute(re.compile("/submit|/next"))
    page.get_by_role("button", name="Try now").click()
    wait_until_sent(page)
    all_answered(page)
    assert Annotation.objects.count() == 3
    order = Annotation.objects.order_by("id").values_list("question__text", flat=True)
    assert list(order) == ["question 0", "question 1", "question 2"]


def test_everything_by_keyboard(open_as, project, ann):
    first, second, third, fourth = (
        open_question(project, f"question {n}", priority=9 - n) for n in range(4)
    )
    page = open_as(ann, f"/label/{project.slug}/")
    expect(text_of(page)).to_have_text("question 0")

    # Type-ahead: by description, arrows, Enter.
    page.keyboard.press("/")
    page.keyboard.type("left")
    expect(page.locator("[data-found]:visible [aria-selected=true]")).to_contain_text(
        "stock"
    )
    page.keyboard.press("Enter")
    expect(text_of(page)).to_have_text("question 1")
    wait_until_sent(page)
    assert first.gold_labels.get().intent.code == "stock"

    # Comment, then the key of an intent.
    page.keyboard.press("c")
    page.keyboard.type("is it 1 or 2?")
    expect(text_of(page)).to_have_text("question 1")  # digits there are text
    page.keyboard.press("Enter")
    code = page.locator('[data-key="1"]:visible').get_attribute("data-code")
    press_and_wait(page, "1")
    wait_until_sent(page)
    assert second.gold_labels.get().intent.code == code
    assert second.annotations.get().comment == "is it 1 or 2?"

    # Skip with a reason.
    page.keyboard.press("s")
    page.keyboard.type("no idea")
    press_and_wait(page, "Enter")
    wait_until_sent(page)
    assert third.annotations.get().comment == "no idea"

    # Out of scope, then undo twice: the skip and what came before.
    press_and_wait(page, "0")
    all_answered(page)
    assert fourth.gold_labels.get().intent.code == "none"
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
    open_question(project)
    page = open_as(ann, f"/label/{project.slug}/")
    search, found = (
        page.locator("[data-search]:visible"),
        page.locator("[data-found]:visible li"),
    )
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
    expect(page.locator("[data-found]:visible [aria-selected=true]")).to_contain_text(
        "stock"
    )
    page.keyboard.press("ArrowDown")
    expect(page.locator("[data-found]:visible [aria-selected=true]")).to_contain_text(
        "none"
    )
    page.keyboard.press("Escape")
    expect(page.locator("[data-found]:visible")).to_be_hidden()


def test_a_released_lease_brings_the_card_back_as_it_was(open_as, project, ann):
    open_question(project, "the question", priority=3)
    open_question(project, "another", priority=2)
    open_question(project, "a third")
    page = open_as(ann, f"/label/{project.slug}/")
    page.keyboard.press("c")
    page.keyboard.type("long thought")
    page.keyboard.press("Enter")
    Lease.objects.filter(question__text="the question").delete()  # by a manager
    with page.expect_response("**/submit") as answer:
        page.keyboard.press("1")
    assert answer.value.status == 409
    # Nobody else took it: it is handed out again at once, and nothing typed is gone.
    expect(notice_of(page)).to_contain_text("you have the question again")
    expect(text_of(page)).to_have_text("the question")
    expect(comment_of(page)).to_have_value("long thought")
    chosen = page.locator('[data-key="1"]:visible')
    expect(chosen).to_have_attribute("aria-pressed", "true")
    assert not Annotation.objects.exists()
    press_and_wait(page, "Enter")
    wait_until_sent(page)
    assert Annotation.objects.get().comment == "long thought"
    expect(text_of(page)).to_have_text("another")
    expect(notice_of(page)).to_be_empty()


def test_a_question_taken_over_leads_to_the_next(open_as, project, ann):
    taken = open_question(project, "the question", priority=2)
    open_question(project, "another")
    page = open_as(ann, f"/label/{project.slug}/")
    page.keyboard.press("c")
    page.keyboard.type("my thought")
    page.keyboard.press("Enter")
    Lease.objects.filter(question=taken).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    queue.claim(project, make_person("rex", project))
    page.keyboard.press("1")
    expect(notice_of(page)).to_contain_text("Somebody else")
    expect(comment_of(page)).to_have_value("my thought")
    page.keyboard.press("2")  # nothing is sent for it
    page.keyboard.press("n")
    expect(text_of(page)).to_have_text("another")
    expect(notice_of(page)).to_be_empty()
    # It comes back: so does what was typed.
    Lease.objects.filter(question=taken).delete()
    press_and_wait(page, "1")
    expect(text_of(page)).to_have_text("the question")
    expect(comment_of(page)).to_have_value("my thought")


def test_one_heartbeat_keeps_all_and_tells_what_is_lost(open_as, ann):
    project = make_project(lease_s=10, audit_share=0.0)
    make_person("ann", project)
    make_intent(project, "pay")
    for _n in range(3):
        open_question(project)
    page = open_as(ann, f"/label/{project.slug}/")
    expect(text_of(page)).to_be_visible()
    soon = timezone.now() + timedelta(seconds=2)
    Lease.objects.update(expires_at=soon)
    with page.expect_response("**/renew") as answer:
        pass
    assert len(answer.value.json()["held"]) == 3
    assert Lease.objects.filter(expires_at__gt=soon).count() == 3
    page.keyboard.press("c")
    page.keyboard.type("thinking")
    first = question_on(page)
    rex = make_person("rex", project)
    Lease.objects.filter(question=first).update(holder=rex)
    expect(notice_of(page)).to_contain_text("no longer hold")
    expect(comment_of(page)).to_have_value("thinking")


def test_who_leaves_gives_back_soon_and_a_reload_keeps(open_as, project, ann):
    for _n in range(3):
        open_question(project)
    page = open_as(ann, f"/label/{project.slug}/")
    first = question_on(page)
    with page.expect_response("**/renew"):
        page.reload()
        assert question_on(page) == first
    later = timezone.now() + timedelta(seconds=60)
    assert Lease.objects.filter(expires_at__gt=later).count() == 3
    page.goto("about:blank")
    for _try in range(50):
        if not Lease.objects.filter(expires_at__gt=later).exists():
            break
        page.wait_for_timeout(100)
    assert not Lease.objects.filter(expires_at__gt=later).exists()


def test_signed_out_meanwhile(open_as, project, ann):
    open_question(project)
    page = open_as(ann, f"/label/{project.slug}/")
    session = page.context.cookies()
    page.context.clear_cookies(name="tuneloop_session")
    page.keyboard.press("1")
    expect(notice_of(page)).to_contain_text("signed out")
    page.context.add_cookies(session)  # signed in again in another tab
    page.get_by_role("button", name="Try now").click()
    wait_until_sent(page)
    assert Annotation.objects.count() == 1


def test_several_intents_by_keyboard(open_as, ann):
    project = make_project(is_multi_intent=True, audit_share=0.0)
    make_person("ann", project)
    for code in ("a", "b", "c"):
        make_intent(project, code)
    first = open_question(project, priority=2)
    second = open_question(project)
    page = open_as(ann, f"/label/{project.slug}/")
    page.keyboard.press("Enter")
    expect(notice_of(page)).to_contain_text("Choose an intent")
    for key in "1212":
        page.keyboard.press(key)
    page.keyboard.press("2")
    page.keyboard.press("/")
    page.keyboard.type("c")
    page.keyboard.press("Enter")
    expect(page.locator(".tl-queue-chip:visible")).to_have_text(["b", "c"])
    press_and_wait(page, "Enter")  # still in the search field, which is empty
    wait_until_sent(page)
    assert {g.intent.code for g in first.gold_labels.all()} == {"b", "c"}
    press_and_wait(page, "0")
    all_answered(page)
    second.refresh_from_db()
    assert second.state == Question.State.LABELLED
    assert not second.gold_labels.exists()


def test_on_a_phone_by_touch(open_as, project, ann):
    question = open_question(project)
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
    all_answered(page)
    assert question.gold_labels.get().intent.code == "pay"


def test_the_page_in_chinese(open_as, project, ann):
    open_question(project)
    page = open_as(ann, f"/label/{project.slug}/", locale="zh-CN")
    expect(page.locator("html")).to_have_attribute("lang", "zh-hans")
    expect(page.locator(".tl-queue-bar")).to_contain_text("快捷键")
    press_and_wait(page, "0")
    expect(page.locator("[data-sent]")).to_contain_text("none")


def test_the_empty_page_finds_a_new_question_by_itself(open_as, project, ann):
    page = open_as(ann, f"/label/{project.slug}/")
    all_answered(page)
    page.clock.install()
    page.reload()
    open_question(project, "just asked")
    page.clock.run_for(21_000)
    expect(text_of(page)).to_have_text("just asked")
