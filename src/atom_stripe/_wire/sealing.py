"""
Encrypted tokens, each readable in its own place only.

A sealed token is ``as1:<key id>:<wrapped key or nothing>:<nonce and ciphertext>``, the last two in base64; the cipher is AES-256-GCM. Its
associated data names the table, the column and the row, so that a token which was copied elsewhere cannot be read there. The generation
counts up with each refresh and is encrypted with the token, so that an older token which was put back is noticed.
"""

from __future__ import annotations

import base64
import hmac
import re
from binascii import Error, a2b_base64, b2a_base64
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from atom_stripe.errors import ConfigurationError, InvalidResponseError, ReplayedTokenError, TamperedTokenError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from atom_stripe.protocols import DataKey, TokenRecord

NONCE_BYTES = 12
LONGEST_TOKEN = 16_384
"""In bytes. Stripe's have about a hundred; what can be sealed can be read again."""
FERNET = "fernet"
"""The key id of what another program encrypted with Fernet. It is read, never written: Fernet binds nothing to its row."""

_LABEL = "as1"
_TABLE = "stripe_oauth_tokens"
# A sealed token of the longest kind, with room for a wrapped key.
_LONGEST_SEALED = 65_536
_LONGEST_WRAPPED = 8192
_TAG_BYTES = 16
_GENERATION_BYTES = 8
_HEAD = re.compile(r"as1:([A-Za-z0-9._-]{1,64}):([A-Za-z0-9+/=]*):")
_FERNET_START = "gAAAA"


def seal(token: str, *, key: DataKey, column: str, record: TokenRecord, nonce: bytes) -> str:
    """
    Return *token* encrypted for *column* of *record*, with the generation that *record* has.

    *nonce*: 12 random bytes that were never used before.
    """
    if key.id == FERNET:
        msg = "a Fernet key only decrypts; put a key of this package first"
        raise ConfigurationError(msg)
    if len(nonce) != NONCE_BYTES:
        msg = f"a nonce has {NONCE_BYTES} bytes"
        raise ValueError(msg)
    plain = token.encode("utf-8", "surrogatepass")
    if len(plain) > LONGEST_TOKEN:
        msg = f"the token is longer than {LONGEST_TOKEN} bytes, so it is none of Stripe's"
        raise InvalidResponseError(msg)
    cipher, _ = _cipher(key.secret)
    generation = record.generation.to_bytes(_GENERATION_BYTES, "big")
    encrypted = cipher.encrypt(nonce, generation + plain, _place(key.id, column, record))
    return _head(key) + b2a_base64(nonce + encrypted, newline=False).decode("ascii")


def key_of(sealed: str, record: TokenRecord) -> tuple[str, bytes]:
    """Return the id of the key that *sealed*, from the row *record*, was encrypted with, and the key itself as a key service wrapped it."""
    _check_size(sealed, record)
    if sealed.startswith(_FERNET_START) and record.key_id == FERNET:
        return FERNET, b""
    head = _HEAD.match(sealed)
    if head is None or len(head[2]) > _LONGEST_WRAPPED or head[1] == FERNET:
        _refuse(record)
    return head[1], _decoded(head[2], record)


def unseal(sealed: str, *, key: DataKey, column: str, record: TokenRecord) -> str:
    """
    Return the token that *sealed*, from *column* of *record*, holds. *key* is the one that ``key_of`` names.

    Raises:
        TamperedTokenError: It was changed, or it was not written for this place.
        ReplayedTokenError: It was written for this place, at another generation of the row.
    """
    _check_size(sealed, record)
    if key.id == FERNET:
        return _from_fernet(sealed, key, record)
    head = _head(key)
    if not sealed.startswith(head):
        _refuse(record)
    data = _decoded(sealed[len(head) :], record)
    if len(data) < NONCE_BYTES + _GENERATION_BYTES + _TAG_BYTES:
        _refuse(record)
    cipher, invalid_tag = _cipher(key.secret)
    try:
        plain = cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _place(key.id, column, record))
        token = plain[_GENERATION_BYTES:].decode("utf-8", "surrogatepass")
    except (invalid_tag, UnicodeDecodeError):
        _refuse(record)
    if int.from_bytes(plain[:_GENERATION_BYTES], "big") != record.generation:
        msg = "a token of another generation stands in this row: an older one was put back, or the row without its tokens was"
        raise ReplayedTokenError(msg, connection_id=record.id)
    return token


def fingerprint(token: str, secret: bytes) -> str:
    """Return the hash that *token* is looked up by: HMAC-SHA256 under *secret*, in hex."""
    return hmac.digest(secret, token.encode("utf-8", "surrogatepass"), "sha256").hex()


def _place(key_id: str, column: str, record: TokenRecord) -> bytes:
    """Return the associated data. Each part has its length before it, so no two places give the same bytes."""
    row, user, profile, account = record.id, record.user_id, record.profile, record.account
    whose = "-" if account is None else f"{len(account)}:{account}"
    return (
        f"atom_stripe/v1|{_TABLE}|{len(column)}:{column}|{len(row)}:{row}|{len(user)}:{user}|{len(profile)}:{profile}|{whose}"
        f"|{'live' if record.livemode else 'test'}|{key_id}"
    ).encode("utf-8", "surrogatepass")


def _head(key: DataKey) -> str:
    wrapped = b2a_base64(key.wrapped, newline=False).decode("ascii") if key.wrapped else ""
    return f"{_LABEL}:{key.id}:{wrapped}:"


def _check_size(sealed: object, record: TokenRecord) -> None:
    if not isinstance(sealed, str) or not 0 < len(sealed) <= _LONGEST_SEALED or not sealed.isascii():
        _refuse(record)


def _decoded(text: str, record: TokenRecord) -> bytes:
    try:
        data = a2b_base64(text)
    except Error:
        _refuse(record)
    # The decoder passes over foreign characters, and over the spare bits of the last digit.
    if b2a_base64(data, newline=False).decode("ascii") != text:
        _refuse(record)
    return data


def _from_fernet(sealed: str, key: DataKey, record: TokenRecord) -> str:
    if record.key_id != FERNET:
        _refuse(record)
    cipher, invalid_token = _fernet(key.secret)
    try:
        return cipher.decrypt(sealed).decode("utf-8")
    except (invalid_token, UnicodeDecodeError):
        _refuse(record)


def _refuse(record: TokenRecord) -> NoReturn:
    msg = "this stored token was not written for this row and column, or it was changed"
    raise TamperedTokenError(msg, connection_id=record.id) from None


# Making a cipher takes longer than using it.
@lru_cache(maxsize=256)
def _cipher(secret: bytes) -> tuple[AESGCM, type[Exception]]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(secret), InvalidTag


@lru_cache(maxsize=16)
def _fernet(secret: bytes) -> tuple[Fernet, type[Exception]]:
    from cryptography.fernet import Fernet, InvalidToken

    return Fernet(base64.urlsafe_b64encode(secret)), InvalidToken
