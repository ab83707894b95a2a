"""What the tests of the queue page do in Chromium."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

OpenAs = Callable[..., Page]


def card(page: Page) -> Locator:
    """The card on screen; the next two are on the page, hidden."""
    return page.locator("[data-card]:visible")


def text_of(page: Page) -> Locator:
    return page.locator("[data-text]:visible")


def comment_of(page: Page) -> Locator:
    return page.locator("[data-comment]:visible")


def notice_of(page: Page) -> Locator:
    return page.locator("#queue-notice")


def stage_of(page: Page) -> Locator:
    return page.locator("#queue-stage")


def question_on(page: Page) -> int:
    return int(card(page).get_attribute("data-question") or 0)


def press_and_wait(page: Page, key: str) -> None:
    """Presses a key that answers, and waits until another card is on screen."""
    token = card(page).get_attribute("data-token")
    page.keyboard.press(key)
    expect(page.locator(f'[data-card][data-token="{token}"]:visible')).to_have_count(0)


def wait_until_sent(page: Page) -> None:
    """Waits until the server has all verdicts."""
    expect(page.locator("[data-sent-state]")).to_have_text("saved")


def gaps_ms(page: Page) -> list[float]:
    """From a key to the next question painted, for each verdict on this page."""
    entries: Any = page.evaluate(
        "performance.getEntriesByName('queue-gap').map((entry) => entry.duration)"
    )
    return sorted(float(entry) for entry in entries)


def all_answered(page: Page) -> None:
    """Waits for the page that says that nothing is left."""
    expect(stage_of(page)).to_contain_text("All questions are answered")
