"""Fills a project with the sample questions, part of them labelled."""

import time
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from random import Random

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from labeling import intake, rules
from labeling.formats import Row
from labeling.models import Intent, KeywordRule, Project
from labeling.normalise import split_of, text_hash
from registry.serving import engine, journal
from tuneloop import sample

TEST_SHARE = 0.25
"""More than the usual tenth: some 20 questions an intent compare two versions."""

TRAFFIC = 400
"""Questions that the sample's users asked during the last days."""


def create_project(slug: str, *, name: str) -> Project:
    """Makes the sample's project: intents, guidelines and rules, no questions."""
    with transaction.atomic():
        project = Project.objects.create(
            slug=slug,
            name=name,
            test_share=TEST_SHARE,
            # Both: its annotators read either.
            guidelines=f"{sample.GUIDELINES_ZH}\n\n---\n\n{sample.GUIDELINES_EN}",
        )
        Intent.objects.bulk_create(
            Intent(
                project=project,
                code=intent.code,
                name=f"{intent.name_zh} / {intent.name_en}",
                description=f"{intent.description_zh} {intent.description_en}",
                is_fallback=intent.is_fallback,
            )
            for intent in sample.intents()
        )
        by_code = {intent.code: intent for intent in project.intents.all()}
        written = KeywordRule.objects.bulk_create(
            KeywordRule(project=project, pattern=pattern, intent=by_code[code])
            for pattern, code in sample.rules()
        )
        rules.approve(written, by=None)
    return project


def split(project: Project, text: str) -> str:
    """The split that a sample question falls into in this project."""
    return split_of(
        text_hash(text),
        test_share=project.test_share,
        validation_share=project.validation_share,
    )


def add(
    project: Project,
    questions: Iterable[sample.SampleQuestion],
    *,
    labelled: bool,
    by: User | None = None,
) -> None:
    """Imports sample questions, with or without their intents."""
    intake.import_rows(
        project,
        (
            Row(line, question.text, (question.intent,) if labelled else None)
            for line, question in enumerate(questions, start=1)
        ),
        by=by,
    )


def seed(report: Callable[[str], None]) -> None:
    """Makes the sample project for `up --demo`, unless it is there already.

    Held-out questions are labelled, and half of the others: a first training can start
    at once, and the queue has work.
    """
    if Project.objects.filter(slug=sample.SLUG).exists():
        return
    report("Sample project: questions of a food factory's staff …")
    project = create_project(sample.SLUG, name=f"{sample.NAME_ZH} / {sample.NAME_EN}")
    known: list[sample.SampleQuestion] = []
    open_: list[sample.SampleQuestion] = []
    for question in sample.questions():
        held_out = split(project, question.text) != "train"
        half = int(text_hash(question.text)[-1], 16) % 2 == 0
        (known if held_out or half else open_).append(question)
    add(project, known, labelled=True)
    add(project, open_, labelled=False)
    replay_traffic(project, TRAFFIC)
    report(f"Sample project: {len(known)} questions labelled, {len(open_)} open.")


def replay_traffic(project: Project, count: int) -> None:
    """Asks the sample's traffic as if it had come in over the last ten days."""
    random = Random(7)  # noqa: S311 -- sample data, no secret
    now = timezone.now()
    moments = sorted(now - timedelta(days=10 * random.random()) for _ in range(count))
    texts = list(sample.traffic(count, seed=7))
    target = engine.target_of(project)
    for at, text in zip(moments, texts, strict=True):
        began = time.perf_counter()
        (answer,) = engine.classify(target, [text])
        latency_ms = (time.perf_counter() - began) * 1000
        entry = journal.Entry(uuid.uuid4(), answer, latency_ms)
        journal.record(project, [entry], client=None, at=at)
