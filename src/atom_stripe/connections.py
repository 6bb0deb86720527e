"""What an ``OAuthManager`` tells of a user's connection: values without secrets, and the one value that holds an access token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pydantic import SecretStr

    from atom_stripe.protocols import ConnectionState, Profile, TokenRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """
    A user's connection to a Stripe account. It holds no secret. Times are seconds since 1970.

    *account*: the account (``acct_…``) that calls act for; ``None`` while it is still being made. *stripe_user_id*: the same as OAuth named
    it; ``None`` for an account that was onboarded without OAuth. *stripe_publishable_key*: for browsers. *expires_at*: the end of the present
    access token, ``None`` if it has none. *last_error*: OAuth's word for what ended the grant, or kept it from being renewed. *created_at*:
    when the user connected.
    """

    id: str
    user_id: str
    profile: Profile
    livemode: bool
    state: ConnectionState
    account: str | None
    stripe_user_id: str | None
    stripe_publishable_key: str | None
    scope: str | None
    expires_at: float | None
    generation: int
    last_error: str | None
    created_at: float
    updated_at: float

    @classmethod
    def of(cls, record: TokenRecord) -> Connection:
        """Return what may be told of a stored row."""
        return cls(**{name: getattr(record, name) for name in cls.__slots__})

    @property
    def connected(self) -> bool:
        """Whether Stripe can be called for this account with a grant that is alive."""
        return self.account is not None and self.state in {"active", "onboarding"}


@dataclass(frozen=True, slots=True)
class AccessToken:
    """
    A user's access token, for calls of your own. Ask for it again before each use: it is renewed in time, and this copy is not.

    *value*: the token. *account*: whose it is. *expires_at*: seconds since 1970, ``None`` for tokens that do not expire. *generation*: which
    of the user's tokens it is.
    """

    value: SecretStr
    account: str
    livemode: bool
    expires_at: float | None
    generation: int

    def __reduce__(self) -> NoReturn:
        msg = "an AccessToken is not pickled: ask the OAuthManager for it where it is needed"
        raise TypeError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLink:
    """
    A way into Stripe's pages for one user: send the user there at once. It works once, until *expires_at* (seconds since 1970).

    *url* opens the account's data to whoever has it, so it is in no repr.

    Source: https://docs.stripe.com/api/account_links/object
    """

    url: str = field(repr=False)
    account: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingStatus:
    """
    How far an account is: what Stripe still wants from its user, and what works already.

    *currently_due*: names of what is missing, empty when nothing is. *disabled_reason*: Stripe's word for why something is off.

    Source: https://docs.stripe.com/connect/handling-api-verification
    """

    account: str
    details_submitted: bool
    charges_enabled: bool
    payouts_enabled: bool
    currently_due: tuple[str, ...] = ()
    disabled_reason: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the account can take payments and be paid out, and nothing is missing."""
        return self.details_submitted and self.charges_enabled and self.payouts_enabled and not self.currently_due


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What one pass over the tokens near their end did. *failed* ones are tried again by the next pass."""

    refreshed: int = 0
    failed: int = 0
    reauthorization_required: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """
    What one batch of a key rotation did.

    *rotated*: rows that the current key encrypts now. *unreadable*: ids of rows that could not be decrypted, with the name of the error; they were
    left as they are. *after*: where the next batch begins, ``None`` when there is none.
    """

    rotated: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    after: str | None = None
