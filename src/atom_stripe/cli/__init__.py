"""
The ``atom-stripe`` command: one file for each group of commands, and what they share in ``settings.py``, ``options.py`` and ``output.py``.

Exit codes: 0, fine; 1, something was found wrong; 2, wrong usage or configuration.
"""

from __future__ import annotations

import sys

from atom_stripe.errors import MissingExtraError


def main() -> None:
    """Run the command: the entry point."""
    try:
        from atom_stripe.cli.app import app
    except MissingExtraError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    app(prog_name="atom-stripe")
