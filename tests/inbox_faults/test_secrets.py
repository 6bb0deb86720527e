"""A customer's data and a shop's secrets on a bad day: in rows that hold them, and in nothing that is said."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest
from sqlalchemy import make_url, text

from atom_stripe.errors import AtomStripeError, InboxBusyError
from atom_stripe.protocols import InboxQuery
from tests.canary import ACCESS_TOKEN, API_KEY, CLIENT_SECRET, MARK, REFRESH_TOKEN, WEBHOOK_SECRET
from tests.inbox_faults.shop import Shop, drain, event, new_engine, raw, send, signed, wait_for


class Heard:
    """Metrics, and a memory of everything that they are told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def count(self, *told: Any) -> None:
        self.told.append(told)

    gauge = observe = count


def secretive(number: object, **fields: Any) -> dict[str, Any]:
    """Return an event with something in every place that must not be told."""
    found = event(number, obj=f"cus_{MARK}{number}", request={"id": REFRESH_TOKEN, "idempotency_key": MARK}, **fields)
    found["data"]["object"].update(email=f"{MARK}@example.com", client_secret=CLIENT_SECRET, metadata={"key": API_KEY})
    return found


def said(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(error) + repr(vars(error))


def test_nothing_that_is_said_holds_a_secret(
    any_shop: Shop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Good, forged, odd and lost deliveries, handlers that fail with secrets in their errors, and a database that refuses tell none of them."""
    heard, errors, shown = Heard(), [], []
    caplog.set_level(logging.DEBUG)
    with any_shop.inbox(metrics=heard) as inbox:

        def handle(event: Any, context: Any) -> None:
            shown.extend([repr(event), str(event), repr(context), repr(context.event_record), context.idempotency_key])
            if event.type == "customer.created":
                msg = f"{API_KEY} {CLIENT_SECRET} {WEBHOOK_SECRET} {ACCESS_TOKEN}"
                raise LookupError(msg)
            if event.type == "customer.deleted":
                context.connection.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": API_KEY})

        inbox.on("*", name="h")(handle)
        for number, kind in enumerate(("customer.updated", "customer.created", "customer.deleted")):
            send(inbox, secretive(number, type=kind))
        body = raw(secretive("forged"))
        odd = raw({**secretive("odd"), "data": MARK})
        assert inbox.receive(odd, signed(odd)).unparsable
        for header in (None, f"t=1,v1={MARK}", f"{API_KEY}", signed(body, f"whsec_{MARK}0000"), signed(body, at=1)):
            with pytest.raises(AtomStripeError) as caught:
                inbox.receive(body, header)
            errors.append(caught.value)
        drain(inbox)
        any_shop.execute("ALTER TABLE stripe_events RENAME TO elsewhere")
        with pytest.raises(InboxBusyError) as busy:
            send(inbox, secretive("lost"))
        errors.append(busy.value)
        any_shop.execute("ALTER TABLE elsewhere RENAME TO stripe_events")
        shown += [
            repr(inbox),
            repr(inbox.config),
            repr(inbox.store),
            repr(inbox.operations),
            repr(inbox.handlers),
            repr(inbox.counts),
        ]
        records = inbox.store.find(InboxQuery(payloads=True))
        stored = [state.error for record in records for state in record.handlers.values() if state.error]
        shown += [repr(inbox.operations.status()), repr(inbox.operations.audit())]
        with any_shop.open() as store:
            shown.append(repr(store))
    assert len(records) == 4
    assert all(MARK.encode() in (record.payload or b"") for record in records)
    assert len(stored) >= 3
    assert len(heard.told) > 10
    told = [
        *map(said, errors),
        *stored,
        *(part for part in shown if "cus_" not in part),
        *map(repr, heard.told),
        *(f"{entry.getMessage()} {entry.exc_text} {entry.args}" for entry in caplog.records),
        *capfd.readouterr(),
    ]
    assert [part for part in told if MARK in part] == []
    secrets = (API_KEY, CLIENT_SECRET, WEBHOOK_SECRET, REFRESH_TOKEN, "@example.com")
    assert [part for part in shown if any(secret in part for secret in secrets)] == []


def test_a_password_of_a_database_is_not_told(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """An inbox whose PostgreSQL is away, its worker and its engine say so without the password of its URL."""
    caplog.set_level(logging.DEBUG)
    url = make_url("postgresql://shop@127.0.0.1:1/shop").set(password=MARK).render_as_string(hide_password=False)
    shop = Shop("pgqueuer", url, new_engine(url))
    with shop.inbox() as inbox:
        with pytest.raises(InboxBusyError) as busy:
            send(inbox, event())
        with inbox.worker():
            wait_for(lambda: any("could not look" in entry.getMessage() for entry in caplog.records))
        shown = [repr(inbox), repr(inbox.store), repr(inbox.engine), repr(inbox.engine.health())]
    told = [said(busy.value), *shown, *(f"{entry.getMessage()} {entry.exc_text} {entry.args}" for entry in caplog.records)]
    assert [part for part in (*told, *capfd.readouterr()) if MARK in part] == []
