"""The steps of ``make demo``. Each does something with the service, looks whether it is true, and tells it."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import httpx
from demo_day import MERCHANT, PATIENCE, check

from atom_stripe import Money
from atom_stripe.testing import sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo_day import Day, Entry

GOOD = "pm_card_visa"
EMPTY = "pm_card_visa_chargeDeclinedInsufficientFunds"
STOLEN = "pm_card_visa_chargeDeclinedStolenCard"
# So many events are in the ledger when the worker is killed, and many more are not.
ENOUGH = 8


def dollars(amount: int) -> Money:
    """Return an amount of cents."""
    return Money.from_minor(amount, "usd")


def connect(day: Day) -> Iterator[str]:
    """A merchant gives the service access to an account, in a browser."""
    check(day.service.get("/oauth/authorize").status_code == 401, "somebody whom nobody knows may connect an account")
    begun = day.service.get("/oauth/authorize", headers={**day.merchant, "Accept": "text/html"})
    check(begun.status_code == 302, f"the service answered {begun.status_code} to GET /oauth/authorize")
    back = day.sandbox.oauth.consent(begun.headers["Location"])
    stranger = httpx.get(back, trust_env=False)
    check(stranger.status_code == 400, f"the service answered {stranger.status_code} to another browser that came back")
    came = day.service.get(back)
    check(came.status_code == 200 and came.json()["connected"], f"the service answered {came.status_code} to the callback")
    day.account = came.json()["account"]
    check(day.get("/oauth/status")["connection"]["account"] == day.account, "the service knows of another account")
    yield "GET /oauth/authorize sent the merchant's browser to Stripe's page. The merchant agreed, and Stripe sent it back."
    yield f"The account {day.account} is connected. The same URL in another browser got {stranger.status_code}."
    yield _sealed(day)


def _sealed(day: Day) -> str:
    """Look for the merchant's token in every file that there is."""
    token = day.oauth.token(MERCHANT).value.get_secret_value().encode()
    files = {file.name: file.read_bytes() for file in day.folder.iterdir() if file.is_file()}
    found = sum(content.count(token) for content in files.values())
    check(any(day.account.encode() in content for content in files.values()), "the connection is in no file")
    check(len(token) > 20 and not found, f"the merchant's token stands in a file, {found} times")
    size = sum(map(len, files.values()))
    return f"Its token is encrypted on disk: {size:,} bytes in {len(files)} files have it {found} times in clear."


def pay(day: Day) -> Iterator[str]:
    """Order 1 is paid, although the connection to Stripe breaks at the worst moment."""
    day.sandbox.faults.next(drop_after=True, operation="POST /v1/payment_intents")
    answers = [day.pay("order-1") for _ in range(2)]
    check([answer.status_code for answer in answers] == [201, 201], f"the service answered {answers[0].status_code}")
    first, second = (answer.json() for answer in answers)
    check((first["status"], first["amount_received"]) == ("succeeded", 2000), f"the payment is {first['status']}")
    check(first["id"] == second["id"], "the same order sent twice made two payments")
    there, own = list(day.in_account.payment_intents.list()), list(day.stripe.payment_intents.list())
    check([one.id for one in there] == [first["id"]], f"there are {len(there)} payments in the merchant's account")
    check(not own, f"{len(own)} payments are in the platform's own account")
    yield f"POST /payments over {dollars(2000)} answered 201: {first['id']}, {first['status']}, in the merchant's account."
    yield "Stripe had taken it when the connection broke, before the answer. The client asked again under the same key."
    yield f"Then the order came a second time. Payments that Stripe has: {len(there)}. In the platform's own account: {len(own)}."


def hear(day: Day) -> Iterator[str]:
    """The webhooks about order 1 arrive, and some that Stripe did not send."""
    day.settle()
    entries = [entry for entry in day.ledger() if entry.type == "payment_intent.succeeded"]
    check([entry.amount for entry in entries] == [2000], f"the ledger has {len(entries)} entries about order 1")
    yield f"Stripe sent {entries[0].event} ({entries[0].type}) to POST /webhooks, signed. It was stored, then answered with 200."
    yield f"The worker, a process of its own, entered {dollars(entries[0].amount)} into the ledger. Entries of that kind: {len(entries)}."
    before, event = day.ledger(), day.in_account.events.retrieve(entries[0].event).to_dict()
    event["id"], event["data"]["object"]["amount_received"] = "evt_forged", 9_999_999
    body = json.dumps(event).encode()
    an_hour_ago = time.time() - 3600
    signatures = ["", sign(body, "whsec_whatTheForgerMadeUp"), sign(body, day.webhook_secret, timestamp=an_hour_ago)]
    answers = [day.service.post("/webhooks", content=body, headers={"Stripe-Signature": value}).status_code for value in signatures]
    check(answers == [400, 400, 400], f"the service answered {answers} to forged webhooks")
    day.settle()
    check(day.ledger() == before, "a forged webhook came into the ledger")
    yield f"Three more speak of {dollars(9_999_999)}: one without a signature, one signed by somebody else, one an hour old."
    yield "The service answered 400 to each of them. The ledger is as it was."


