"""From an answer's bytes to objects: a page of a hundred payments."""

from __future__ import annotations

from typing import Any

import payloads
from harness import MILLISECONDS, Effort, Figures, Row, benchmark, seconds_each


@benchmark(
    Row(name="decode_vs_stripe", what="Read a page of 100 payments and three fields of each", better="higher", target=20),
    Row(name="decode_all_vs_stripe", what="The same, and every field of every object on it", better="higher"),
)
def decode(effort: Effort) -> dict[str, Figures]:
    """Go from bytes to objects on each side's own way, without the request around it."""
    import orjson
    import stripe
    from stripe._stripe_response import StripeResponse

    from atom_stripe._wire import decoding
    from atom_stripe._wire.messages import Reply
    from atom_stripe.models.base import View

    body = payloads.payment_intents()
    official = stripe.StripeClient("sk_test_00000000000000000000000000")

    def our_page() -> Any:
        return decoding.decode(Reply(200, {}, body), reads=True)

    def their_page() -> Any:
        return official.deserialize(StripeResponse(body.decode(), 200, {}), api_mode="V1")

    def ours() -> list[tuple[object, ...]]:
        return [(payment.id, payment.amount, payment.status) for payment in our_page().data]

    def theirs() -> list[tuple[object, ...]]:
        return [(payment.id, payment.amount, payment.status) for payment in their_page().data]

    def ours_whole() -> int:
        return _fields(our_page(), View)

    def theirs_whole() -> int:
        return _fields(their_page(), stripe.StripeObject)

    if our_page().to_dict() != orjson.loads(body):
        raise RuntimeError("the page lost something on the way")
    if ours() != theirs() or ours_whole() != theirs_whole():
        raise RuntimeError("the contenders read different things")
    taken = seconds_each({"ours": ours, "theirs": theirs, "ours_whole": ours_whole, "theirs_whole": theirs_whole}, effort)
    return {
        "decode_vs_stripe": Figures(MILLISECONDS, taken["ours"], taken["theirs"], {"bytes": len(body)}),
        "decode_all_vs_stripe": Figures(MILLISECONDS, taken["ours_whole"], taken["theirs_whole"], {"fields": ours_whole()}),
    }


def _fields(value: Any, kind: type[Any]) -> int:
    """Return how many plain values there are in *value*, an object of *kind*, having read each one."""
    if isinstance(value, kind):
        return sum(_fields(value[name], kind) for name in _data(value))
    if isinstance(value, (list, dict)):
        return sum(_fields(entry, kind) for entry in (value.values() if isinstance(value, dict) else value))
    return 1


def _data(value: Any) -> dict[str, Any]:
    """Return where *value* keeps its fields: neither side has a public way to their names that costs nothing."""
    data: dict[str, Any] = value._raw if hasattr(type(value), "_raw") else value._data  # noqa: SLF001
    return data
