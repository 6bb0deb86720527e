"""
The keys that tokens are encrypted with: ``Keyring`` for configured ones, ``EnvelopeKeys`` for those that a key service (KMS) guards.

Rule: nothing here holds a lock. What threads share changes by single operations on dicts, so that a fork in the middle of anything leaves
nobody waiting.
"""

from __future__ import annotations

from atom_stripe.keys.envelopes import AsyncEnvelopeKeys, AsyncKeyWrapper, EnvelopeKeys, KeyWrapper
from atom_stripe.keys.keyring import Keyring

__all__ = ["AsyncEnvelopeKeys", "AsyncKeyWrapper", "EnvelopeKeys", "KeyWrapper", "Keyring"]
