"""Every route there is, by what it is about."""

from __future__ import annotations

from atom_stripe.service.routes import (
    account,
    billing,
    catalogue,
    connecting,
    customers,
    home,
    observing,
    payments,
    receiving,
    search,
    subscriptions,
)

OPERATIONS = (
    *home.OPERATIONS,
    *payments.OPERATIONS,
    *customers.OPERATIONS,
    *subscriptions.OPERATIONS,
    *catalogue.OPERATIONS,
    *account.OPERATIONS,
    *billing.OPERATIONS,
    *search.OPERATIONS,
    *receiving.OPERATIONS,
    *connecting.OPERATIONS,
    *observing.OPERATIONS,
)
