"""Verifying and reading a delivery: ``WebhookVerifier.verify``, ``stripe.Webhook.construct_event``, and the least it could cost."""

from __future__ import annotations

import hmac
import time

import payloads
from harness import MICROSECONDS, Effort, Figures, Row, benchmark, seconds_each

SECRET = "whsec_00000000000000000000000000000000"


@benchmark(
    Row(name="verify_vs_stripe", what="Verify and read a webhook of 6 KB, against the official SDK", better="higher", target=25),
    Row(name="verify_vs_floor", what="The same, against HMAC and orjson alone", better="lower", target=2.5),
)
def verify(effort: Effort) -> dict[str, Figures]:
    """Read the same four fields of the same bytes. The floor checks nothing and types nothing."""
    import orjson
    import stripe

    from atom_stripe import WebhookVerifier

    body, key = payloads.invoice_event(), SECRET.encode()
    timestamp = int(time.time())
    signature = f"t={timestamp},v1={hmac.new(key, b'%d.%b' % (timestamp, body), 'sha256').hexdigest()}"
    verifier = WebhookVerifier(SECRET)

    def ours() -> tuple[object, ...]:
        event = verifier.verify(body, signature)
        invoice = event.data.object  # type: ignore[union-attr]
        return event.type, invoice.id, invoice.amount_due, invoice.customer

    def theirs() -> tuple[object, ...]:
        event = stripe.Webhook.construct_event(body, signature, SECRET)
        invoice = event.data.object
        return event.type, invoice.id, invoice.amount_due, invoice.customer

    def floor() -> tuple[object, ...]:
        hmac.digest(key, body, "sha256")
        event = orjson.loads(body)
        invoice = event["data"]["object"]
        return event["type"], invoice["id"], invoice["amount_due"], invoice["customer"]

    if not ours() == theirs() == floor():
        raise RuntimeError("the contenders read different things")
    if verifier.verify(body, signature).to_dict() != orjson.loads(body):
        raise RuntimeError("the event lost something on the way")
    taken = seconds_each({"ours": ours, "theirs": theirs, "floor": floor}, effort)
    return {
        "verify_vs_stripe": Figures(MICROSECONDS, taken["ours"], taken["theirs"], {"bytes": len(body)}),
        "verify_vs_floor": Figures(MICROSECONDS, taken["ours"], taken["floor"]),
    }
