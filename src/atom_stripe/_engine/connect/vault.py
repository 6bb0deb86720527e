"""Tokens in and out of rows: encrypted when they are stored, decrypted when they are used, and never older than we know."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from atom_stripe._wire.sealing import NONCE_BYTES, fingerprint, key_of, seal, unseal
from atom_stripe.errors import ReplayedTokenError, UnknownKeyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe._engine.connect.ports import Keys
    from atom_stripe.protocols import DataKey, TokenRecord

# Forgetting is harmless: what is remembered only notices rows that went back in time while this process ran.
_MOST_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Vault:
    """Encrypts and decrypts the tokens of rows."""

    keys: Keys
    random: Callable[[int], bytes]
    _generations: dict[str, int] = field(default_factory=dict, repr=False)

    async def key(self) -> DataKey:
        """Return the key to encrypt with. It is asked for before a token is spent: later the key service may be away."""
        return await self.keys.current()

    def put(self, record: TokenRecord, access_token: str, refresh_token: str | None, key: DataKey) -> TokenRecord:
        """Return *record* with these tokens in it. Everything else that the encryption is bound to must be in it already."""
        return replace(
            record,
            key_id=key.id,
            access_token=seal(access_token, key=key, column="access_token", record=record, nonce=self.random(NONCE_BYTES)),
            refresh_token=None
            if refresh_token is None
            else seal(refresh_token, key=key, column="refresh_token", record=record, nonce=self.random(NONCE_BYTES)),
            access_token_fingerprint=fingerprint(access_token, self.keys.provider.lookup_keys()[0]),
        )

    async def access_token(self, record: TokenRecord) -> str | None:
        """Return the access token in *record*."""
        return None if record.access_token is None else await self._open(record, "access_token", record.access_token)

    async def refresh_token(self, record: TokenRecord) -> str | None:
        """Return the refresh token in *record*."""
        return None if record.refresh_token is None else await self._open(record, "refresh_token", record.refresh_token)

    async def _open(self, record: TokenRecord, column: str, sealed: str) -> str:
        try:
            key = await self.keys.get(*key_of(sealed, record))
        except UnknownKeyError as error:
            error.connection_id = record.id
            raise
        return unseal(sealed, key=key, column=column, record=record)

    def fingerprints(self, access_token: str) -> frozenset[str]:
        """Return all names under which a row with *access_token* could be stored."""
        return frozenset(fingerprint(access_token, secret) for secret in self.keys.provider.lookup_keys())

    def known_generation(self, record: TokenRecord) -> int:
        """Return the highest generation of this row that this process has seen."""
        return self._generations.get(record.id, 0)

    def remember(self, record: TokenRecord) -> None:
        """Note that this generation was seen."""
        if record.generation > self._generations.get(record.id, 0):
            if len(self._generations) >= _MOST_REMEMBERED:
                self._generations.clear()
            self._generations[record.id] = record.generation

    def check(self, record: TokenRecord, known: int) -> None:
        """Raise ``ReplayedTokenError`` if *record* is older than *known*, a generation that was seen before it was read."""
        if record.generation < known:
            msg = f"the row of connection {record.id} is older than one that was there before: somebody put it back"
            raise ReplayedTokenError(msg, connection_id=record.id)
