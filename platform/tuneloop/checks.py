"""System checks: a wrong setting is named before it does harm."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from training import bases
from training.models import TrainingBatch

_QUEUE_SCHEMES = ("redis://", "rediss://", "unix://")
_LOCAL = {"localhost", "127.0.0.1", "[::1]"}


def check_environment(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """What would fail later and say less: values of the TUNELOOP_* variables."""
    found: list[CheckMessage] = []
    if not settings.REDIS_URL.startswith(_QUEUE_SCHEMES):
        found.append(
            Error(
                f"REDIS_URL is not an address of Valkey or Redis: {settings.REDIS_URL}",
                hint="Write redis://host:6379/0, rediss://... or unix:///path, or "
                "unset it to use the embedded Valkey.",
                id="tuneloop.E001",
            )
        )
    try:
        bases.parse(settings.DEFAULT_BASE_MODEL)
    except bases.BaseModelError as error:
        found.append(
            Error(
                f"TUNELOOP_BASE_MODEL names no base model: {error}",
                hint="Write hub:<repository>, path:<folder> or package:<name>.",
                id="tuneloop.E002",
            )
        )
    try:
        import_string(settings.STORAGES["artifacts"]["BACKEND"])
    except ImportError as error:
        found.append(
            Error(
                f"TUNELOOP_ARTIFACT_STORAGE cannot be loaded: {error}",
                hint="Name a Django storage class whose package is installed.",
                id="tuneloop.E003",
            )
        )
    if not 1 <= settings.TRAIN_PROCESSES <= TrainingBatch.MAX_PROCESSES:
        found.append(
            Error(
                f"TUNELOOP_TRAIN_PROCESSES is {settings.TRAIN_PROCESSES}: a batch"
                f" trains in 1 to {TrainingBatch.MAX_PROCESSES} processes.",
                hint="Set it to the number of GPUs of a worker's machine, or unset it.",
                id="tuneloop.E004",
            )
        )
    found += _check_language_model()
    if settings.ALERT_WEBHOOK and not _is_address(settings.ALERT_WEBHOOK):
        found.append(
            Error(
                f"TUNELOOP_ALERT_WEBHOOK is no web address: {settings.ALERT_WEBHOOK}",
                hint="Write https://host/path, or unset it.",
                id="tuneloop.E008",
            )
        )
    if settings.DEBUG and set(settings.ALLOWED_HOSTS) - _LOCAL:
        found.append(
            Warning(
                "TUNELOOP_DEBUG is on and other machines may ask.",
                hint="Error pages show settings and data: unset TUNELOOP_DEBUG or "
                "TUNELOOP_ALLOWED_HOSTS.",
                id="tuneloop.W001",
            )
        )
    return found


def _is_address(url: str) -> bool:
    """Whether a web request can be sent there."""
    try:
        address = urlsplit(url)
        _port = address.port  # read late, and then refused
    except ValueError:
        return False
    return address.scheme in ("http", "https") and bool(address.hostname)


def _check_language_model() -> list[CheckMessage]:
    if settings.LLM_URL and not _is_address(settings.LLM_URL):
        return [
            Error(
                f"TUNELOOP_LLM_URL is no web address: {settings.LLM_URL}",
                hint="Write https://host/v1 or http://localhost:port/v1, or unset it.",
                id="tuneloop.E005",
            )
        ]
    if bool(settings.LLM_URL) != bool(settings.LLM_MODEL):
        return [
            Error(
                "TUNELOOP_LLM_URL and TUNELOOP_LLM_MODEL go together, and one of them"
                " is not set.",
                hint="Name both the server and the model that it knows, or neither.",
                id="tuneloop.E006",
            )
        ]
    amounts = {
        "TUNELOOP_LLM_TIMEOUT_S": settings.LLM_TIMEOUT_S > 0,
        "TUNELOOP_LLM_AT_ONCE": settings.LLM_AT_ONCE > 0,
        "TUNELOOP_LLM_PRICE_IN": settings.LLM_PRICE_IN >= 0,
        "TUNELOOP_LLM_PRICE_OUT": settings.LLM_PRICE_OUT >= 0,
    }
    if wrong := [name for name, is_right in amounts.items() if not is_right]:
        return [
            Error(
                f"{', '.join(wrong)}: out of range.",
                hint="Times and counts are above 0, prices 0 or more.",
                id="tuneloop.E007",
            )
        ]
    address = urlsplit(settings.LLM_URL)
    if address.scheme == "http" and address.hostname not in _LOCAL | {"::1"}:
        return [
            Warning(
                "Questions travel to the language model unencrypted.",
                hint="Write https:// in TUNELOOP_LLM_URL, unless the network is yours.",
                id="tuneloop.W004",
            )
        ]
    return []


def check_deployment(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """What matters as soon as others reach the server (`check --deploy`)."""
    found: list[CheckMessage] = []
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Warning(
                "TUNELOOP_ALLOWED_HOSTS accepts every host name.",
                hint="List the names that users type, separated by commas.",
                id="tuneloop.W002",
            )
        )
    public = set(settings.ALLOWED_HOSTS) - _LOCAL
    if public and not settings.SESSION_COOKIE_SECURE:
        found.append(
            Warning(
                "Other machines may ask, and the session cookie travels unencrypted.",
                hint="Put a proxy with TLS in front and set TUNELOOP_HTTPS=1.",
                id="tuneloop.W003",
            )
        )
    return found
