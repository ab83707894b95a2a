"""Takes the sample project once round the loop and says what came of it."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.utils.translation import gettext as _

from labeling import access, queue, rules
from labeling.models import Membership, Project, Question
from labeling.normalise import text_hash
from registry import versions
from registry.models import Version
from training import batches, evaluation
from training.running import runner
from tuneloop import sample, web
from tuneloop.demo.client import LiveClient
from tuneloop.demo.seed import add, create_project, split

PAIR = ("payments_due", "payment_status")
"""Money to pay against money that was paid: version 1 sees few labels of either."""

STARVED_TO = 3
"""Training labels an intent of the pair in the first round."""

FAST_INTENTS = 12
"""Intents that `--fast` keeps, the pair and the fallback among them."""

FAST_RECIPES: Mapping[str, Mapping[str, str]] = {
    "first": {"frozen_layers": "0.5", "min_steps": "60", "max_steps": "60"},
    "incremental": {},
}
"""What `--fast` overrides: same models, fewer steps."""


class DemoFailed(Exception):
    """The loop did not close; the message says where."""


@dataclass
class Outcome:
    """What the closing table shows."""

    project: Project
    before: Mapping[str, Any] = field(default_factory=dict)
    """Version 1's metrics on the test questions."""
    after: Mapping[str, Any] = field(default_factory=dict)
    """Version 2's, on the same questions."""
    labelled: int = 0
    """Questions that the annotators labelled between the two versions."""
    asked: int = 0
    """Requests that the live client made."""
    failed: list[str] = field(default_factory=list)
    """Its failed requests."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    """(what happened, version that the client saw next)."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds by part."""

    def pair(self, metrics: Mapping[str, Any]) -> float:
        """Mean F1 of the confusable pair."""
        return _mean_f1(metrics, lambda code: code in PAIR)

    def elsewhere(self, metrics: Mapping[str, Any]) -> float:
        """Mean F1 of all other intents."""
        return _mean_f1(metrics, lambda code: code not in PAIR)

    def is_better(self) -> bool:
        """Version 2 is better on the pair and at most a point worse elsewhere."""
        gained = self.pair(self.after) > self.pair(self.before)
        kept = self.elsewhere(self.after) >= self.elsewhere(self.before) - 0.01
        return gained and kept


def run(*, fast: bool, report: Callable[[str], None]) -> Outcome:
    """Import, train, activate, ask, label, train again, activate, roll back, return.

    Args:
        fast: Fewer intents and steps.
        report: Called with a sentence at the start of each part.

    Raises:
        DemoFailed: A part did not do what it should.
    """
    outcome = Outcome(project=_new_project())
    project = outcome.project
    ann, rex, mia = (
        _person(project, name, role)
        for name, role in (
            ("demo-ann", Membership.Role.ANNOTATOR),
            ("demo-rex", Membership.Role.REVIEWER),
            ("demo-mia", Membership.Role.MANAGER),
        )
    )
    labelled, unlabelled = _divide(project, fast=fast)
    with _timed(outcome, "import", report, _("Importing the sample questions")):
        add(project, labelled, labelled=True, by=mia)
        add(project, unlabelled, labelled=False, by=mia)
    with _timed(outcome, "rules", report, _("Mining keyword rules and approving them")):
        mined = rules.mine(project)
        rules.approve(mined, by=mia)
    with _timed(outcome, "version 1", report, _("Training version 1")):
        first = _train(project, "first", mia, fast=fast)
        versions.activate(first, by=mia, reason="demo")
    _secret = access.issue_key(project, name="demo app", scope="classify")[1]
    truth = {text_hash(q.text): q.intent for q in (*labelled, *unlabelled)}
    with _web_server(report) as port:
        client = LiveClient(port, _secret, [q.text for q in unlabelled])
        client.start()
        try:
            with _timed(outcome, "asking", report, _("Users ask over REST")):
                _wait_until(lambda: client.answered["1"] >= len(unlabelled), client)
            with _timed(outcome, "labelling", report, _("Annotators work the queue")):
                wanted = project.min_labels_next
                outcome.labelled = _label(project, (ann, rex), truth, count=wanted)
            with _timed(outcome, "version 2", report, _("Training version 2")):
                second = _train(project, "incremental", mia, fast=fast)
            with _timed(outcome, "switching", report, _("Activate, roll back, return")):
                _switch(outcome, client, first, second, by=mia)
        finally:
            client.stop()
            outcome.asked = client.answered.total() + len(client.failed)
            outcome.failed = client.failed
    outcome.before = _test_metrics(first)
    outcome.after = _test_metrics(second)
    return outcome


def _new_project() -> Project:
    slug, n = f"{sample.SLUG}-demo", 1
    while Project.objects.filter(slug=slug).exists():
        n += 1
        slug = f"{sample.SLUG}-demo-{n}"
    return create_project(slug, name=f"{sample.NAME_EN} (demo {n})")


