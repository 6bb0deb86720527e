"""The marketplace of the examples, as tests see it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atom_stripe.testing import StripeSandbox

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
# Far more than a server needs to start, or a webhook to arrive.
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Market:
    """A running marketplace. *url*: its start page; *database*: where its connections are."""

    url: str
    sandbox: StripeSandbox = field(repr=False)
    database: str

    def payments(self, account: str) -> list[Any]:
        """Return the payments in a merchant's account."""
        return list(self.sandbox.client(stripe_account=account).payment_intents.list())

    def fees(self) -> list[Any]:
        """Return the platform's shares."""
        return list(self.sandbox.client().application_fees.list())

    def removed_by(self, account: str) -> None:
        """Let the merchant remove the platform in Stripe's Dashboard, and wait for the webhook."""
        # The sandbox's clock stands still, and nobody leaves before they came.
        self.sandbox.clock.advance_to(datetime.now(UTC))
        self.sandbox.oauth.deauthorize(account)
        self.sandbox.webhooks.wait(PATIENCE)


def account_in(text: str) -> str:
    """Return the account that a page names."""
    found = re.search(r"acct_\w+", text)
    assert found, text
    return found[0]
