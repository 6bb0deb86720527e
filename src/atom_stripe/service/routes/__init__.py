"""Every route there is, by what it is about."""

from __future__ import annotations

from atom_stripe.service.routes import connecting, home, payments, receiving

OPERATIONS = (
    *home.OPERATIONS,
    *payments.OPERATIONS,
    *receiving.OPERATIONS,
    *connecting.OPERATIONS,
)
