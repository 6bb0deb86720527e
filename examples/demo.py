"""
A day of a small shop, offline: ``make demo``.

Two programs talk over HTTP on this machine: the shop (service.py, FastAPI under uvicorn) and a Stripe that runs here, the sandbox
of atom_stripe.testing. Every line of the story is checked before it is told; if one is not true, the demo says which, and its exit
status is 1.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from service import create_app

from atom_stripe import Money, StripeClient, StripeConfig
from atom_stripe.errors import IdempotencyError
from atom_stripe.testing import StripeSandbox, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

KEY = "sk_test_anyTestKeyOpensTheSandbox"
# Seconds. Nothing takes this long; it keeps the demo from waiting for ever.
PATIENCE = 15.0


class NotTrueError(Exception):
    """A line of the story is not true."""


def check(fact: object, otherwise: str) -> None:
    """Go on only if *fact* is true."""
    if not fact:
        raise NotTrueError(otherwise)


@dataclass(frozen=True, slots=True)
class Day:
    """What the steps work with: the shop as a browser sees it, a client of our own, and the Stripe behind both."""

    shop: httpx.Client
    stripe: StripeClient
    sandbox: StripeSandbox
    webhook_secret: str = field(repr=False)
    log: list[str]

    def order(self, number: str, card: str, amount: int = 2000) -> httpx.Response:
        """Send an order to the shop, as its web page would."""
        return self.shop.post("/orders", json={"id": number, "amount": amount, "currency": "usd", "payment_method": card})

    def status(self, number: str) -> str:
        """Return what the shop knows of an order, once every webhook has arrived."""
        self.sandbox.webhooks.wait(PATIENCE)
        return self.shop.get(f"/orders/{number}").json()["status"]

    def payments(self, number: str) -> list[Any]:
        """Return the payments for an order that Stripe has."""
        return [payment for payment in self.stripe.payment_intents.list() if payment.metadata.get("order") == number]


def take_a_payment(day: Day) -> Iterator[str]:
    """Order 42 is paid with a card that works."""
    answer = day.order("42", "pm_card_visa")
    check(answer.status_code == 201, f"the shop answered {answer.status_code} to an order with a good card")
    payment = day.stripe.payment_intents.retrieve(answer.json()["payment"])
    check((payment.status, payment.amount_received) == ("succeeded", 2000), f"the payment is {payment.status} at Stripe")
    yield f"The browser sent order 42 over {Money.from_minor(2000, 'usd')} to POST /orders. The shop answered 201."
    yield f"Stripe has it as {payment.id}, {payment.status}."


def hear_of_it(day: Day) -> Iterator[str]:
    """The webhook about order 42 arrives at the shop."""
    status = day.status("42")
    check(status == "paid", f"order 42 is {status} after the webhook")
    event = next(iter(day.stripe.events.list(type="payment_intent.succeeded")))
    check(event.data.object.metadata["order"] == "42", "the event is about another order")
    check(event.pending_webhooks == 0, "Stripe is still waiting for the shop to take the webhook")
    yield f"Stripe sent {event.id} ({event.type}) to POST /webhooks, signed."
    yield "The shop checked the signature, marked order 42 as paid and answered 200."


def decline_a_card(day: Day) -> Iterator[str]:
    """Order 43 meets a card without money on it, and then a good one."""
    answer = day.order("43", "pm_card_visa_chargeDeclinedInsufficientFunds")
    told = answer.json()
    check((answer.status_code, told.get("code")) == (402, "insufficient_funds"), f"the shop answered {answer.status_code} {told}")
    yield f"Stripe declined the card. The shop answered 402, {told['code']}."
    yield f"The customer reads: “{told['detail']}” Offer another card; trying the same one again will not help."
    stolen = day.order("43", "pm_card_visa_chargeDeclinedStolenCard").json()
    check(stolen.get("code") == "generic_decline", f"the shop told the customer {stolen}")
    yield "A stolen card is declined in other words: its holder learns only that it was declined."
    check(day.order("43", "pm_card_visa").status_code == 201, "the shop did not take another card for the same order")
    status, payments = day.status("43"), day.payments("43")
    check((status, len(payments)) == ("paid", 1), f"order 43 is {status}, with {len(payments)} payments")
    yield "With another card, the same order was paid: three tries, one payment."


def ask_the_bank(day: Day) -> Iterator[str]:
    """Order 44 needs 3-D Secure."""
    answer = day.order("44", "pm_card_threeDSecure2Required").json()
    check(answer.get("status") == "requires_action" and answer.get("client_secret"), f"the payment is {answer.get('status')}")
    status = day.status("44")
    check(status == "unpaid", f"order 44 is {status}, though the customer has not confirmed it")
    yield f"The payment is {answer['status']}: the customer's bank wants to ask first."
    yield "The shop gave Stripe.js in the browser what it needs for that. Order 44 stays unpaid until a webhook says otherwise."


def forge_a_webhook(day: Day) -> Iterator[str]:
    """Somebody claims that order 44 is paid."""
    event = next(iter(day.stripe.events.list(type="payment_intent.succeeded"))).to_dict()
    event["data"]["object"] = {**day.payments("44")[0].to_dict(), "status": "succeeded"}
    body = json.dumps(event).encode()
    an_hour_ago = int(time.time()) - 3600
    signatures = ["", sign(body, "whsec_whatTheForgerMadeUp"), sign(body, day.webhook_secret, timestamp=an_hour_ago)]
    answers = [day.shop.post("/webhooks", content=body, headers={"Stripe-Signature": value}).status_code for value in signatures]
    status = day.status("44")
    check(answers == [400, 400, 400], f"the shop answered {answers} to forged webhooks")
    check(status == "unpaid", f"order 44 is {status} after forged webhooks")
    check(len(set(day.log[-3:])) == 3, "the shop's log does not tell three reasons")
    yield "Three webhooks say that order 44 is paid: one without a signature, one signed by somebody else, one an hour old."
    yield "The shop answered 400 to each of them and kept nothing. Order 44 is still unpaid. In its log:"
    yield from day.log[-3:]


def repeat_a_request(day: Day) -> Iterator[str]:
    """The same request is sent twice."""
    first, second = (day.stripe.payment_intents.create(amount=1250, currency="usd", idempotency_key="order-45") for _ in range(2))
    check(first.id == second.id, "two requests under one key made two payments")
    check(second.idempotent_replayed and not first.idempotent_replayed, "Stripe did not say that it had seen the key before")
    yield f"Two requests under the key order-45 gave one payment, {second.id}. The second answer says Idempotent-Replayed: true."
    try:
        day.stripe.payment_intents.create(amount=9900, currency="usd", idempotency_key="order-45")
    except IdempotencyError as error:
        check(error.status == 400, f"Stripe answered {error.status}")
        yield "Another amount under the same key is refused: IdempotencyError."
    else:
        check(fact=False, otherwise="a key was taken for another amount")


def lose_an_answer(day: Day) -> Iterator[str]:
    """The connection breaks after Stripe took order 46."""
    day.sandbox.faults.next(drop_after=True, operation="POST /v1/payment_intents")
    answer = day.order("46", "pm_card_visa", 3300)
    check(answer.status_code == 201, f"the shop answered {answer.status_code}")
    payments = day.payments("46")
    check(len(payments) == 1, f"Stripe has {len(payments)} payments for order 46")
    check(payments[0].amount_received == 3300, f"{payments[0].amount_received} was taken for order 46")
    check(day.status("46") == "paid", "order 46 is not paid")
    yield "Stripe made the payment, and the connection broke before its answer arrived."
    yield f"The client asked again under the same key. {Money.from_minor(3300, 'usd')} were taken once, and nobody noticed."


def refund(day: Day) -> Iterator[str]:
    """Order 42 is given back."""
    answers = [day.shop.post("/orders/42/refund").json() for _ in range(2)]
    status = day.status("42")
    refunds = list(day.stripe.refunds.list(payment_intent=day.payments("42")[0].id))
    check([made.amount for made in refunds] == [2000], f"Stripe has {len(refunds)} refunds for order 42")
    check([answer.get("refund") for answer in answers] == [refunds[0].id] * 2, "the shop names another refund")
    check(status == "refunded", f"order 42 is {status} after its refund")
    yield f"Somebody clicked twice on “refund”. Stripe made one: {refunds[0].id} over {Money.from_minor(2000, 'usd')}."
    yield "The webhook charge.refunded told the shop. Order 42 is refunded."


def read_many_pages(day: Day) -> Iterator[str]:
    """All customers are read, ten at a time."""
    emails = {f"customer{number}@example.com" for number in range(23)}
    for email in sorted(emails):
        day.stripe.customers.create(email=email)
    page = day.stripe.customers.list(limit=10)
    found = [customer.email for customer in page]
    check(len(page) == 10 and page.has_more, f"the first page has {len(page)} customers")
    check(len(found) == len(emails) and set(found) == emails, f"{len(found)} customers were found, not {len(emails)}")
    yield f"One loop over customers.list(limit=10) went through three pages and found all {len(found)} customers, each once."


def count_money(_day: Day) -> Iterator[str]:
    """Amounts in three currencies."""
    amounts = [Money("12.50", "usd"), Money("1250", "jpy"), Money("1.250", "kwd")]
    check([money.minor for money in amounts] == [1250, 1250, 1250], f"Stripe would be asked for {[m.minor for m in amounts]}")
    yield f"1250 is {amounts[0]}, {amounts[1]} and {amounts[2]}: a dollar has 100 parts, a yen none, a Kuwaiti dinar 1000."


@dataclass(frozen=True, slots=True)
class Step:
    """A chapter: what is done, why it matters to a shop, and where to read on."""

    title: str
    play: Callable[[Day], Iterator[str]]
    why: str
    look: str


STEPS = (
    Step(
        "A payment",
        take_a_payment,
        "An order has one payment under one idempotency key, so a double click or a restart cannot charge twice.",
        "examples/service.py, pay()",
    ),
    Step(
        "A webhook",
        hear_of_it,
        "The customer may close the browser too early; the webhook comes all the same.",
        "examples/service.py, webhook(); src/atom_stripe/webhooks.py",
    ),
    Step(
        "Declined cards",
        decline_a_card,
        "A decline is an answer to the customer and not a failure of the shop. The code says what helps.",
        "examples/service.py, _failed(); src/atom_stripe/errors.py, CardError",
    ),
    Step(
        "3-D Secure",
        ask_the_bank,
        "Goods that leave for a payment that waits for its confirmation are given away.",
        "src/atom_stripe/models/payment_intent.py",
    ),
    Step(
        "A forged webhook",
        forge_a_webhook,
        "Everybody on the internet can post to a webhook's address. Only Stripe can sign.",
        "src/atom_stripe/_wire/signature.py",
    ),
    Step(
        "The same request twice",
        repeat_a_request,
        "Every POST has a key, yours or a random one. Under it, Stripe does the work once.",
        "src/atom_stripe/_engine/calls.py",
    ),
    Step(
        "A lost answer",
        lose_an_answer,
        "Without the key, trying again would charge twice, and not trying would leave an order in doubt.",
        "src/atom_stripe/_engine/calls.py; src/atom_stripe/testing/_state/faults.py",
    ),
    Step(
        "A refund",
        refund,
        "Money goes back once, too, and the order follows what Stripe says.",
        "examples/service.py, refund()",
    ),
    Step(
        "Many pages",
        read_many_pages,
        "Stripe gives at most 100 objects at a time. A program that stops there works until the shop has 101 customers.",
        "src/atom_stripe/_engine/pages.py",
    ),
    Step(
        "Money",
        count_money,
        "Amounts are whole numbers in a currency's smallest unit. Floats lose cents, and 100 yen are not 1 yen.",
        "src/atom_stripe/money.py",
    ),
)


class Log(logging.Handler):
    """Keeps what the shop writes to its log, so that it can be told in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(record.getMessage())


