"""``python -m atom_stripe.cli``."""

from __future__ import annotations

from atom_stripe.cli import main

if __name__ == "__main__":
    main()
