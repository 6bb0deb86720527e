"""Ids that look like Stripe's and depend on the seed alone."""

from __future__ import annotations

import hashlib

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Ids:
    """
    One sequence of ids for each kind of object.

    The kinds do not disturb each other: a test that reads one more object still gets the same ids for those that it makes.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._counts: dict[str, int] = {}

    def new(self, prefix: str, length: int = 24) -> str:
        """Return the next id of a kind: ``new("cus", 14)`` is something like ``cus_NffrFeUfNV2Hib``."""
        return f"{prefix}_{self.token(prefix, length)}"

    def token(self, kind: str, length: int) -> str:
        """Return the next *length* letters and digits (42 at most) of a kind."""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        number = int.from_bytes(hashlib.sha256(f"{self._seed}:{kind}:{count}".encode()).digest())
        letters: list[str] = []
        for _ in range(length):
            number, letter = divmod(number, len(_ALPHABET))
            letters.append(_ALPHABET[letter])
        return "".join(letters)
