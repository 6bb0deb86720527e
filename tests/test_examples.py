"""The examples, each run as its reader would run it, against a Stripe on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from atom_stripe.testing import StripeSandbox
from tests.canary import API_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atom_stripe import StripeClient

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
# Far more than any of them takes.
PATIENCE = 120


@pytest.fixture
def sandbox() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        yield sandbox


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of Python's without a terminal."""
    settings = {**os.environ, "PYTHONUTF8": "1", **environment}
    return subprocess.run(
        [sys.executable, *command], env=settings, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False
    )


def lines_of(sandbox: StripeSandbox, name: str, *arguments: str) -> list[str]:
    """Run an example against *sandbox* and return what it prints."""
    with sandbox.serve() as server:
        result = run(str(EXAMPLES / name), *arguments, STRIPE_SECRET_KEY=API_KEY, STRIPE_API_BASE=server.url)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def test_quickstart(sandbox: StripeSandbox) -> None:
    """The first example takes one payment of 20 dollars and finds it again."""
    lines = lines_of(sandbox, "quickstart.py")
    with sandbox.client() as stripe:
        (payment,) = stripe.payment_intents.list()
    assert (payment.status, payment.amount_received, payment.currency) == ("succeeded", 2000, "usd")
    assert lines == [f"{payment.id} over 2000 usd succeeded", f"jenny@example.com has {payment.id}"]


def test_async_quickstart(sandbox: StripeSandbox) -> None:
    """The async example pays with two of its three cards, and says why the third was declined."""
    lines = lines_of(sandbox, "async_quickstart.py")
    assert lines[0] == "pm_card_visa: succeeded"
    assert lines[1] == "pm_card_mastercard: succeeded"
    assert lines[2].startswith("pm_card_visa_chargeDeclined: declined, generic_decline. ")
    with sandbox.client() as stripe:
        payments = {f"{payment.id} is {payment.status}" for payment in stripe.payment_intents.list()}
    assert set(lines[3:]) == payments
    assert len(payments) == 3


def test_connected_account(sandbox: StripeSandbox) -> None:
    """The payment of the marketplace's example is in the seller's account, and not in the platform's."""
    account = sandbox.connect()
    lines = lines_of(sandbox, "connected_account.py", account.id)
    assert lines[0].endswith("succeeded, our share is 400.")
    assert lines[1:] == ["Payments in the seller's account: 1", "Payments in our own: 0"]


def test_connected_account_of_somebody_else(sandbox: StripeSandbox) -> None:
    """An account that is not connected is named, without a traceback."""
    with sandbox.serve() as server:
        result = run(str(EXAMPLES / "connected_account.py"), "acct_stranger", STRIPE_SECRET_KEY=API_KEY, STRIPE_API_BASE=server.url)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "acct_stranger is not connected to this platform, or no longer.\n"


def test_testing_your_code() -> None:
    """The tests of the example on testing pass, and there are four."""
    result = run("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(EXAMPLES / "testing_your_code.py"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 passed" in result.stdout


def test_envelope_keys() -> None:
    """Three tokens take one data key and another process one question; a copied token is refused."""
    result = run(str(EXAMPLES / "envelope_keys.py"))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("the service wraps a key") == 1
    assert result.stdout.count("the service unwraps a key") == 2
    assert result.stdout.splitlines()[-1].startswith("  this stored token was not written for this row")


def test_every_example_is_listed() -> None:
    """The page about the examples names every one of them, and none that is not there."""
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in EXAMPLES.glob("*.py")}
    assert files == {line.split("](")[1].split(")")[0] for line in page.splitlines() if line.startswith("| [")}


# The service of the quickstart.


