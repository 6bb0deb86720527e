"""Encrypting and decrypting a stored token: ``seal`` and ``unseal``, against AES-GCM alone."""

from __future__ import annotations

import os

from harness import MICROSECONDS, Effort, Figures, Row, benchmark, seconds_each

# As long as Stripe's are.
TOKEN = "sk_acct_" + "x" * 99


@benchmark(
    Row(name="seal_vs_aesgcm", what="Encrypt a token for its row, against AES-GCM alone", better="lower", target=4),
    Row(name="unseal_vs_aesgcm", what="Decrypt it and check its row and generation, against AES-GCM alone", better="lower"),
)
def sealing(effort: Effort) -> dict[str, Figures]:
    """Both sides take a new nonce for each token; the other side has its associated data ready and writes no text."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from atom_stripe._wire.sealing import seal, unseal
    from atom_stripe.keys import Keyring
    from atom_stripe.protocols import TokenRecord

    key = Keyring.generate().current()
    row = TokenRecord(
        id="con_0123456789abcdef",
        user_id="user_1",
        profile="stripe_app",
        livemode=True,
        account="acct_1MZ0nXXXXXXXXXXX",
        generation=7,
    )
    aead, plain, place = AESGCM(key.secret), TOKEN.encode(), b"p" * 120
    sealed = seal(TOKEN, key=key, column="access_token", record=row, nonce=os.urandom(12))
    nonce = os.urandom(12)
    encrypted = aead.encrypt(nonce, plain, place)

    def ours() -> str:
        return seal(TOKEN, key=key, column="access_token", record=row, nonce=os.urandom(12))

    def theirs() -> bytes:
        return aead.encrypt(os.urandom(12), plain, place)

    def ours_back() -> str:
        return unseal(sealed, key=key, column="access_token", record=row)

    def theirs_back() -> bytes:
        return aead.decrypt(nonce, encrypted, place)

    if ours_back() != TOKEN or theirs_back() != plain:
        raise RuntimeError("a token did not come back")
    taken = seconds_each({"ours": ours, "theirs": theirs, "ours_back": ours_back, "theirs_back": theirs_back}, effort)
    return {
        "seal_vs_aesgcm": Figures(MICROSECONDS, taken["ours"], taken["theirs"], {"characters": len(sealed)}),
        "unseal_vs_aesgcm": Figures(MICROSECONDS, taken["ours_back"], taken["theirs_back"]),
    }
