"""Small typed makers for tests; each makes one real row with sensible defaults."""

import functools
import itertools
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.utils import timezone

from labeling import access
from labeling.models import ApiKey, GoldLabel, Intent, KeywordRule, Project, Question
from labeling.normalise import split_of, text_hash

_count = itertools.count(1)

CAST = {"ann": "annotator", "rex": "reviewer", "mia": "manager", "out": None}
"""ann labels, rex reviews, mia manages, out has no access."""


def make_project(**overrides: Any) -> Project:
    n = next(_count)
    values: dict[str, Any] = {"slug": f"p{n}", "name": f"Project {n}"}
    return Project.objects.create(**{**values, **overrides})


@functools.cache
def _hashed(password: str) -> str:
    return make_password(password)  # slow on purpose; once a test run will do


def make_person(name: str, project: Project | None = None) -> User:
    """One of the cast: password equals the name, role by `CAST` in the project."""
    person = get_user_model().objects.filter(username=name).first()
    if person is None:
        person = get_user_model().objects.create(username=name, password=_hashed(name))
    role = CAST.get(name, "annotator")
    if project is not None and role is not None:
        access.sync_groups()
        access.add_member(project, person, role=role)
    return person


def make_intent(project: Project, code: str | None = None, **overrides: Any) -> Intent:
    code = code or f"intent_{next(_count)}"
    return Intent.objects.create(
        **{"project": project, "code": code, "name": code, **overrides}
    )


def make_question(
    project: Project, text: str | None = None, **overrides: Any
) -> Question:
    """A question; its split is the one that its text falls into unless given."""
    text = text or f"question number {next(_count)}"
    hash_ = text_hash(text)
    now = timezone.now()
    values: dict[str, Any] = {
        "project": project,
        "text": text,
        "text_hash": hash_,
        "first_seen": now,
        "last_seen": now,
        "split": split_of(
            hash_,
            test_share=project.test_share,
            validation_share=project.validation_share,
        ),
    }
    return Question.objects.create(**{**values, **overrides})


def make_labelled(
    project: Project, intent: Intent, text: str | None = None, **overrides: Any
) -> Question:
    """A question with one gold label."""
    now = timezone.now()
    question = make_question(
        project,
        text,
        **{"state": Question.State.LABELLED, "labelled_at": now, **overrides},
    )
    GoldLabel.objects.create(
        question=question, intent=intent, source=GoldLabel.Source.IMPORT, set_at=now
    )
    return question


def make_rule(
    project: Project, pattern: str, intent: Intent, **overrides: Any
) -> KeywordRule:
    values: dict[str, Any] = {"state": KeywordRule.State.ACTIVE, "boost": 0.9}
    return KeywordRule.objects.create(
        project=project, pattern=pattern, intent=intent, **{**values, **overrides}
    )


def make_key(
    project: Project, *, scope: str = "classify", name: str | None = None
) -> tuple[ApiKey, str]:
    return access.issue_key(project, name=name or f"key {next(_count)}", scope=scope)