@contextmanager
def reading(name: str) -> Iterator[list[str]]:
    """Read the log *name*, and nobody else does."""
    logger, log = logging.getLogger(name), Log()
    logger.addHandler(log)
    logger.propagate = False
    try:
        yield log.lines
    finally:
        logger.removeHandler(log)
        logger.propagate = True


@contextmanager
def serving(app: FastAPI, listener: socket.socket) -> Iterator[None]:
    """Run *app* under uvicorn on *listener*, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="shop")
    thread.start()
    try:
        until = time.monotonic() + PATIENCE
        while not server.started:
            check(thread.is_alive() and time.monotonic() < until, "the shop does not start")
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


@contextmanager
def opened() -> Iterator[Day]:
    """Start the Stripe and the shop, introduce them to each other, and stop both at the end."""
    with ExitStack() as stack:
        sandbox = stack.enter_context(StripeSandbox(seed=42))
        server = stack.enter_context(sandbox.serve(port=0))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        endpoint = sandbox.webhooks.deliver_to(f"{address}/webhooks")
        # What a deployment has in its environment.
        environment = {"STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": endpoint.secret, "STRIPE_API_BASE": server.url}
        config = StripeConfig.from_env(environment)
        log = stack.enter_context(reading("shop"))
        stack.enter_context(serving(create_app(config), listener))
        stripe = stack.enter_context(StripeClient(config=config))
        shop = stack.enter_context(httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False))
        yield Day(shop, stripe, sandbox, endpoint.secret, log)


def line(mark: str, text: str, style: str = "") -> Table:
    """Return a line of the story. *text* stays beside its *mark*, however narrow the terminal."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(f"  {mark}", Text(text, style=style, overflow="fold"))
    return grid