def decline(day: Day) -> Iterator[str]:
    """Order 2 meets a card without money on it, a stolen one, and then a good one."""
    empty, stolen = day.pay("order-2", EMPTY), day.pay("order-2", STOLEN)
    told = empty.json()
    check((empty.status_code, told.get("decline_code")) == (402, "insufficient_funds"), f"the service answered {empty.status_code}")
    check(stolen.status_code == 402 and "stolen" not in stolen.text, "the service told the thief")
    yield f"Stripe declined the card. The service answered 402, {told['decline_code']}: “{told['detail']}”"
    yield f"A stolen card got 402 too, and other words: “{stolen.json()['detail']}”"
    check(day.pay("order-2", GOOD).status_code == 201, "the service did not take another card")
    day.settle()
    failed = [entry for entry in day.ledger() if entry.type == "payment_intent.payment_failed"]
    check([entry.amount for entry in failed] == [0, 0], f"the ledger has {len(failed)} failed payments")
    yield f"A good card was taken. The ledger heard of {len(failed)} failed payments, over {dollars(sum(e.amount for e in failed))}."


def subscribe(day: Day) -> Iterator[str]:
    """A customer subscribes, and a month passes."""
    monthly = {"unit_amount": 900, "currency": "usd", "recurring": {"interval": "month"}}
    product = day.made("/products", name="Coffee", default_price_data=monthly)
    customer = day.made("/customers", email="jenny@example.com", payment_method=GOOD)
    (card,) = day.in_account.payment_methods.list(customer=customer["id"])
    day.made(f"/customers/{customer['id']}", default_payment_method=card.id)
    items = [{"price": product["default_price"]}]
    made = day.made("/subscriptions", customer=customer["id"], items=items, payment_behavior="error_if_incomplete")
    check(made["status"] == "active", f"the subscription is {made['status']}")
    first = _invoices(day, made)
    check(first == [("subscription_create", "paid", 900)], f"the first invoices are {first}")
    yield f"POST /subscriptions: Coffee at {dollars(900)} a month. {made['id']} is {made['status']}, its first invoice paid."
    before = day.sandbox.clock.now
    # Stripe leaves a renewal's invoice as a draft for an hour.
    after = day.sandbox.clock.advance(days=31, hours=2)
    day.settle()
    both = _invoices(day, made)
    check(both == [("subscription_cycle", "paid", 900), *first], f"after a month, the invoices are {both}")
    paid = [entry for entry in day.ledger() if entry.amount == 900]
    check(len(paid) == 2, f"the ledger has {len(paid)} payments of the subscription")
    yield f"The sandbox's clock went from {before:%d %B} to {after:%d %B}. Stripe renewed it: {len(both)} invoices, all paid."
    yield f"The ledger has {len(paid)} payments of it, {dollars(sum(entry.amount for entry in paid))} together."


def _invoices(day: Day, subscription: Any) -> list[tuple[str, str, int]]:
    page = day.get("/invoices", subscription=subscription["id"])
    return [(one["billing_reason"], one["status"], one["amount_paid"]) for one in page["data"]]


def refund(day: Day) -> Iterator[str]:
    """Order 1 is given back, by somebody who clicks twice."""
    (payment,) = [
        one["id"] for one in day.get("/payments", status="succeeded")["data"] if one["metadata"].get("order") == "order-1"
    ]
    made = [day.made("/refunds", "refund-order-1", payment_intent=payment) for _ in range(2)]
    there = list(day.in_account.refunds.list(payment_intent=payment))
    check([one.amount for one in there] == [2000], f"Stripe has {len(there)} refunds of order 1")
    check({one["id"] for one in made} == {there[0].id}, "the service names another refund")
    again = day.post("/refunds", payment_intent=payment)
    check(again.status_code in {400, 409}, f"the service answered {again.status_code} to a refund of what is refunded")
    day.settle()
    entries = [entry.amount for entry in day.ledger() if entry.type == "refund.created"]
    check(entries == [-2000], f"the ledger has {len(entries)} refunds")
    yield f"Two clicks on “refund”, one idempotency key: POST /refunds answered {there[0].id} twice. Stripe made {len(there)}."
    yield f"Without the key, a second refund got {again.status_code}, {again.json()['code']}. The ledger has {dollars(entries[0])}, once."


