"""
Brings plaintext tokens from before this package into a token store, each encrypted and read back.

    report = import_original("postgresql://…", store, keys)

It can be stopped at any moment and begun anew: what was imported is known by its id, is imported once, and is never written over.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from atom_stripe._engine.connect.checks import check_user_id
from atom_stripe._engine.connect.ports import Keys
from atom_stripe._engine.connect.vault import Vault
from atom_stripe._engine.drive import run
from atom_stripe._extras import require
from atom_stripe.errors import ConfigurationError, TokenUnreadableError
from atom_stripe.protocols import PROFILES, Reference, TokenRecord
from atom_stripe.stores._sql.engines import engine_from
from atom_stripe.stores._sql.original import ORIGINAL, OriginalToken, delete_original, read_original

with require("sqlalchemy", extra="sql"):
    from sqlalchemy import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from cryptography.fernet import MultiFernet
    from pydantic import SecretStr
    from sqlalchemy import URL

    from atom_stripe.protocols import KeyProvider, Profile, TokenStore

__all__ = ["ORIGINAL", "REASONS", "ImportReport", "LeftRow", "Reason", "holds_original", "import_original"]

Reason = Literal[
    "malformed_user_id",
    "no_account",
    "malformed_token",
    "encrypted",
    "undecryptable",
    "unknown_mode",
    "mode_mismatch",
    "superseded",
    "newer_unusable",
    "connected",
    "changed",
    "unreadable",
]

REASONS: dict[Reason, str] = {
    "malformed_user_id": "its user_id is empty, too long or no text",
    "no_account": "it has no stripe_user_id that looks like acct_…",
    "malformed_token": "its access token or refresh token is none of Stripe's",
    "encrypted": "its token is encrypted with Fernet, and no Fernet key was given",
    "undecryptable": "its token is encrypted with another Fernet key",
    "unknown_mode": "its token does not tell live from test mode: say which",
    "mode_mismatch": "it is of the other mode, live or test",
    "superseded": "a newer row of the same user was imported in its place",
    "newer_unusable": "a newer row of the same user cannot be imported, so this one may be out of date",
    "connected": "the user has a connection already that was not made from this row",
    "changed": "it was imported, and was changed afterwards",
    "unreadable": "it was imported, and the stored token cannot be decrypted with the keys at hand",
}
"""Why a row was left where it is, in words."""

_APP_LIFETIME = 3600.0  # seconds that the access token of a Stripe App lasts
_ACCOUNT = re.compile(r"acct_[A-Za-z0-9]{1,100}")
_TOKEN = re.compile(r"[\x21-\x7e]{12,2000}")
_MODE = re.compile(r"(?:sk|rk|pk)_(live|test)_")
# What this package and Fernet write: such a text is no token.
_OURS, _FERNET = "as1:", "gAAAA"
_NAMESPACE = uuid.UUID("6f1c61a4-2d0b-4c9e-9a57-1f6f0d5f7a51")


@dataclass(frozen=True, slots=True)
class LeftRow:
    """A row that was not imported: it is where it was. *id*: its id in the table of plaintext tokens. ``REASONS`` says *reason* in words."""

    id: int | str
    user_id: str
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """
    What an import did. *rows*: how many there are. *imported*: written, read back and decrypted; with ``dry_run``, what would be. *already*:
    imported before. *deleted*: plaintext rows that are gone. *left*: those that need somebody's decision.
    """

    rows: int = 0
    imported: int = 0
    already: int = 0
    deleted: int = 0
    left: tuple[LeftRow, ...] = ()


def import_original(
    source: Engine | str | URL,
    store: TokenStore,
    keys: KeyProvider,
    *,
    table: str = ORIGINAL,
    profile: Profile = "connect",
    livemode: bool | None = None,
    fernet_keys: Sequence[str | SecretStr] = (),
    delete_plaintext: bool = False,
    dry_run: bool = False,
    batch: int = 100,
    progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], float] = time.time,
) -> ImportReport:
    """
    Import the rows of *table* in *source* into *store*, encrypted with the current one of *keys*, and return what was done.

    Of several rows of one user the one with the newest ``updated_at`` is taken. If that one cannot be imported, none is: an older one may lead
    to another account. A connection that is in the store already is never changed.

    Args:
        source: The database with the plaintext tokens, which may be that of the store.
        store: Where connections are kept.
        keys: What encrypts tokens.
        table: The table of plaintext tokens.
        profile: Which of Stripe's OAuth servers gave the tokens.
        livemode: The mode of tokens that do not tell. Tokens that tell another mode are left.
        fernet_keys: What decrypts tokens that the program before had encrypted with Fernet.
        delete_plaintext: Delete each row once its token was read back from the store. Backups and replicas still hold it.
        dry_run: Write and delete nothing.
        batch: How many rows are read at a time.
        progress: Called with the number of rows that are done, and of all.
        clock: The time, in seconds since 1970.

    Raises:
        ConfigurationError: A setting is malformed, or *table* is another kind of table.
        StoreError: A database is away, or refused. Begin again: what was imported stays so.
    """
    if profile not in PROFILES:
        msg = f"profile is one of {', '.join(PROFILES)}"
        raise ConfigurationError(msg)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        msg = "batch is a whole number above 0"
        raise ConfigurationError(msg)
    judge = _Judge(livemode, _fernet(fernet_keys))
    writer = _Writer(store, Vault(Keys(keys), os.urandom), profile, table, clock, dry_run=dry_run)
    run(writer.vault.key())
    imported = already = deleted = done = 0
    left: list[LeftRow] = []
    with _opened(source) as engine:
        plan = _Plan()
        for page in _pages(engine, table, batch):
            for row in page:
                plan.add(row, judge(row))
        for page in _pages(engine, table, batch):
            stored: list[int | str] = []
            for row in page:
                found = plan.settle(row, judge(row))
                outcome = found if isinstance(found, str) else writer.write(found)
                imported += outcome == "imported"
                already += outcome == "already"
                if outcome in {"imported", "already"}:
                    stored.append(row.id)
                else:
                    left.append(LeftRow(row.id, row.user_id, cast("Reason", outcome)))
            if delete_plaintext and not dry_run:
                deleted += delete_original(engine, table, stored)
            done += len(page)
            if progress is not None:
                progress(done, max(done, plan.rows))
    return ImportReport(rows=done, imported=imported, already=already, deleted=deleted, left=tuple(left))


def holds_original(source: Engine | str | URL, table: str = ORIGINAL) -> bool:
    """
    Return whether *table* in *source* still holds plaintext tokens.

    Raises:
        ConfigurationError: *table* is another kind of table.
        StoreError: The database is away, or refused.
    """
    with _opened(source) as engine:
        return bool(read_original(engine, table, limit=1))


@contextmanager
def _opened(source: Engine | str | URL) -> Generator[Engine]:
    if isinstance(source, Engine):
        yield source
        return
    engine = engine_from(source)
    try:
        yield engine
    finally:
        engine.dispose()


def _pages(engine: Engine, table: str, batch: int) -> Iterator[list[OriginalToken]]:
    after: int | str | None = None
    while page := read_original(engine, table, after=after, limit=batch):
        yield page
        after = page[-1].id


def _fernet(keys: Sequence[str | SecretStr]) -> MultiFernet | None:
    if not keys:
        return None
    from cryptography.fernet import Fernet, MultiFernet

    try:
        return MultiFernet([Fernet(key if isinstance(key, str) else key.get_secret_value()) for key in keys])
    except (ValueError, TypeError):
        msg = "a Fernet key is 32 bytes in URL-safe base64, as Fernet.generate_key() returns it"
    raise ConfigurationError(msg)


class _Candidate(NamedTuple):
    """A row that can be imported: *row* with its tokens decrypted."""

    row: OriginalToken
    livemode: bool
    account: str


class _Unusable(NamedTuple):
    """A row that cannot. *livemode*: its mode, if that is known."""

    reason: Reason
    livemode: bool | None = None


@dataclass(frozen=True, slots=True)
class _Judge:
    """Says what one row is, seen by itself."""

    livemode: bool | None
    fernet: MultiFernet | None = field(repr=False)

    def __call__(self, row: OriginalToken) -> _Candidate | _Unusable:
        try:
            check_user_id(row.user_id)
        except ConfigurationError:
            return _Unusable("malformed_user_id")
        decrypted = self._decrypted(row)
        if isinstance(decrypted, _Unusable):
            return decrypted
        told = {mode for text in (decrypted.access_token, row.stripe_publishable_key) if (mode := _told(text)) is not None}
        mode = next(iter(told)) if len(told) == 1 else self.livemode
        if mode is None and not told:
            return _Unusable("unknown_mode")
        if mode is None or len(told) > 1 or self.livemode not in {None, mode}:
            return _Unusable("mode_mismatch", mode if len(told) == 1 else None)
        if row.stripe_user_id is None or not _ACCOUNT.fullmatch(row.stripe_user_id):
            return _Unusable("no_account", mode)
        return _Candidate(decrypted, mode, row.stripe_user_id)

    def _decrypted(self, row: OriginalToken) -> OriginalToken | _Unusable:
        """Return *row* with its tokens as Stripe gave them."""
        from cryptography.fernet import InvalidToken

        tokens: list[str] = []
        for text in (row.access_token, row.refresh_token or ""):
            token = text
            if text.startswith(_FERNET):
                if self.fernet is None:
                    return _Unusable("encrypted")
                try:
                    token = self.fernet.decrypt(text).decode("ascii", "replace")
                except InvalidToken:
                    return _Unusable("undecryptable")
            tokens.append(token)
        access_token, refresh_token = tokens
        for token in (access_token, refresh_token or access_token):
            if not _TOKEN.fullmatch(token) or token.startswith((_OURS, _FERNET)):
                return _Unusable("malformed_token", _told(row.stripe_publishable_key))
        return replace(row, access_token=access_token, refresh_token=refresh_token or None)


def _told(text: str | None) -> bool | None:
    """Return the mode that a key of Stripe's tells."""
    found = _MODE.match(text or "")
    return None if found is None else found[1] == "live"