def tell(console: Console) -> None:
    """Open the shop for a day and tell what happens."""
    console.print(
        Panel("A day of a small shop, with a Stripe that runs on this machine. No account, no network.", title="atom-stripe")
    )
    with opened() as day:
        for number, step in enumerate(STEPS, 1):
            console.print(Rule(f"{number}  {step.title}", align="left"))
            try:
                for fact in step.play(day):
                    console.print(line("*", fact))
            except Exception as error:
                error.add_note(f"step {number}, {step.title}")
                raise
            console.print(line(" ", f"Why: {step.why}", "italic"))
            console.print(line(" ", f"See: {step.look}", "dim"), "")


def main() -> int:
    """Run the demo and return its exit status."""
    # A terminal that cannot show a character gets another one, and not an error.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    # What never leaves this machine does not go through its proxy, if it has one.
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        os.environ.pop(name, None)
    console = Console(highlight=False)
    started = time.monotonic()
    try:
        tell(console)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - whatever went wrong, a person reads this
        where = "".join(getattr(error, "__notes__", ())) or "at the start"
        failure = Text(f"The demo failed ({where}): {type(error).__name__}: {error}", style="bold red")
        Console(stderr=True, highlight=False).print(failure)
        return 1
    took = time.monotonic() - started
    console.print(
        Panel(f"All of this was true, in {took:.0f} seconds. Next: docs/quickstart.md and examples/README.md.", style="green")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