@dataclass(frozen=True)
class Shop:
    """The service as a browser sees it, a client of our own, and the Stripe behind both."""

    shop: httpx.Client
    stripe: StripeClient
    sandbox: StripeSandbox
    webhook_secret: str

    def order(self, number: str, card: str, amount: int = 2000) -> httpx.Response:
        """Send an order, as its web page would."""
        return self.shop.post("/orders", json={"id": number, "amount": amount, "currency": "usd", "payment_method": card})

    def status(self, number: str) -> str:
        """Return what the service knows of an order, once every webhook has arrived."""
        self.sandbox.webhooks.wait(PATIENCE)
        return str(self.shop.get(f"/orders/{number}").json()["status"])

    def payments(self, number: str) -> list[Any]:
        """Return the payments for an order that Stripe has."""
        return [payment for payment in self.stripe.payment_intents.list() if payment.metadata.get("order") == number]


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch, sandbox: StripeSandbox) -> Iterator[Shop]:
    """The service with its Stripe, both running."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        secret = sandbox.webhooks.deliver_to(f"{url}/webhooks").secret
        config = sandbox.serve().config(webhook_secrets=(secret,))
        stack.enter_context(import_module("demo_day").serving(import_module("service").create_app(config), listener))
        shop = stack.enter_context(httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False))
        yield Shop(shop, sandbox.client(), sandbox, secret)


def test_service_believes_and_says_no_more_than_it_should(day: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """An order is paid by its webhook; a decline says what helps and never that a card is stolen; unsigned webhooks are refused."""
    assert day.order("42", "pm_card_visa").status_code == 201
    assert day.status("42") == "paid"
    cards = ("pm_card_visa_chargeDeclinedInsufficientFunds", "pm_card_visa_chargeDeclinedStolenCard")
    assert [day.order("43", card).json()["code"] for card in cards] == ["insufficient_funds", "generic_decline"]
    assert day.status("43") == "unpaid"
    assert day.shop.post("/webhooks", content=b"{}").status_code == 400
    assert any("refused a webhook" in message for message in caplog.messages)


def test_service_gives_money_back_once(day: Shop) -> None:
    """Two clicks on "refund" are one refund."""
    assert day.order("42", "pm_card_visa").status_code == 201
    assert day.status("42") == "paid"
    assert len({day.shop.post("/orders/42/refund").json()["refund"] for _ in range(2)}) == 1
    assert day.status("42") == "refunded"
    assert [one.amount for one in day.stripe.refunds.list()] == [2000]


def test_service_knows_its_orders(day: Shop) -> None:
    """Unknown orders are 404; an order whose amount changes, or that is given back before it is paid, is 409."""
    assert day.shop.get("/orders/42").status_code == 404
    assert day.shop.post("/orders/42/refund").status_code == 404
    assert day.order("42", "pm_card_threeDSecure2Required").status_code == 201
    assert day.shop.post("/orders/42/refund").status_code == 409
    changed = day.order("42", "pm_card_visa", amount=1)
    assert (changed.status_code, changed.json()) == (409, {"detail": "there is an order with this id and another amount"})
    assert [payment.amount for payment in day.payments("42")] == [2000]


@pytest.mark.parametrize(
    "wrong",
    [{"amount": 0}, {"amount": 19.5}, {"currency": "USD"}, {"id": "4 2"}, {"id": "a" * 65}, {"payment_method": "4242424242424242"}],
)
def test_service_refuses_what_is_no_order(day: Shop, wrong: dict[str, Any]) -> None:
    """What is not an order is 422 and reaches no Stripe."""
    order = {"id": "42", "amount": 2000, "currency": "usd", "payment_method": "pm_card_visa", **wrong}
    assert day.shop.post("/orders", json=order).status_code == 422
    assert list(day.stripe.payment_intents.list()) == []


def test_service_in_an_outage(day: Shop) -> None:
    """While Stripe is down, a customer is told to try again and nothing of the failure; afterwards the same order is paid once."""
    day.sandbox.faults.next(status=503, times=3)
    answer = day.order("42", "pm_card_visa")
    assert (answer.status_code, answer.json()["code"]) == (503, "try_again")
    assert "req_" not in answer.text
    assert day.order("42", "pm_card_visa").json()["status"] == "succeeded"
    assert [payment.amount_received for payment in day.payments("42")] == [2000]


def test_service_and_a_payment_method_that_does_not_exist(day: Shop) -> None:
    """What Stripe refuses is 409, in words for a customer."""
    answer = day.order("42", "pm_nobodyHasThisOne")
    assert (answer.status_code, answer.json()) == (409, {"code": "not_possible", "detail": "This cannot be done with this order."})


def test_service_takes_a_second_click(day: Shop) -> None:
    """An order that is sent twice gets the same answer twice, and one charge."""
    answers = [day.order("42", "pm_card_visa").json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["status"] == "succeeded"
    assert [charge.amount for charge in day.stripe.charges.list()] == [2000]


def test_service_hears_of_partial_and_late_events(day: Shop) -> None:
    """A refund of a part is called that, and a late webhook about the payment does not undo it."""
    payment = day.order("42", "pm_card_visa").json()["payment"]
    assert day.status("42") == "paid"
    day.stripe.refunds.create(payment_intent=payment, amount=500)
    assert day.status("42") == "partly refunded"
    late = next(iter(day.stripe.events.list(type="payment_intent.succeeded")))
    answer = deliver_again(day, late)
    assert (answer.status_code, day.status("42")) == (200, "partly refunded")
    day.stripe.refunds.create(payment_intent=payment)
    assert day.status("42") == "refunded"


def deliver_again(day: Shop, event: Any) -> Any:
    """Send *event* to the service once more, as Stripe may."""
    import json

    from atom_stripe.testing import sign

    body = json.dumps(event.to_dict()).encode()
    return day.shop.post("/webhooks", content=body, headers={"Stripe-Signature": sign(body, day.webhook_secret)})
