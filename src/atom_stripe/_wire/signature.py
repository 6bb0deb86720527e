"""
The ``Stripe-Signature`` header: ``t=<seconds>,v1=<hex>[,v1=<hex>…]``.

Each v1 is the HMAC-SHA256 of ``<t>.<body>`` under one secret of the endpoint, the whole secret with its ``whsec_``. While a secret is
being rolled there is one v1 for each. Other schemes are ignored: v0 is a decoy.
Source: https://docs.stripe.com/webhooks#verify-manually
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Room for many secrets; a header that is longer was not made by Stripe.
_LONGEST_HEADER = 4096
_MOST_SIGNATURES = 16
_HEX_DIGITS = 64
# Until the year 5138.
_MOST_TIME_DIGITS = 11
_BLOCK = 64  # bytes, of SHA-256
# hashlib lets other threads run while it hashes 2,048 bytes or more.
_PIECE = 2047
_LONG = 64 * 1024


class Signature(NamedTuple):
    """What a header says: when it was signed, and the v1 signatures, in lower-case hex."""

    timestamp: int
    candidates: list[bytes]


def parse(header: str) -> Signature | None:
    """Return what *header* says, or ``None`` if it is not a header that Stripe would send with something to check in it."""
    if not 0 < len(header) <= _LONGEST_HEADER or not header.isascii():
        return None
    time = ""
    candidates: list[bytes] = []
    for part in header.split(","):
        name, _, value = part.strip(" ").partition("=")
        if name == "t":
            if time:
                return None
            time = value
        elif name == "v1" and len(value) == _HEX_DIGITS:
            candidates.append(value.encode())
    if not (time.isdigit() and len(time) <= _MOST_TIME_DIGITS) or not 0 < len(candidates) <= _MOST_SIGNATURES:
        return None
    return Signature(int(time), candidates)


class SigningKey:
    """
    A secret, ready to sign with: HMAC-SHA256 (RFC 2104), whose two blocks of the key are hashed once and not for each delivery.

    A body of usual size is hashed in pieces that are too short for Python to let other threads run meanwhile: in a busy process it takes longer
    to get the interpreter back than to hash.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        key = secret if len(secret) <= _BLOCK else hashlib.sha256(secret).digest()
        key = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

    def sign(self, body: bytes, timestamp: int) -> bytes:
        """Return the v1 signature of *body* at *timestamp*, in hex."""
        inner = self._inner.copy()
        inner.update(b"%d." % timestamp)
        if len(body) > _LONG:
            inner.update(body)
        else:
            for start in range(0, len(body), _PIECE):
                inner.update(body[start : start + _PIECE])
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest().encode()


def sign(body: bytes, secret: bytes, timestamp: int) -> bytes:
    """Return the v1 signature of *body* under *secret* at *timestamp*, in hex."""
    return SigningKey(secret).sign(body, timestamp)


def matches(signature: Signature, body: bytes, keys: Iterable[SigningKey]) -> bool:
    """Return whether any of *keys* made any of the signatures. Compares in constant time, and never stops at the first hit."""
    found = False
    for key in keys:
        expected = key.sign(body, signature.timestamp)
        for candidate in signature.candidates:
            found |= hmac.compare_digest(expected, candidate)
    return found


def signature_header(body: bytes, secrets: Sequence[str], timestamp: int) -> str:
    """Return the header that Stripe would send with *body*."""
    return ",".join([f"t={timestamp}", *(f"v1={sign(body, secret.encode(), timestamp).decode()}" for secret in secrets)])
