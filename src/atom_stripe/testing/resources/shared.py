"""Parts that several objects have: addresses, shipping, descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe.testing._state.params import Hash, Metadata, Text, merged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.params import Parameter
    from atom_stripe.testing._state.store import Row

_ADDRESS_FIELDS = ("city", "country", "line1", "line2", "postal_code", "state")

ADDRESS: dict[str, Parameter] = {name: Text() for name in _ADDRESS_FIELDS}
METADATA: dict[str, Parameter] = {"metadata": Metadata()}
SHIPPING = Hash(
    {
        "address": Hash(ADDRESS, required=True),
        "carrier": Text(),
        "name": Text(required=True, unsettable=False),
        "phone": Text(),
        "tracking_number": Text(),
    },
    unsettable=True,
)
BILLING_DETAILS = Hash(
    {
        "address": Hash(ADDRESS, unsettable=True),
        "email": Text(longest=512),
        "name": Text(),
        "phone": Text(),
        "tax_id": Text(),
    }
)


def address(sent: Mapping[str, Any] | None) -> Row | None:
    """Return an address with all its fields. It is replaced as a whole: what was not sent is empty."""
    return None if sent is None else {name: sent.get(name) for name in _ADDRESS_FIELDS}


def shipping(sent: Mapping[str, Any] | None) -> Row | None:
    """Return where something is sent to, as payments and charges hold it."""
    if sent is None:
        return None
    return {
        "address": address(sent["address"]),
        "carrier": sent.get("carrier"),
        "name": sent["name"],
        "phone": sent.get("phone"),
        "tracking_number": sent.get("tracking_number"),
    }


def billing_details(sent: Mapping[str, Any] | None, old: Mapping[str, Any] | None = None) -> Row:
    """Return billing details, with what was sent in place of the old ones."""
    new = {**(old or {}), **(sent or {})}
    result = {name: new.get(name) for name in ("email", "name", "phone", "tax_id")}
    return {"address": address(new.get("address") or {}), **result}


def assign(row: Row, params: Mapping[str, Any], *names: str) -> None:
    """Put the parameters *names* that were sent into *row*; metadata is merged."""
    for name in names:
        if name in params:
            row[name] = params[name]
    if "metadata" in params:
        row["metadata"] = merged(row.get("metadata") or {}, params["metadata"])
