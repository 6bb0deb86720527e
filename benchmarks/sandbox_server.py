"""A sandbox in a process of its own, with one customer. It prints its address and the customer's id, and runs until its standard input ends."""

from __future__ import annotations

import json
import sys

from atom_stripe.testing import StripeSandbox

if __name__ == "__main__":
    with StripeSandbox() as sandbox:
        customer = sandbox.client().customers.create(
            email="jenny@example.com", name="Jenny Rosen", metadata={"order": "42"}, address={"country": "US"}
        )
        print(json.dumps({"url": sandbox.serve().url, "customer": customer.id}), flush=True)
        sys.stdin.read()