def kill(day: Day) -> Iterator[str]:
    """The worker is killed in the middle of a sale, and another one takes over."""
    day.settle()
    before = len(day.ledger())
    known = set(day.delivered())
    for number in range(10, 18):
        check(day.pay(f"order-{number}").status_code == 201, "an order was not paid")
    caught = _kill_in_the_middle(day, before)
    done, killed = len(day.ledger()) - before, day.worker.process
    yield f"A sale: 8 orders. With {done} of their events in the ledger and {caught} in its hands, the worker ({killed.pid}) got kill -9."
    sold = [day.pay(f"order-{number}").json() for number in range(18, 22)]
    back = [day.post("/refunds", payment_intent=payment["id"]).status_code for payment in sold[:3]]
    check(back == [201, 201, 201], f"the service answered {back} to refunds while no worker was alive")
    day.sandbox.webhooks.wait(PATIENCE)
    events = [event for event in day.delivered() if event not in known]
    for event in events[:10]:
        day.sandbox.webhooks.resend(event)
    day.sandbox.webhooks.wait(PATIENCE)
    waiting = day.inbox.counts().pending
    check(len(day.ledger()) - before == done, "something handled events although the worker was dead")
    check(waiting + done == len(events), f"{done} events are in the ledger, and {len(events) - waiting} are done")
    yield f"Nobody handled events, and the service went on: 4 more orders, 3 refunds, each answered 201. {waiting} events waited."
    yield "Stripe delivered 10 of its events a second time."
    day.worker.start()
    day.settle()
    entries = day.ledger()[before:]
    yield from _nothing_lost(day, events, entries, killed.pid)


def _kill_in_the_middle(day: Day, before: int) -> int:
    """Kill the worker while it handles events, and return how many."""
    while True:
        day.wait(
            lambda: len(day.ledger()) - before >= ENOUGH and day.inbox.counts().running,
            "the worker does not handle the events of the sale, or did so before it could be killed",
        )
        # It stands still for a moment, so that what is seen is what it dies with.
        day.worker.hold()
        caught = day.inbox.counts().running
        if caught:
            check(day.worker.kill() == -9, "the worker was not killed")
            return caught
        day.worker.go_on()


def _nothing_lost(day: Day, events: list[str], entries: list[Entry], killed: int) -> Iterator[str]:
    """Count what became of *events*."""
    count = Counter(entry.event for entry in entries)
    lost, doubled = [event for event in events if not count[event]], [event for event, number in count.items() if number > 1]
    check(not lost, f"{len(lost)} events were lost")
    check(not doubled and len(entries) == len(events), f"{len(doubled)} events were handled twice")
    workers = Counter(entry.worker for entry in entries)
    check(len(workers) == 2 and killed in workers, f"{len(workers)} workers took part")
    again = sum(entry.attempt > 1 for entry in entries)
    other = next(pid for pid in workers if pid != killed)
    yield (
        f"A new worker ({other}) did the rest. Of {len(events)} events, {len(entries)} are in the ledger: {workers[killed]} by the one"
        f" that died, {workers[other]} by the new one. {again} were begun twice. Lost: {len(lost)}. Doubled: {len(doubled)}."
    )
    lanes = [list(group) for _, group in groupby(sorted(entries, key=lambda entry: entry.lane), key=lambda entry: entry.lane)]
    late = [lane for lane in lanes if [entry.place for entry in lane] != sorted(entry.place for entry in lane)]
    check(not late, f"the events of {len(late)} objects are out of order")
    ours = sum(entry.amount for entry in day.ledger())
    payments, refunds = list(day.in_account.payment_intents.list(limit=100)), list(day.in_account.refunds.list(limit=100))
    theirs = sum(one.amount_received for one in payments) - sum(one.amount for one in refunds)
    check(ours == theirs, f"the ledger says {dollars(ours)}, and Stripe {dollars(theirs)}")
    yield f"Objects in the sale: {len(lanes)}. With events out of their order: {len(late)}."
    paid = sum(one.amount_received > 0 for one in payments)
    yield f"All day, the ledger says {dollars(ours)}; Stripe, by {paid} payments and {len(refunds)} refunds, {dollars(theirs)}."


