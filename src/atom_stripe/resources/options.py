"""The options that every call takes, where the generated services import them from."""

from atom_stripe.config import RequestOptions

__all__ = ["RequestOptions"]
