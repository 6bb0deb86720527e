"""What ``atom-stripe doctor`` finds in the database: tables, keys that are needed, the inbox and its engine. Nothing here shows a secret."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from atom_stripe.cli import settings
from atom_stripe.cli.examining import Check, fine
from atom_stripe.cli.output import counted
from atom_stripe.errors import ConfigurationError, MissingExtraError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atom_stripe.cli.examining import Part
    from atom_stripe.protocols import Engine, InboxStore

_LATE = 600.0  # seconds that an event may be pending
_ENGINES = "atom_stripe.engines."


def database_checks(url: str) -> Iterator[Check]:
    """Look at the tables, and at the keys that the tokens in them need."""
    file = url.partition("?")[0].removeprefix("sqlite:///")
    if url.startswith("sqlite:///") and file != ":memory:" and not os.path.exists(file):  # noqa: PTH110 - what SQLite would open
        # To look into it would make it.
        yield Check(
            check="database",
            result="problem",
            code="old_tables",
            message="there is no such file, so there are no tables",
            remedy="atom-stripe db upgrade, if DATABASE_URL is right: its path is seen from the folder that a program is started in",
        )
        return
    try:
        from atom_stripe.stores import sql
        from atom_stripe.stores.original import ORIGINAL, holds_original

        pending, revision = sql.pending(url), sql.current(url)
        plaintext = holds_original(url)
    except MissingExtraError as error:
        yield Check(check="database", result="skipped", code="missing_extra", message=str(error))
        return
    except (StoreError, ConfigurationError) as error:
        yield _away("database", error)
        return
    if pending:
        yield Check(
            check="database",
            result="problem",
            code="old_tables",
            message=f"the tables are at {revision or 'no revision'}, {', '.join(pending)} to come",
            remedy="atom-stripe db upgrade",
        )
    else:
        yield fine("database", f"the tables are up to date at {revision}")
    if plaintext:
        yield Check(
            check="database",
            result="problem",
            code="plaintext_tokens",
            message=f"{ORIGINAL} holds tokens in plaintext",
            remedy="atom-stripe connections import --delete-plaintext",
        )
    if not pending:
        yield from _keys(url)


def _keys(url: str) -> Iterator[Check]:
    try:
        from atom_stripe.stores.sql import SqlTokenStore

        with SqlTokenStore.from_url(url) as store:
            counts = settings.rows_by_key(store)
    except StoreError as error:
        yield _away("keys", error)
        return
    total = counted(sum(counts.values()), "connection")
    if not (counts or os.environ.get("STRIPE_TOKEN_KEYS", "").strip()):
        yield fine("keys", "there are no connections, and no keys")
        return
    try:
        ids = settings.keyring().ids
    except ConfigurationError as error:
        yield Check(
            check="keys",
            result="problem",
            code="bad_keys",
            message=f"{error}; {total} in the database",
            remedy="put the keys into STRIPE_TOKEN_KEYS: without them the tokens are lost",
        )
        return
    missing = sorted(counts.keys() - set(ids))
    if missing:
        yield Check(
            check="keys",
            result="problem",
            code="missing_keys",
            message=f"{', '.join(missing)}: {sum(counts[key_id] for key_id in missing)} of {total} need this, and STRIPE_TOKEN_KEYS has no such key",
            remedy="put it back, behind the first one",
        )
    else:
        yield fine("keys", f"{ids[0]} encrypts; {counts.get(ids[0], 0)} of {total}, and the others can be read")


def inbox_checks(store: InboxStore) -> Iterator[Check]:
    """Look at how full the inbox is."""
    from atom_stripe._engine.inbox.operating import InboxOperations

    try:
        found = InboxOperations(store).status()
    except StoreError as error:
        yield _away("inbox", error)
        return
    counts, age = found.counts, found.oldest_pending_age
    if counts.parked:
        yield Check(
            check="inbox",
            result="problem",
            code="parked",
            message=f"{counted(counts.parked, 'event')} parked: a handler gave up",
            remedy="atom-stripe inbox list --status parked; then inbox requeue or inbox discard",
        )
    if age is not None and age > _LATE:
        yield Check(
            check="inbox",
            result="problem",
            code="late",
            message=f"the oldest of {counted(counts.pending, 'pending event')} has waited for {age:.0f} s",
            remedy="see that a worker runs: atom-stripe worker MODULE:ATTRIBUTE; a failing handler is in atom-stripe inbox list",
        )
    if found.paused:
        yield Check(
            check="inbox",
            result="note",
            code="paused",
            message=f"paused: {', '.join(found.paused)}",
            remedy="atom-stripe inbox resume HANDLER",
        )
    if not counts.parked:
        yield fine("inbox", f"{counts.pending} pending, {counts.running} running, none parked")


def engine_checks(engine: Engine | None) -> Iterator[Check]:
    """Look at the engine's own tables."""
    if engine is None:
        yield fine("engine", "there is none: each worker looks into the store by itself")
        return
    kind = type(engine)
    told = kind.__module__.rpartition(".")[2] if kind.__module__.startswith(_ENGINES) else ""
    try:
        steps = engine.pending()
    except StoreError as error:
        yield _away("engine", error)
        return
    if steps:
        yield Check(
            check="engine",
            result="problem",
            code="old_engine_tables",
            message=f"the tables of {kind.__name__} are not up to date: {counted(len(steps), 'step')} to come",
            remedy=f"atom-stripe db upgrade --engine {told}" if told else "upgrade() of the engine",
        )
        return
    waiting = engine.health().waiting
    yield fine(
        "engine", f"the tables of {kind.__name__} are up to date; {waiting if waiting is not None else 'an unknown number of'} jobs"
    )


def _away(check: Part, error: Exception) -> Check:
    return Check(
        check=check,
        result="problem",
        code="store_failed",
        message=str(error),
        remedy="see that the database runs, and that DATABASE_URL is right and may use its tables",
    )