class _Rank(NamedTuple):
    """Which of a user's rows is the newest. *place*: in the table, for rows without a time."""

    time: float
    place: int
    id: int | str
    usable: bool


class _Plan:
    """Which row of each user counts: the newest one in each mode, and one of unknown mode in both."""

    def __init__(self) -> None:
        self.rows = 0
        self._newest: dict[tuple[str, bool | None], _Rank] = {}

    def add(self, row: OriginalToken, judged: _Candidate | _Unusable) -> None:
        self.rows += 1
        time = row.updated_at if row.updated_at is not None else row.created_at
        rank = _Rank(float("-inf") if time is None else time, self.rows, row.id, isinstance(judged, _Candidate))
        key = (row.user_id, judged.livemode)
        if key not in self._newest or rank[:2] > self._newest[key][:2]:
            self._newest[key] = rank

    def settle(self, row: OriginalToken, judged: _Candidate | _Unusable) -> _Candidate | Reason:
        if isinstance(judged, _Unusable):
            return judged.reason
        known = [rank for mode in (judged.livemode, None) if (rank := self._newest.get((row.user_id, mode))) is not None]
        newest = max(known, key=lambda rank: rank[:2], default=None)
        if newest is None or newest.id == row.id:
            return judged
        return "superseded" if newest.usable else "newer_unusable"


