"""Where connections and tokens are kept, and what encrypts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn, Protocol, get_args

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

Profile = Literal["connect", "stripe_app"]
"""Which of Stripe's two OAuth servers a grant comes from: Connect's, or that of Stripe Apps."""

ConnectionState = Literal["onboarding", "active", "reauthorization_required", "revoked"]
"""
What a connection can do: ``onboarding``: its account is being made or filled in; ``active``: Stripe can be called for it;
``reauthorization_required``: its grant is dead, and only its user can give a new one; ``revoked``: it was disconnected.
"""

AuthorizationState = Literal["open", "exchanging", "done", "failed"]

PROFILES: tuple[Profile, ...] = get_args(Profile)
CONNECTION_STATES: tuple[ConnectionState, ...] = get_args(ConnectionState)


class Reference(NamedTuple):
    """What a connection is found by: there is one for each user, profile and mode."""

    user_id: str
    profile: Profile
    livemode: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """
    One row of a token store: a user's connection. Times are seconds since 1970.

    *access_token*, *refresh_token*: encrypted, and bound to this row; a store never sees a token. *access_token_fingerprint*: a keyed hash to
    look a token up by. *account*: the account (``acct_…``) that we act for; *stripe_user_id*: the same as OAuth named it, ``None`` for an account
    that was connected without OAuth. *generation*: counts the grants and their refreshes. *version*: counts the writes; 0 is a row that was
    never written. *lease_owner*, *lease_until*: who refreshes the tokens, and until when nobody else will. *intent_key*, *intent_generation*,
    *intent_at*: written before a refresh token is sent: the idempotency key that it is sent under, again and again until its outcome is known.
    *read_at*: when the store read this row, by the clock of the store; ``None`` for stores on the same machine.
    """

    id: str
    user_id: str
    profile: Profile
    livemode: bool
    version: int = 0
    generation: int = 0
    state: ConnectionState = "active"
    account: str | None = None
    stripe_user_id: str | None = None
    stripe_publishable_key: str | None = None
    scope: str | None = None
    token_type: str | None = None
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    access_token_fingerprint: str | None = field(default=None, repr=False)
    key_id: str | None = None
    expires_at: float | None = None
    lease_owner: str | None = None
    lease_until: float | None = None
    intent_key: str | None = field(default=None, repr=False)
    intent_generation: int | None = None
    intent_at: float | None = None
    last_error: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    read_at: float | None = field(default=None, compare=False)

    @property
    def reference(self) -> Reference:
        """What this row is found by."""
        return Reference(self.user_id, self.profile, self.livemode)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenQuery:
    """
    Which rows to find: those that meet everything given here, in the order of their ids, after the id *after*, *limit* at most.

    *expires_before*: rows with an ``expires_at`` before this moment. *not_key_id*: rows that hold a token which another key encrypted.
    *fingerprints*: rows with one of these ``access_token_fingerprint``.
    """

    user_id: str | None = None
    account: str | None = None
    profile: Profile | None = None
    livemode: bool | None = None
    states: frozenset[ConnectionState] | None = None
    expires_before: float | None = None
    not_key_id: str | None = None
    fingerprints: frozenset[str] | None = None
    after: str | None = None
    limit: int = 100

    def matches(self, record: TokenRecord) -> bool:
        """Return whether *record* is one of these rows, whatever the order and number: for stores that look for themselves."""
        return (
            (self.user_id is None or record.user_id == self.user_id)
            and (self.account is None or record.account == self.account)
            and (self.profile is None or record.profile == self.profile)
            and (self.livemode is None or record.livemode == self.livemode)
            and (self.states is None or record.state in self.states)
            and (self.expires_before is None or (record.expires_at is not None and record.expires_at < self.expires_before))
            and (self.not_key_id is None or (record.key_id is not None and record.key_id != self.not_key_id))
            and (self.fingerprints is None or record.access_token_fingerprint in self.fingerprints)
            and (self.after is None or record.id > self.after)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """
    An authorization that a user began: what the ``state`` in Stripe's redirect stands for. Times are seconds since 1970.

    *digest*: the hash of the state, which is kept nowhere. *session*: the hash of what the browser's session holds. *code*: the hash of the code
    that came back. *account*: the account that must come back, if only that one will do. *connection_id*: the row that it led to.
    *version*: counts the writes; 0 was never written. *read_at*: as in ``TokenRecord``. A store may drop a row once it is older than *expires_at*
    less *created_at*, by whatever clock.
    """

    digest: str
    user_id: str
    profile: Profile
    livemode: bool
    session: str = field(repr=False)
    redirect_uri: str
    scope: str | None
    expires_at: float
    version: int = 0
    state: AuthorizationState = "open"
    account: str | None = None
    code: str | None = field(default=None, repr=False)
    connection_id: str | None = None
    error: str | None = None
    created_at: float = 0.0
    read_at: float | None = field(default=None, compare=False)


class TokenStore(Protocol):
    """
    Where connections and their encrypted tokens are kept.

    Promises: what ``save`` said was written survives a crash and is seen by every later ``load``, in every process. Between the ``load`` of a
    version and the ``save`` that names it, nobody else's write is overwritten. Any number of threads may call. Rows are
    never deleted by a store. A store that cannot do its work raises ``StoreError``.
    """

    def load(self, reference: Reference, /) -> TokenRecord | None:
        """Return the row of *reference*, ``None`` if there is none."""
        ...

    def save(self, record: TokenRecord, /) -> bool:
        """
        Write *record* as version ``record.version + 1``, if the stored row still has the version ``record.version``.

        Version 0 inserts, if neither the id nor the reference is taken. Returns whether it was written.
        """
        ...

    def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """Return the rows that *query* asks for."""
        ...

    def load_authorization(self, digest: str, /) -> Authorization | None:
        """Return the authorization under *digest*, ``None`` if there is none."""
        ...

    def save_authorization(self, authorization: Authorization, /) -> bool:
        """Write *authorization* as ``save`` does: version 0 inserts if the digest is free, others replace their own version."""
        ...


class AsyncTokenStore(Protocol):
    """As ``TokenStore``, with the same promises, for async programs."""

    async def load(self, reference: Reference, /) -> TokenRecord | None:
        """Return the row of *reference*, ``None`` if there is none."""
        ...

    async def save(self, record: TokenRecord, /) -> bool:
        """
        Write *record* as version ``record.version + 1``, if the stored row still has the version ``record.version``.

        Version 0 inserts, if neither the id nor the reference is taken. Returns whether it was written.
        """
        ...

    async def find(self, query: TokenQuery, /) -> Sequence[TokenRecord]:
        """Return the rows that *query* asks for."""
        ...

    async def load_authorization(self, digest: str, /) -> Authorization | None:
        """Return the authorization under *digest*, ``None`` if there is none."""
        ...

    async def save_authorization(self, authorization: Authorization, /) -> bool:
        """Write *authorization* as ``save`` does: version 0 inserts if the digest is free, others replace their own version."""
        ...


@dataclass(frozen=True, slots=True)
class DataKey:
    """
    A key that encrypts tokens: 32 bytes, under an id of up to 64 letters, digits and ``._-``.

    *wrapped*: the key itself as a key service encrypted it, to be kept beside what it encrypts; empty for keys that are configured.
    """

    id: str
    secret: bytes = field(repr=False)
    wrapped: bytes = field(default=b"", repr=False)

    def __reduce__(self) -> NoReturn:
        msg = "a DataKey is not pickled: get it from its provider where it is needed"
        raise TypeError(msg)


class KeyProvider(Protocol):
    """
    Where keys come from. ``Keyring`` holds configured keys, ``EnvelopeKeys`` asks a key service (KMS).

    Promises: the key that ``current`` returned can be had from ``get`` for as long as anything is encrypted with it.
    """

    def current(self) -> DataKey:
        """Return the key to encrypt with."""
        ...

    def get(self, key_id: str, wrapped: bytes, /) -> DataKey:
        """Return the key that something was encrypted with. Raises ``UnknownKeyError`` if it cannot be had."""
        ...

    def lookup_keys(self) -> Sequence[bytes]:
        """Return the secrets that fingerprints are made with, the current one first. They do not decrypt anything."""
        ...


class AsyncKeyProvider(Protocol):
    """As ``KeyProvider``, for key services with an async client."""

    def current(self) -> Awaitable[DataKey]:
        """Return the key to encrypt with."""
        ...

    def get(self, key_id: str, wrapped: bytes, /) -> Awaitable[DataKey]:
        """Return the key that something was encrypted with. Raises ``UnknownKeyError`` if it cannot be had."""
        ...

    def lookup_keys(self) -> Sequence[bytes]:
        """Return the secrets that fingerprints are made with, the current one first. They do not decrypt anything."""
        ...
