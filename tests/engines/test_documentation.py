"""The page about engines, on a PostgreSQL of ours."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from atom_stripe._wire.signature import signature_header
from atom_stripe.stores.sql import upgrade
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import WEBHOOK_SECRET
from tests.engines.conftest import wait_for
from tests.engines.worker import arrivals, new_engine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"


def test_the_code_of_the_page_runs(postgres_url: str) -> None:
    """What the page shows receives a delivery and has it handled."""
    section = PAGE.read_text(encoding="utf-8").split("## Workers on several machines", 1)[1]
    (code,) = re.findall(r"^```py\n(.*?)^```$", section.split("\n## ", 1)[0], re.MULTILINE | re.DOTALL)
    upgrade(postgres_url)
    new_engine("pgqueuer", postgres_url).upgrade()
    page: dict[str, Any] = {"verifier": WebhookVerifier(WEBHOOK_SECRET)}
    exec("from atom_stripe.inbox import WebhookInbox\n" + code.replace("postgresql://app@db/app", postgres_url), page)  # noqa: S102 - our own page
    inbox = page["inbox"]
    seen: list[str] = []
    inbox.on("*", name="note")(lambda event, context: seen.append(event.id))
    body = arrivals(["in_1"])[0].payload
    with inbox.store, inbox, inbox.worker():
        inbox.receive(body, signature_header(body, [WEBHOOK_SECRET], int(time.time())))
        wait_for(lambda: seen == [json.loads(body)["id"]])
        assert inbox.engine.health().listening
