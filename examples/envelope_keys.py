"""
Tokens whose keys are guarded by a key service (KMS): what is stored, and who is asked when.

    python examples/envelope_keys.py

The service here is a stand-in that runs in this program. For a real one, put the two calls of its client into ``wrap`` and ``unwrap``.
"""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from atom_stripe._wire.sealing import key_of, seal, unseal
from atom_stripe.errors import TamperedTokenError
from atom_stripe.keys import EnvelopeKeys, Keyring
from atom_stripe.protocols import DataKey, TokenRecord


class LocalKeyService:
    """Encrypts and decrypts data keys with a master key that never leaves it."""

    key_id = "tokens-1"

    def __init__(self) -> None:
        self._master = AESGCM(AESGCM.generate_key(bit_length=256))

    def wrap(self, key: bytes, /) -> bytes:
        """Encrypt a data key."""
        print("  the service wraps a key")
        nonce = os.urandom(12)
        return nonce + self._master.encrypt(nonce, key, None)

    def unwrap(self, wrapped: bytes, /) -> bytes:
        """Decrypt it again."""
        print("  the service unwraps a key")
        return self._master.decrypt(wrapped[:12], wrapped[12:], None)


def store(row: TokenRecord, key: DataKey) -> str:
    """Return what the manager of connections puts into the column of *row*."""
    return seal("sk_acct_made_up", key=key, column="access_token", record=row, nonce=os.urandom(12))


def main() -> None:
    """Store tokens of three users, and read them as another process would."""
    service = LocalKeyService()
    fingerprint_key = Keyring.generate_key("lookup-1")
    rows = [
        TokenRecord(id=f"con_{number}", user_id=f"user_{number}", profile="stripe_app", livemode=False, account=f"acct_{number}")
        for number in (1, 2, 3)
    ]

    print("Three tokens are stored:")
    keys = EnvelopeKeys(service, fingerprint_key=fingerprint_key)
    stored = [store(row, keys.current()) for row in rows]
    label, key_id, wrapped, token = stored[0].split(":")
    print(f"  in the row: {label}, key {key_id}, {len(wrapped)} characters of wrapped key, {len(token)} of encrypted token")

    print("Another process reads them:")
    keys = EnvelopeKeys(service, fingerprint_key=fingerprint_key)
    for row, sealed in zip(rows, stored, strict=True):
        token = unseal(sealed, key=keys.get(*key_of(sealed, row)), column="access_token", record=row)
        print(f"  {row.user_id} has a token of {len(token)} characters")

    print("Somebody copies the first row's token into the second:")
    try:
        unseal(stored[0], key=keys.get(*key_of(stored[0], rows[1])), column="access_token", record=rows[1])
    except TamperedTokenError as error:
        print(f"  {error}")


if __name__ == "__main__":
    main()
