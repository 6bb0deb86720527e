"""What ``atom-stripe smoke`` writes when it is told to: a customer and all that it takes to sell them something, and a delivery."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from atom_stripe._wire.signature import signature_header
from atom_stripe.cli.smoke_probes import Probe, filled, who_may
from atom_stripe.config import API_VERSION
from atom_stripe.errors import ConfigurationError
from atom_stripe.service.routes import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atom_stripe.cli.smoke_asking import Asker, Reply
    from atom_stripe.cli.smoke_examining import Examiner

MARK = "atom_stripe_smoke"
"""The name in the metadata of everything that is made, with the run as its value."""
_ROUTES = {operation.name: operation for operation in OPERATIONS}
# Which of these says first what mode it is: Stripe's balance always does, lists only if there is something.
_TELLING = ("get_balance", "list_payments", "list_customers", "list_products")


def check_mode(asker: Asker) -> None:
    """
    Make sure that nothing is written where money is real.

    Raises:
        ConfigurationError: It is, or nothing says that it is not.
    """
    if not asker.knows("caller"):
        msg = "--write acts for somebody: set STRIPE_SERVICE_TOKEN"
        raise ConfigurationError(msg)
    for name in _TELLING:
        if name not in _ROUTES:
            continue
        reply = asker.ask("GET", _ROUTES[name].path, who="caller")
        content = reply.content if reply.status == 200 else None
        if not isinstance(content, dict):
            continue
        listed = content.get("data")
        one: Any = listed[0] if isinstance(listed, list) and listed else content
        if not isinstance(one, dict) or not isinstance(one.get("livemode"), bool):
            continue
        if one["livemode"]:
            msg = "this service works with real money, so nothing is written: --live says that it is meant"
            raise ConfigurationError(msg)
        return
    msg = "nothing says that this service is in test mode, so nothing is written: --live says that it is meant"
    raise ConfigurationError(msg)


class Writer:
    """
    Makes what a sale takes, and checks each of it. *live*: nothing is charged and nobody subscribed.

    All of it bears ``atom_stripe_smoke`` in its metadata, and stays: Stripe deletes little.
    """

    def __init__(self, examiner: Examiner, *, live: bool) -> None:
        self._examiner = examiner
        self._live = live
        self._run = uuid.uuid4().hex

    def write(self) -> None:
        """Go through all steps. One that needs what another could not make is left out."""
        marked = {"metadata": {MARK: self._run}}
        customer = {"email": f"smoke-{self._run[:12]}@example.com", "name": "atom-stripe smoke", **marked}
        buyer = self._send("create_customer", customer)
        if buyer is not None:
            again = self._send("create_customer", customer, check="the same key again")
            self._same("create_customer", "one customer for one key", buyer, again, "id")
            self._found("get_customer", buyer, "email")
            self._send("update_customer", {"name": "atom-stripe smoke, changed"}, identity=buyer["id"])
        product = self._send("create_product", {"name": "atom-stripe smoke", **marked})
        price = None
        if product is not None:
            self._found("get_product", product, "name")
            body = {"product": product["id"], "currency": "usd", "unit_amount": 1000, "recurring": {"interval": "month"}, **marked}
            price = self._send("create_price", body)
        self._pay(buyer, marked)
        if buyer is not None and not self._live:
            self._send("create_setup_intent", {"customer": buyer["id"], **marked})
        if buyer is not None and price is not None and not self._live:
            self._subscribe(buyer, price)
        self._examiner.catch_up()

    def _pay(self, buyer: Mapping[str, Any] | None, marked: Mapping[str, Any]) -> None:
        body: dict[str, Any] = {"amount": 2000, "currency": "usd", **marked}
        if buyer is not None:
            body["customer"] = buyer["id"]
        if self._live:
            # No card of ours is to be charged: the payment is made, and nobody completes it.
            if (payment := self._send("create_payment", body)) is not None:
                self._found("get_payment", payment, "amount")
            return
        payment = self._send("create_payment", {**body, "payment_method": "pm_card_visa", "confirm": True})
        if payment is not None:
            self._equal("create_payment", "paid", payment.get("status") == "succeeded", "the payment did not succeed")
            self._found("get_payment", payment, "amount")
            refund = self._send("create_refund", {"payment_intent": payment["id"], "amount": 500})
            if refund is not None:
                self._equal("create_refund", "amount", refund.get("amount") == 500, "another amount was given back")
                self._found("get_refund", refund, "amount")
            much = {"payment_intent": payment["id"], "amount": 2000}
            self._send("create_refund", much, check="more than was paid", expected=(400,), refused=True)
        declined = {**body, "payment_method": "pm_card_visa_chargeDeclined", "confirm": True}
        self._send("create_payment", declined, check="declined card", expected=(402,), refused=True)

    def _subscribe(self, buyer: Mapping[str, Any], price: Mapping[str, Any]) -> None:
        made = self._send("create_subscription", {"customer": buyer["id"], "items": [{"price": price["id"]}]})
        sold = {
            "mode": "subscription",
            "success_url": "https://shop.example/",
            "line_items": [{"price": price["id"], "quantity": 1}],
        }
        self._send("create_checkout_session", {**sold, "customer": buyer["id"]})
        if made is not None:
            self._found("get_subscription", made, "customer")
            self._send("cancel_subscription", None, identity=made["id"])

    def _send(
        self,
        name: str,
        body: Mapping[str, Any] | None,
        *,
        check: str = "write",
        identity: str = "",
        expected: tuple[int, ...] = (),
        refused: bool = False,
    ) -> dict[str, Any] | None:
        """Return what a write made, if it went well."""
        operation = _ROUTES.get(name)
        if operation is None or operation.name not in self._examiner.mounted:
            return None
        headers = {"content-type": "application/json"} if body is not None else {}
        if operation.writes:
            # One for each body, so that the same one again is the same request.
            key = uuid.uuid5(uuid.UUID(self._run), json.dumps([name, identity, body], sort_keys=True))
            headers["idempotency-key"] = f"smoke-{key}"
        probe = Probe(
            check=check,
            path=filled(operation.path, identity),
            expected=expected or (operation.status,),
            who=who_may(operation),
            headers=headers,
            content=b"" if body is None else json.dumps(body).encode(),
            refused=refused,
        )
        reply = self._examiner.asker.ask(operation.method, probe.path, who=probe.who, headers=probe.headers, content=probe.content)
        fine = self._examiner.judge(operation, f"{operation.method} {operation.path}", probe, reply)
        content = reply.content
        if not fine or refused or not isinstance(content, dict) or not str(content.get("id", "")).replace("_", "").isalnum():
            return None
        if operation.method == "POST":
            self._examiner.learned(operation.path, content["id"])
        return content

    def _found(self, name: str, made: Mapping[str, Any], field: str) -> None:
        """Get what was made, and compare it."""
        if name in _ROUTES and name in self._examiner.mounted:
            found = self._send(name, None, check="what was made", identity=str(made["id"]))
            self._same(name, f"the {field} that was made", made, found, field)

    def _same(self, name: str, check: str, made: Mapping[str, Any], found: Mapping[str, Any] | None, field: str) -> None:
        if found is not None:
            self._equal(name, check, made.get(field) == found.get(field), f"{field} is another")

    def _equal(self, name: str, check: str, fine: bool, message: str) -> None:  # noqa: FBT001 - it is what is told
        line = f"{_ROUTES[name].method} {_ROUTES[name].path}"
        self._examiner.note(name, line, check, "passed" if fine else "failed", "" if fine else message)


def deliver(examiner: Examiner, secrets: Sequence[str], *, endpoint: str | None) -> None:
    """Deliver a signed event that nothing is to be done about, twice: it is taken, and taken for the same."""
    name = "receive_webhook" if endpoint is None else "receive_webhook_at"
    operation = _ROUTES[name]
    if name not in examiner.mounted:
        examiner.note(name, f"POST {operation.path}", "signed delivery", "failed", "not mounted, and --webhook was given")
        return
    now = int(time.time())
    event = {
        "id": f"evt_smoke{uuid.uuid4().hex}",
        "object": "event",
        "api_version": API_VERSION,
        "created": now,
        "data": {"object": {"id": MARK, "object": MARK}},
        "livemode": bool(examiner.livemode),
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "atom_stripe.smoke_test",
    }
    body = json.dumps(event).encode()
    headers = {"content-type": "application/json", "stripe-signature": signature_header(body, secrets, now)}
    path = filled(operation.path, endpoint or "")

    def post(check: str, content: bytes, expected: int) -> Reply:
        probe = Probe(check=check, path=path, expected=(expected,), headers=headers, content=content, refused=expected != 200)
        reply = examiner.asker.ask("POST", path, headers=headers, content=content)
        examiner.judge(operation, f"POST {operation.path}", probe, reply)
        return reply

    post("signed delivery", body, 200)
    post("the same delivery again", body, 200)
    post("changed after it was signed", body.replace(b'"pending_webhooks": 1', b'"pending_webhooks": 2'), 400)
