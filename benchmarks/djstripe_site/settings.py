"""A Django project with dj-stripe, set up for production as its documentation says. What differs from run to run is in the environment."""

from __future__ import annotations

import os
from urllib.parse import parse_qs, urlsplit

_DATABASE = urlsplit(os.environ["BENCHMARK_DATABASE"])

SECRET_KEY = "benchmark"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "djstripe"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": parse_qs(_DATABASE.query).get("host", [_DATABASE.hostname])[0],
        "PORT": _DATABASE.port or "",
        "NAME": _DATABASE.path.lstrip("/"),
        "USER": _DATABASE.username or "",
        "PASSWORD": _DATABASE.password or "",
        # A connection for each thread of the server, and not for each request.
        "CONN_MAX_AGE": None,
    }
}
# The tables as they are now, at once: all migrations one after the other take a minute, and end in the same ones.
MIGRATION_MODULES = dict.fromkeys(("auth", "contenttypes", "sessions", "djstripe"))
LOGGING_CONFIG = None

STRIPE_LIVE_MODE = False
STRIPE_TEST_SECRET_KEY = "sk_test_00000000000000000000000000"
STRIPE_API_HOST = os.environ["BENCHMARK_STRIPE"]
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
if os.environ["BENCHMARK_DEFERRED"] == "yes":
    DJSTRIPE_WEBHOOK_EVENT_CALLBACK = "urls.deferred"