@dataclass(frozen=True, slots=True)
class _Writer:
    """Puts one row into the store, or finds that it is there."""

    store: TokenStore
    vault: Vault
    profile: Profile
    table: str
    clock: Callable[[], float]
    dry_run: bool = field(kw_only=True)

    def write(self, candidate: _Candidate) -> Reason | Literal["imported", "already"]:
        reference = Reference(candidate.row.user_id, self.profile, candidate.livemode)
        fresh = self._fresh(candidate, reference)
        stored = self.store.load(reference)
        if stored is None and self.dry_run:
            return "imported"
        saved = stored is None and self.store.save(
            self.vault.put(fresh, candidate.row.access_token, candidate.row.refresh_token, run(self.vault.key()))
        )
        # Read back in any case: somebody else may have been faster, and what was written proves itself by being read.
        stored = self.store.load(reference)
        if stored is None or stored.id != fresh.id:
            return "connected"
        if stored.generation > fresh.generation:
            # It has been renewed or ended since: the plaintext is of the past.
            return "imported" if saved else "already"
        try:
            tokens = run(self.vault.access_token(stored)), run(self.vault.refresh_token(stored))
        except TokenUnreadableError:
            return "unreadable"
        if tokens != (candidate.row.access_token, candidate.row.refresh_token) or stored.account != candidate.account:
            return "changed"
        return "imported" if saved else "already"

    def _fresh(self, candidate: _Candidate, reference: Reference) -> TokenRecord:
        row, now = candidate.row, self.clock()
        known = [moment for moment in (row.updated_at, row.created_at) if moment is not None]
        expires_at = None
        if self.profile == "stripe_app":
            expires_at = row.expires_at if row.expires_at is not None else (known[0] + _APP_LIFETIME if known else now)
        # The same row has the same id in every run.
        name = "|".join((self.table, str(row.id), row.user_id, self.profile, str(candidate.livemode)))
        return TokenRecord(
            id=uuid.uuid5(_NAMESPACE, name).hex,
            **reference._asdict(),
            generation=1,
            account=candidate.account,
            stripe_user_id=candidate.account,
            stripe_publishable_key=row.stripe_publishable_key,
            scope=row.scope,
            token_type=row.token_type,
            # Connect's tokens do not run out, whatever the program before thought.
            expires_at=expires_at,
            created_at=now if row.created_at is None else min(row.created_at, now),
            updated_at=now,
        )
