"""Keys that are configured, and how they are written."""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b64encode
from binascii import Error, a2b_base64
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn, Self

from pydantic import SecretStr

from atom_stripe.errors import ConfigurationError, UnknownKeyError
from atom_stripe.protocols import DataKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

KEY_BYTES = 32
KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
FERNET = "fernet"
# 32 random bytes have about 30 different ones. Fewer than this many come once in more than 10**15 keys.
_FEWEST_DIFFERENT = 16
_FEWEST_STEPS = 8
_HELP = "`atom-stripe keys generate` makes one"


class Keyring:
    """
    Configured keys: the first encrypts, all decrypt.

    *keys*: each ``id:key``, as ``Keyring.generate_key()`` returns it; the key is 32 random bytes in base64, of either alphabet. To rotate, put a new
    key in front and keep the older ones until nothing is encrypted with them. The id ``fernet``, never first, is for the key of tokens that
    another program encrypted with Fernet. These are bound to no row, so take the key out when the last of them is gone.

    Raises:
        ConfigurationError: There is no key, or one is malformed, weak or there twice. The message shows nothing of it.
    """

    __slots__ = ("_keys", "_lookup_keys")

    def __init__(self, keys: Sequence[str | SecretStr]) -> None:
        self._keys = parse_keys(keys, "token_keys")
        self._lookup_keys = tuple(lookup_key(key) for key in self._keys.values() if key.id != FERNET)

    @staticmethod
    def generate_key(id: str | None = None, *, day: date | None = None) -> str:
        """Return a new key for ``Keyring``, as ``id:key``. Without an *id* it is named after *day*, today (UTC) by default: ``2026-11-23-3f9a``."""
        name = f"{(day or datetime.now(UTC).date()).isoformat()}-{secrets.token_hex(2)}" if id is None else id
        if not isinstance(name, str) or not KEY_ID.fullmatch(name) or name == FERNET:
            msg = f"the id of a key is up to 64 letters, digits and ._-, and not {FERNET!r}"
            raise ConfigurationError(msg)
        return f"{name}:{b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"

    @classmethod
    def generate(cls) -> Self:
        """Return a keyring with one new key, for tests and demonstrations: what it encrypts is lost with it."""
        return cls([cls.generate_key()])

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys, the current one first."""
        return tuple(self._keys)

    def current(self) -> DataKey:
        """Return the key to encrypt with."""
        return next(iter(self._keys.values()))

    def get(self, key_id: str, wrapped: bytes = b"", /) -> DataKey:
        """Return the key that something was encrypted with. Raises ``UnknownKeyError`` if it is not one of these."""
        key = None if wrapped else self._keys.get(key_id)
        if key is None:
            unknown_key(key_id, wrapped)
        return key

    def lookup_keys(self) -> Sequence[bytes]:
        """Return the secrets that fingerprints are made with, the current one first. They are derived from the keys and decrypt nothing."""
        return self._lookup_keys

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"

    def __reduce__(self) -> NoReturn:
        msg = "a Keyring holds secrets, so it is not pickled: make it in the process that needs it"
        raise TypeError(msg)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def parse_keys(keys: object, name: str) -> dict[str, DataKey]:
    """Return the keys that the setting *name* spells, by their ids."""
    if isinstance(keys, (str, SecretStr)):
        keys = (keys,)
    if not isinstance(keys, (list, tuple)):
        msg = f"{name} are texts (id:key), not {type(keys).__name__}"
        raise ConfigurationError(msg)
    if not keys:
        msg = f"there is no key in {name}; {_HELP}"
        raise ConfigurationError(msg)
    found: dict[str, DataKey] = {}
    for number, text in enumerate(keys, start=1):
        key = _key(text, f"key {number} of {name}")
        if key.id in found:
            msg = f"two of {name} have the id {key.id}; give the new one an id of its own"
            raise ConfigurationError(msg)
        if same := [other.id for other in found.values() if hmac.compare_digest(other.secret, key.secret)]:
            msg = f"{same[0]} and {key.id} in {name} are the same key under two ids; {_HELP}"
            raise ConfigurationError(msg)
        found[key.id] = key
    if next(iter(found)) == FERNET:
        msg = f"a Fernet key only decrypts, so it cannot be the first of {name}: put another before it; {_HELP}"
        raise ConfigurationError(msg)
    return found


def _key(text: object, which: str) -> DataKey:
    """Return the key that *text* spells. No message shows any of it: whoever forgets the colon has put the key where the id belongs."""
    text = text.get_secret_value() if isinstance(text, SecretStr) else text
    if not isinstance(text, str):
        msg = f"{which} is a {type(text).__name__}, not a text (id:key)"
        raise ConfigurationError(msg)
    key_id, colon, encoded = text.strip().partition(":")
    if not colon or not KEY_ID.fullmatch(key_id):
        msg = f"{which} has no id before it; a key is written id:key, and its id is up to 64 letters, digits and ._-"
        raise ConfigurationError(msg)
    # Both alphabets, with and without padding.
    digits = encoded.strip().replace("-", "+").replace("_", "/").rstrip("=")
    try:
        secret = a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
    except (Error, ValueError):
        msg = f"{which} is not base64; {_HELP}"
        raise ConfigurationError(msg) from None
    if len(secret) != KEY_BYTES or b64encode(secret).decode().rstrip("=") != digits:
        msg = f"{which} is not {KEY_BYTES} bytes in base64, so a part of it is missing or too much; {_HELP}"
        raise ConfigurationError(msg)
    if len(set(secret)) < _FEWEST_DIFFERENT or len({(second - first) % 256 for first, second in pairwise(secret)}) < _FEWEST_STEPS:
        msg = f"{which} is not random: it repeats itself; {_HELP}"
        raise ConfigurationError(msg)
    if all(0x20 <= byte < 0x7F for byte in secret):
        msg = f"{which} is not random: it is a text that was written in base64; {_HELP}"
        raise ConfigurationError(msg)
    return DataKey(key_id, secret)


def lookup_key(key: DataKey) -> bytes:
    """Return the secret for fingerprints that goes with *key*. Who has it does not have the key."""
    return hmac.digest(key.secret, b"atom_stripe/v1/token fingerprints", "sha256")


def unknown_key(key_id: str, wrapped: bytes) -> NoReturn:
    """Raise ``UnknownKeyError``."""
    which = f"the key {key_id!r} of a key service" if wrapped else f"the key {key_id!r}"
    msg = f"a token was encrypted with {which}, which is not configured: put it back, behind the current one"
    raise UnknownKeyError(msg, key_id=key_id)
