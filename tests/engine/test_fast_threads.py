"""The fast transport in servers that have a thread for each request."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import threading
from atom_stripe import StripeClient
from atom_stripe.testing import StripeSandbox

with StripeSandbox() as sandbox, sandbox.serve() as server:
    def request():
        with StripeClient(config=server.config(transport="fast")) as stripe:
            stripe.customers.list(limit=1)

    for _ in range(25):
        thread = threading.Thread(target=request)
        thread.start()
        thread.join()
print("still here")
"""


def test_the_thread_that_loaded_it_ends() -> None:
    """A process goes on when the thread in which the first request loaded pyreqwest has ended."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "still here\n", "")
