"""System checks: each wrong setting is named, with an id and a hint."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.core import checks
from django.core.management import call_command

from tuneloop.checks import check_deployment, check_environment


def ids(messages: list[checks.CheckMessage]) -> list[str]:
    assert all(message.hint for message in messages)
    return [str(message.id) for message in messages]


@pytest.fixture(autouse=True)
def _local_hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]  # the tests add one


def test_the_defaults_are_in_order() -> None:
    assert check_environment(None) == []
    assert check_deployment(None) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("REDIS_URL", "http://localhost:6379", "tuneloop.E001"),
        ("DEFAULT_BASE_MODEL", "bert-base-chinese", "tuneloop.E002"),
        ("STORAGES", {"artifacts": {"BACKEND": "no.such.Storage"}}, "tuneloop.E003"),
        ("TRAIN_PROCESSES", 0, "tuneloop.E004"),
        ("TRAIN_PROCESSES", 65, "tuneloop.E004"),
        ("LLM_URL", "localhost:8080", "tuneloop.E005"),
        ("LLM_URL", "https://", "tuneloop.E005"),
        ("LLM_URL", "http://localhost:many/v1", "tuneloop.E005"),
        ("LLM_URL", "https://models.example/v1", "tuneloop.E006"),
        ("LLM_MODEL", "small", "tuneloop.E006"),
        ("LLM_TIMEOUT_S", 0.0, "tuneloop.E007"),
        ("LLM_AT_ONCE", 0, "tuneloop.E007"),
        ("LLM_PRICE_IN", -1.0, "tuneloop.E007"),
        ("LLM_PRICE_OUT", -0.1, "tuneloop.E007"),
        ("ALERT_WEBHOOK", "chat.example/hook", "tuneloop.E008"),
        ("ALERT_WEBHOOK", "ftp://chat.example", "tuneloop.E008"),
    ],
)
def test_a_wrong_setting_is_an_error(
    settings: Any, name: str, value: object, expected: str
) -> None:
    setattr(settings, name, value)
    assert ids(check_environment(None)) == [expected]


def test_debug_for_the_world_is_a_warning(settings: Any) -> None:
    settings.DEBUG = True
    assert check_environment(None) == []
    settings.ALLOWED_HOSTS = ["tuneloop.example"]
    assert ids(check_environment(None)) == ["tuneloop.W001"]


def test_a_language_model_elsewhere_is_asked_encrypted(settings: Any) -> None:
    settings.LLM_MODEL = "small"
    for url in ("http://localhost:8080/v1", "http://[::1]/v1", "https://models.org/v1"):
        settings.LLM_URL = url
        assert check_environment(None) == []
    settings.LLM_URL = "http://models.org/v1"
    assert ids(check_environment(None)) == ["tuneloop.W004"]


def test_deployment_warnings(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert ids(check_deployment(None)) == ["tuneloop.W002", "tuneloop.W003"]
    settings.ALLOWED_HOSTS = ["tuneloop.example"]
    settings.SESSION_COOKIE_SECURE = True
    assert check_deployment(None) == []


def test_the_checks_are_registered(settings: Any) -> None:
    settings.DEFAULT_BASE_MODEL = "nonsense"
    tuneloop = [apps.get_app_config("tuneloop")]
    assert "tuneloop.E002" in ids(checks.run_checks(tuneloop))


@pytest.mark.django_db
def test_a_migration_brings_the_groups_up_to_date() -> None:
    Group.objects.all().delete()
    call_command("migrate", verbosity=0)
    manager = Group.objects.get(name="Manager")
    assert manager.permissions.filter(codename="view_trainingbatch").exists()
