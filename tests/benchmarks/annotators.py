"""Annotators and a manager at their browsers, as processes that time what they get."""

import http.client
import random
import re
import threading
import time
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

_CARD = re.compile(r'data-question="(\d+)" data-token="(\d+)"')
_HAND = 3
PASSWORD = "bench"
_TIMING = re.compile(r"(\w+);dur=([\d.]+)")


@dataclass
class Seen:
    """What one process saw; times in ms, by what was asked for."""

    client: dict[str, list[float]] = field(default_factory=dict)
    server: dict[str, list[float]] = field(default_factory=dict)
    handed: list[tuple[int, str]] = field(default_factory=list)
    """Question and person, each time that a card came."""
    labelled: list[tuple[int, str, str]] = field(default_factory=list)
    """Question, person and intent, each time that the server said "written"."""
    refused: list[str] = field(default_factory=list)

    def add(self, other: "Seen") -> None:
        """Takes another process's share."""
        for mine, theirs in ((self.client, other.client), (self.server, other.server)):
            for name, times in theirs.items():
                mine.setdefault(name, []).extend(times)
        self.handed += other.handed
        self.labelled += other.labelled
        self.refused += other.refused


class Browser:
    """One person's kept connection and cookies."""

    def __init__(self, port: int, name: str, seen: Seen) -> None:
        self.name = name
        self.seen = seen
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._cookies: dict[str, str] = {}

    def sign_in(self) -> None:
        """Through the admin's form."""
        path = "/admin/login/"
        self._ask("GET", path)
        form = {"username": self.name, "password": PASSWORD}
        form["csrfmiddlewaretoken"] = self._cookies["csrftoken"]
        status, _body = self._ask("POST", path, form)
        assert status == 302, f"{self.name} cannot sign in: {status}"

    def get(self, what: str, path: str) -> str:
        """A page's text; its times are kept under `what`."""
        status, body = self._ask("GET", path, what=what)
        if status != 200:
            self.seen.refused.append(f"{status} GET {path}")
        return body

    def post(self, what: str, path: str, form: dict[str, Any]) -> bool:
        """Whether it was accepted."""
        status, body = self._ask("POST", path, form, what=what)
        if status != 204:
            self.seen.refused.append(f"{status} POST {path} {body[:200]}")
        return status == 204

    def _ask(
        self,
        method: str,
        path: str,
        form: dict[str, Any] | None = None,
        *,
        what: str = "",
    ) -> tuple[int, str]:
        headers = {
            "Cookie": "; ".join(f"{k}={v}" for k, v in self._cookies.items()),
            "X-Tuneloop": "1",
        }
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["X-CSRFToken"] = self._cookies.get("csrftoken", "")
        start = time.perf_counter()
        body = None if form is None else urlencode(form)
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        took_ms = (time.perf_counter() - start) * 1000
        for cookie in response.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(cookie).items():
                self._cookies[name] = morsel.value
        if what:
            self.seen.client.setdefault(what, []).append(took_ms)
            timing = response.headers.get("Server-Timing", "")
            for part, ms in _TIMING.findall(timing):
                name = what if part == "app" else part
                self.seen.server.setdefault(name, []).append(float(ms))
        return response.status, text


def annotators(
    port: int,
    names: list[str],
    codes: list[str],
    think_s: float,
    seconds: float,
    ready: Any,
    results: Any,
) -> None:
    """Several annotators, one a thread: look, think, answer, fetch the next."""
    seen = [Seen() for _name in names]
    browsers = [Browser(port, name, one) for name, one in zip(names, seen, strict=True)]
    for browser in browsers:
        browser.sign_in()
    ready.wait()
    threads = [
        threading.Thread(target=_label, args=(browser, codes, think_s, seconds))
        for browser in browsers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = Seen()
    for one in seen:
        together.add(one)
    results.put(together)


def _label(browser: Browser, codes: list[str], think_s: float, seconds: float) -> None:
    chance = random.Random(browser.name)
    time.sleep(chance.uniform(0, think_s))  # nobody starts at the same moment
    end = time.perf_counter() + seconds
    hand = _cards(browser, browser.get("page", "/label/bench/"))
    while hand and time.perf_counter() < end:
        time.sleep(chance.uniform(0.5, 1.5) * think_s)
        question, token = hand.pop(0)
        code = chance.choice(codes)
        form = {"question": question, "token": token, "intent": code}
        form["time_spent_ms"] = 1000
        if browser.post("submit", "/label/bench/submit", form):
            browser.seen.labelled.append((question, browser.name, code))
        have = ",".join(str(pk) for pk, _token in hand)
        query = urlencode({"n": _HAND, "have": have})
        hand += _cards(browser, browser.get("next", f"/label/bench/next?{query}"))
    if not hand:
        browser.seen.refused.append(f"{browser.name} had nothing to do")


def _cards(browser: Browser, html: str) -> list[tuple[int, int]]:
    cards = [(int(pk), int(token)) for pk, token in _CARD.findall(html)]
    browser.seen.handed += [(pk, browser.name) for pk, _token in cards]
    return cards


def manager(
    port: int,
    name: str,
    pages: dict[str, str],
    seconds: float,
    ready: Any,
    results: Any,
) -> None:
    """A manager who opens one page after the other, half a second apart."""
    browser = Browser(port, name, Seen())
    browser.sign_in()
    for what, path in pages.items():
        browser.get(f"first {what}", path)
    ready.wait()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for what, path in pages.items():
            browser.get(what, path)
            time.sleep(0.5)
    results.put(browser.seen)