def _person(project: Project, name: str, role: str) -> User:
    person, created = get_user_model().objects.get_or_create(username=name)
    if created:
        person.set_unusable_password()
        person.save(update_fields=["password"])
    access.add_member(project, person, role=role)
    return person


def _divide(
    project: Project, *, fast: bool
) -> tuple[list[sample.SampleQuestion], list[sample.SampleQuestion]]:
    """The questions that come with labels, and those that users will ask.

    Held-out questions are labelled. Of the others, the pair keeps a few labels an
    intent, the rest three quarters.
    """
    codes = [i.code for i in sample.intents()]
    if fast:
        fallback = [i.code for i in sample.intents() if i.is_fallback]
        others = [c for c in codes if c not in {*PAIR, *fallback}]
        codes = [*PAIR, *fallback, *others[: FAST_INTENTS - len(PAIR) - len(fallback)]]
    labelled: list[sample.SampleQuestion] = []
    unlabelled: list[sample.SampleQuestion] = []
    starved = dict.fromkeys(PAIR, STARVED_TO)
    for question in sample.questions():
        if question.intent not in codes:
            continue
        known = split(project, question.text) != Question.Split.TRAIN
        if not known and question.intent in starved:
            starved[question.intent] -= 1
            known = starved[question.intent] >= 0
        elif not known:
            known = int(text_hash(question.text)[-1], 16) % 4 > 0
        (labelled if known else unlabelled).append(question)
    return labelled, unlabelled


def _train(project: Project, preset: str, by: User, *, fast: bool) -> Version:
    overrides = FAST_RECIPES[preset] if fast else {}
    batch = batches.create(
        project, preset=preset, overrides=overrides, by=by, enqueue=False
    )
    runner.run(batch.pk)
    batch.refresh_from_db()
    if batch.version is None:
        raise DemoFailed(f"{preset}: {batch.error or batch.state}")
    return batch.version


def _label(
    project: Project, people: tuple[User, ...], truth: Mapping[str, str], *, count: int
) -> int:
    """The annotators take turns at the queue until `count` questions are labelled."""
    done = 0
    while done < count:
        for person in people:
            claimed = queue.claim(project, person)
            if not claimed:
                return done
            question = claimed[0].question
            queue.submit(
                question.pk,
                person,
                token=claimed[0].token,
                intents=[truth[question.text_hash]],
            )
            done += 1
    return done


def _switch(
    outcome: Outcome, client: LiveClient, first: Version, second: Version, *, by: User
) -> None:
    """Activates, rolls back and activates again, each time until the client sees it."""
    steps: tuple[tuple[str, Version, Callable[[], object]], ...] = (
        (
            _("version 2 activated"),
            second,
            lambda: versions.activate(second, by=by, reason="demo"),
        ),
        (
            _("rolled back"),
            first,
            lambda: versions.roll_back(outcome.project, by=by, reason="demo"),
        ),
        (
            _("version 2 activated again"),
            second,
            lambda: versions.activate(second, by=by, reason="demo"),
        ),
    )
    for what, version, act in steps:
        act()
        number = str(version.number)
        _wait_until(lambda number=number: client.latest == number, client)  # type: ignore[misc]
        outcome.seen.append((what, client.latest))


def _wait_until(
    reached: Callable[[], bool], client: LiveClient, timeout_s: float = 60.0
) -> None:
    deadline = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > deadline or not client.is_alive():
            raise DemoFailed(
                _("The live client did not see the change: %s") % client.failed[-3:]
            )
        time.sleep(0.05)


def _test_metrics(version: Version) -> Mapping[str, Any]:
    metrics: Mapping[str, Any] = evaluation.evaluate(version).metrics
    return metrics


def _mean_f1(metrics: Mapping[str, Any], counts: Callable[[str], bool]) -> float:
    values = [row["f1"] for code, row in metrics["per_intent"].items() if counts(code)]
    return sum(values) / len(values) if values else 0.0


@contextmanager
def _timed(
    outcome: Outcome, part: str, report: Callable[[str], None], text: str
) -> Iterator[None]:
    report(text)
    began = time.monotonic()
    yield
    outcome.seconds[part] = time.monotonic() - began


@contextmanager
def _web_server(report: Callable[[str], None]) -> Iterator[int]:
    """A web server of the demo's own, on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    report(_("Starting a web server"))
    server = subprocess.Popen(
        # Tied to this process: a killed demo leaves no server behind.
        [
            *(sys.executable, "-m", "tuneloop.embedded.parent"),
            *web.command(host="127.0.0.1", port=port, processes=1),
        ],
        env=web.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(server, f"http://127.0.0.1:{port}/readyz")
        yield port
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for(
    server: subprocess.Popen[bytes], address: str, timeout_s: float = 60.0
) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and server.poll() is None:
        try:
            # The address is our own.
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310
                return
        except OSError:  # not there yet, or not ready yet
            time.sleep(0.2)
    raise DemoFailed(_("The web server did not become ready."))
