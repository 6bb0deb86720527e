"""Many deliveries at once: of one event, with secrets that change, and more than there is room for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import anyio
import pytest

from atom_stripe.errors import InboxBusyError, InvalidSignatureError
from atom_stripe.inbox import AsyncWebhookInbox
from atom_stripe.webhooks import WebhookVerifier
from tests.canary import MARK
from tests.inbox_faults.shop import (
    PATIENCE,
    Shop,
    drain,
    ended,
    event,
    new_inbox,
    raw,
    reported,
    send,
    signed,
    started,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

OLD, NEW, WRONG = (f"whsec_{MARK}{name}" for name in ("old", "new", "wrong"))


def test_one_event_from_everywhere_at_once(any_shop: Shop) -> None:
    """One event from thirteen senders to each of four processes at once is stored once and handled once, and each sender is told that all is well."""
    process = started("same_event", any_shop.kind, any_shop.url)
    try:
        outcomes = [outcome for _ in range(4) for outcome in reported(process)]
        wait_for(lambda: any_shop.statuses() == {"evt_1": "done"})
        assert process.stdin
        process.stdin.close()
        assert reported(process) == [0] * 4
    finally:
        ended(process)
    assert sorted(outcomes) == ["duplicate"] * 51 + ["stored"]
    assert any_shop.effects() == [("evt_1", 1)]
    assert any_shop.rows("SELECT outcome, count(*) FROM stripe_deliveries GROUP BY outcome ORDER BY outcome") == [
        ("duplicate", 51),
        ("stored", 1),
    ]


def test_one_id_in_two_accounts_and_two_modes(any_shop: Shop) -> None:
    """One event id in two accounts and in both modes is four events, each stored and handled by itself."""
    seen: list[tuple[Any, Any]] = []
    with any_shop.inbox() as inbox:
        inbox.on("*", name="h")(lambda event, context: seen.append((event.account, event.livemode)))
        four = [event(account=account, livemode=mode) for account in ("acct_1", "acct_2") for mode in (False, True)]
        assert [send(inbox, one) for one in four * 2] == ["stored"] * 4 + ["duplicate"] * 4
        drain(inbox)
    assert sorted(seen) == [("acct_1", False), ("acct_1", True), ("acct_2", False), ("acct_2", True)]


class Load:
    """Senders that do not stop: each delivery is signed with the secrets that Stripe uses at that moment."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._store = shop.open()
        self._number = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.secrets: Sequence[str] = (OLD,)
        self.inbox: Any = None
        self.outcomes: list[str] = []
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._send) for _ in range(4)]

    def deploy(self, *secrets: str) -> None:
        """Put an inbox with these secrets in the place of the one before, as a deployment does: that one ends what it has begun."""
        self.inbox = new_inbox(self._store, verifier=WebhookVerifier(secrets))

    def go_on(self) -> None:
        """Wait for twenty more deliveries."""
        until = len(self.outcomes) + 20
        wait_for(lambda: len(self.outcomes) >= until or self.errors)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._store.close()

    def _send(self) -> None:
        while not self._over.is_set():
            with self._lock:
                self._number += 1
                body = raw(event(self._number, obj=f"cus_{self._number}"))
                secrets, inbox = self.secrets, self.inbox
                header = signed(body, *secrets)
            try:
                self.outcomes.append(inbox.receive(body, header).outcome)
            except Exception as error:  # noqa: BLE001 - told at the end
                self.errors.append(error)


def test_a_secret_is_rolled_under_load(any_shop: Shop) -> None:
    """While a secret is rolled, after a wrong one was added, no good delivery is refused; then nothing signed with the old one is taken."""
    load = Load(any_shop)
    load.deploy(OLD)
    with load:
        load.go_on()
        # A mistake, which costs nothing.
        load.deploy(WRONG, OLD)
        load.go_on()
        load.deploy(WRONG, OLD, NEW)
        load.go_on()
        # Stripe signs with both.
        load.secrets = (OLD, NEW)
        load.go_on()
        load.deploy(WRONG, f"whsec_{MARK}fourth", f"whsec_{MARK}fifth", OLD, NEW)
        load.go_on()
        load.secrets = (NEW,)
        load.go_on()
        load.deploy(NEW)
        load.go_on()
    assert load.errors == []
    assert set(load.outcomes) == {"stored"}
    assert len(any_shop.statuses()) == len(load.outcomes)
    late = raw(event("late"))
    for secret in (OLD, WRONG):
        with any_shop.inbox(secrets=NEW) as inbox, pytest.raises(InvalidSignatureError):
            inbox.receive(late, signed(late, secret))
    assert "evt_late" not in any_shop.statuses()


def test_a_thousand_deliveries_at_once(any_shop: Shop) -> None:
    """Of a thousand deliveries at once, with room for fifty, each is stored or told when to come back; nothing waits outside of the queue."""
    longest: list[int] = []
    outcomes: list[str] = []
    waits: set[float] = set()
    gate = threading.Event()

    async def flow() -> None:
        with any_shop.open() as store:
            append = store.append

            def slow(*arguments: Any) -> Any:
                assert gate.wait(PATIENCE)
                return append(*arguments)

            # The database is slow until most have been turned away.
            store.append = slow
            async with new_inbox(store, kind=AsyncWebhookInbox, queue_length=50, retry_after=3.0, accept_timeout=PATIENCE) as inbox:

                async def deliver(number: int) -> None:
                    body = raw(event(number, obj=f"cus_{number}"))
                    try:
                        outcomes.append((await inbox.receive(body, signed(body))).outcome)
                    except InboxBusyError as busy:
                        waits.add(busy.retry_after)
                        outcomes.append("busy")
                        if outcomes.count("busy") == 500:
                            gate.set()
                    longest.append(len(inbox._core.appender._writers.get()._queue))

                async with anyio.create_task_group() as group:
                    for number in range(1000):
                        group.start_soon(deliver, number)
                assert inbox.counts["busy"] == outcomes.count("busy")

    anyio.run(flow)
    assert len(outcomes) == 1000
    assert set(outcomes) == {"stored", "busy"}
    assert waits == {3.0}
    assert max(longest) <= 50
    assert len(any_shop.statuses()) == outcomes.count("stored") >= 50


def test_what_was_not_taken_comes_again(any_shop: Shop) -> None:
    """Senders that come back until each delivery was taken, past a queue with room for five, leave each event once, in its order."""
    from tests.inbox_faults.shop import send_until_taken

    lanes = [f"cus_{number}" for number in range(10)]
    with any_shop.inbox(queue_length=5) as inbox, ThreadPoolExecutor(10) as senders:

        def deliver(lane: str) -> None:
            for number in range(30):
                send_until_taken(inbox, event(f"{lane}_{number:02}", obj=lane))

        list(senders.map(deliver, lanes))
    for lane in lanes:
        of_lane = [name for name in any_shop.statuses() if name.startswith(f"evt_{lane}_")]
        assert len(of_lane) == 30
        assert all(first < second for first, second in pairwise(of_lane))
