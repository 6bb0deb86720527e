"""Make the tables, and the endpoint with the secret in the environment."""

from __future__ import annotations

import os

import django
from django.core.management import call_command

django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)

from djstripe.models import WebhookEndpoint  # noqa: E402 - it wants django.setup()

WebhookEndpoint.objects.create(
    id="we_00000000000000",
    livemode=False,
    secret=os.environ["BENCHMARK_SECRET"],
    enabled_events=["*"],
    status="enabled",
    url="https://example.com/stripe/webhook/",
    djstripe_uuid=os.environ["BENCHMARK_ENDPOINT"],
)
