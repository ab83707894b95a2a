"""Chromium, driven by playwright against a live server on this test's database."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

if TYPE_CHECKING:  # Django is not set up yet when this file is read
    from django.contrib.auth.models import User

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
]
_PATIENCE_MS = 20_000
_LAST_WORDS_S = 0.5


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium; tests are skipped where there is none."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("Chromium is not installed.")
    # playwright's event loop runs in this thread, though our code is not async.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def open_as(chromium: Browser, live_server: Any) -> Iterator[Callable[..., Page]]:
    """Opens an address in a browser context of its own, signed in as a person.

    A script error or a request to another server fails the test.
    """
    contexts = []
    wrong: list[str] = []

    def open_as(person: "User", path: str = "/", **options: Any) -> Page:
        context = chromium.new_context(
            base_url=live_server.url,
            **{"viewport": {"width": 1280, "height": 800}, "locale": "en", **options},
        )
        contexts.append(context)
        context.set_default_timeout(_PATIENCE_MS)
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        context.on(
            "request",
            lambda request: (
                request.url.startswith((live_server.url, "data:", "blob:"))
                or wrong.append(f"asks another server: {request.url}")
            ),
        )
        client = Client()
        client.force_login(person)
        name = settings.SESSION_COOKIE_NAME
        value = client.cookies[name].value
        context.add_cookies([{"name": name, "value": value, "url": live_server.url}])
        page = context.new_page()
        page.goto(path)
        return page

    yield open_as
    for context in contexts:
        context.close()
    # What a page sends while it goes away must not meet the emptying of the database.
    time.sleep(_LAST_WORDS_S)
    assert not wrong