NUMBERS = (
    'atom_stripe_webhook_received_total{result="stored"}',
    'atom_stripe_webhook_received_total{result="duplicate"}',
    'atom_stripe_webhook_received_total{result="refused"}',
    'atom_stripe_payments_total{outcome="succeeded"}',
    'atom_stripe_payments_total{outcome="failed"}',
)


def ask(day: Day) -> Iterator[str]:
    """An operator asks the service how it is."""
    check(day.service.get("/health/detailed").status_code == 401, "/health/detailed is open to everybody")
    check(day.service.get("/metrics", headers=day.merchant).status_code == 403, "a merchant may see /metrics")
    # A busy machine may not answer in time, and then the service says so.
    day.wait(lambda: _health(day)["status"] == "ok", "the service does not say that it is well")
    health = _health(day)
    working = [name for name, one in health["checks"].items() if one["status"] == "ok"]
    inbox = health["checks"]["inbox"]
    check((inbox["pending"], inbox["parked"]) == (0, 0), f"the inbox says {inbox}")
    yield f"GET /health/detailed, for operators only: {health['status']}. It looked at {', '.join(working)}."
    yield f"Events that wait: {inbox['pending']}. Given up on: {inbox['parked']}. From GET /metrics:"
    lines = day.service.get("/metrics", headers=day.operator).text.splitlines()
    numbers = {name: float(number) for name, _, number in (line.rpartition(" ") for line in lines) if name in NUMBERS}
    entries = day.ledger()
    paid = sum(entry.type == "payment_intent.succeeded" for entry in entries)
    expected = [len(entries), 10, 3, paid, 2]
    check([numbers.get(name) for name in NUMBERS] == expected, f"the metrics say {list(numbers.values())}, and {expected} is true")
    yield from (f"{name} {numbers[name]:.0f}" for name in NUMBERS)


def _health(day: Day) -> Any:
    return day.service.get("/health/detailed", headers=day.operator).json()


@dataclass(frozen=True, slots=True)
class Step:
    """A chapter: what is done, why it matters to a service, and where to read on."""

    title: str
    play: Callable[[Day], Iterator[str]]
    why: str
    look: str


STEPS = (
    Step(
        "A merchant connects",
        connect,
        "Whoever has the token can take the merchant's money. So a copy of the database must not be enough to have it.",
        "src/atom_stripe/service/routes/connecting.py, authorize(); src/atom_stripe/keys/keyring.py, Keyring",
    ),
    Step(
        "A payment",
        pay,
        "Without a key, trying again would charge twice, and not trying would leave the order in doubt.",
        "src/atom_stripe/service/routes/payments.py, create_payment(); src/atom_stripe/_engine/calls.py",
    ),
    Step(
        "Its webhook, and forged ones",
        hear,
        "The customer may close the browser too early; the webhook comes all the same. Everybody can post to its address, only Stripe can sign.",
        "examples/demo_service.py, make_inbox(); src/atom_stripe/_wire/signature.py",
    ),
    Step(
        "A failed payment",
        decline,
        "A decline is an answer to the customer and not a failure of the service. It says what helps, and nothing to a thief.",
        "src/atom_stripe/service/problems.py; src/atom_stripe/errors.py, CardError",
    ),
    Step(
        "A subscription, and a month later",
        subscribe,
        "The second payment comes when nobody is looking. That it came, or did not, only webhooks say.",
        "src/atom_stripe/service/routes/subscriptions.py, create_subscription(); docs/sandbox.md",
    ),
    Step(
        "A refund",
        refund,
        "Money goes back once, too.",
        "src/atom_stripe/service/routes/payments.py, create_refund()",
    ),
    Step(
        "kill -9",
        kill,
        "Machines die in the middle of their work. What is stored before it is answered, and done in one transaction, survives it.",
        "examples/demo_service.py, make_inbox(); examples/demo_worker.py; docs/webhooks.md",
    ),
    Step(
        "What the service says of itself",
        ask,
        "Whoever runs it should hear of trouble before a merchant calls.",
        "docs/monitoring.md; src/atom_stripe/service/health.py",
    ),
)
