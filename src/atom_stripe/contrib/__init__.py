"""The routes of ``atom_stripe.service`` in web frameworks: ``contrib.fastapi`` and ``contrib.flask``."""
