"""A sandbox whose clock goes with this machine's, as people and programs expect of a server."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from atom_stripe.testing import StripeSandbox

_TICK = 1.0


@contextmanager
def running(webhook_hosts: Collection[str] = ()) -> Generator[StripeSandbox]:
    """Yield a sandbox in which it is now. What falls due happens: failed deliveries are sent again, trials end."""
    from atom_stripe.testing import StripeSandbox

    with StripeSandbox(start=datetime.now(UTC), webhook_hosts=webhook_hosts) as sandbox:
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(_TICK):
                # This machine's clock may be set back, and the sandbox's only goes forward.
                sandbox.clock.advance_to(max(sandbox.clock.now, datetime.now(UTC)))

        thread = threading.Thread(target=tick, name="stripe-sandbox-clock", daemon=True)
        thread.start()
        try:
            yield sandbox
        finally:
            ended.set()
            thread.join()
