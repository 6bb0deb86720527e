"""
What the worker of ``make demo`` handles: ``atom-stripe worker demo_worker:inbox``.

DATABASE_URL and STRIPE_WEBHOOK_SECRET in the environment say where the inbox is. It ends with the demo, however that ends.
"""

from __future__ import annotations

import os
import threading

from demo_service import make_inbox

from atom_stripe.stores.sql import SqlInboxStore


def end_with_the_demo() -> None:
    """Wait until the demo's end of the pipe is closed, which even kill -9 does."""
    os.read(0, 1)
    os._exit(1)


inbox = make_inbox(SqlInboxStore.from_url(os.environ["DATABASE_URL"]), os.environ["STRIPE_WEBHOOK_SECRET"])
threading.Thread(target=end_with_the_demo, daemon=True).start()
