"""
The statements that store a batch of events in PostgreSQL. Pure: nothing is run here.

A batch is one statement if it can be, for every answer that a writer waits for costs it more than the answer itself: in a busy process all other
threads have their turn before it goes on.
"""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from atom_stripe._wire.postgres_arrays import Binary, contents, flags, numbers, texts
from atom_stripe.stores._sql.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atom_stripe.protocols import Arrival

# What an arrival brings but for its payload, in the order of the columns, and how a list of it is written.
_BROUGHT: dict[str, tuple[str, Callable[[Sequence[Any]], str]]] = {
    "event_id": ("text", texts),
    "type": ("text", texts),
    "account": ("text", texts),
    "livemode": ("boolean", flags),
    "lane": ("text", texts),
    "endpoint": ("text", texts),
    "received_at": ("float8", numbers),
    "api_version": ("text", texts),
    "created": ("float8", numbers),
    "object_id": ("text", texts),
}
_KEY = ("account", "livemode", "event_id")
_COLUMNS = ", ".join(_BROUGHT)
_brought = attrgetter(*_BROUGHT)


def _arrays(*names: str) -> str:
    return ", ".join(f"unnest(%({name})s::{_BROUGHT[name][0]}[])" for name in names)


# Ids are given in the order of arrival, rows are written in the order of their keys: two batches with the same events would each wait for the
# other one's row otherwise.
_STORE = f"""
    WITH {{settings}}given AS MATERIALIZED (
        SELECT nextval('stripe_events_id_seq') AS id, g.* FROM {{set}}ROWS FROM (
            {_arrays(*_BROUGHT)}, unnest(%(payload)s::bytea[])
        ) WITH ORDINALITY AS g({_COLUMNS}, payload, place)
    ), stored AS (
        INSERT INTO stripe_events (id, {_COLUMNS}, status, handlers, attempts)
        SELECT id, {_COLUMNS}, 'pending', '{{{{}}}}', 0 FROM given ORDER BY account, livemode, event_id, place
        ON CONFLICT (account, livemode, event_id) DO NOTHING RETURNING id
    ), kept AS (
        INSERT INTO stripe_event_payloads (id, payload) SELECT given.id, given.payload FROM given JOIN stored ON stored.id = given.id
    ), logged AS (
        INSERT INTO stripe_deliveries (at, endpoint, outcome, event)
        SELECT given.received_at, given.endpoint, 'stored', given.id FROM given JOIN stored ON stored.id = given.id ORDER BY given.id
    ){{waking}}
    SELECT given.place, given.id FROM given JOIN stored ON stored.id = given.id
"""  # noqa: S608 - only names of columns are put in

# What `BEGIN` says elsewhere, as part of the statement. Where transactions see less than what is committed, it stores nothing.
_SETTINGS = """settings AS MATERIALIZED (
        SELECT set_config('lock_timeout', '10s', true), set_config('synchronous_commit', {durable}, true)
        WHERE current_setting('transaction_isolation') = 'read committed'
    ), """.format(durable="CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END")

_WAKING = """, woken AS (
        SELECT given.lane, min(given.id) AS id FROM given JOIN stored ON stored.id = given.id GROUP BY given.lane
    ), {sql}"""

_STORE_WITHIN = _STORE.format(settings="", set="", waking="")

_PRESENT = f"""
    SELECT g.place, e.id, e.lane, e.status
    FROM ROWS FROM ({_arrays(*_KEY)}) WITH ORDINALITY AS g({", ".join(_KEY)}, place)
    JOIN stripe_events AS e ON e.account = g.account AND e.livemode = g.livemode AND e.event_id = g.event_id
"""  # noqa: S608 - only names of columns are put in


def store_within(arrivals: Sequence[Arrival]) -> Statement:
    """Return what stores *arrivals* within a transaction: a place, counted from 1, and an id for each that is new."""
    return Statement(_STORE_WITHIN, _values(arrivals))


def store_at_once(arrivals: Sequence[Arrival], waking: str | None) -> Statement:
    """
    Return what does the same as a transaction of its own. *waking*: the ``sql`` of a ``SqlWake``.

    It may store nothing even of what is new, where transactions are not what they usually are.
    """
    return Statement(_at_once(waking), _values(arrivals))


def present(arrivals: Sequence[Arrival]) -> Statement:
    """Return what reads place, id, lane and status of those of *arrivals* that are stored."""
    return Statement(_PRESENT, {name: _BROUGHT[name][1]([getattr(one, name) for one in arrivals]) for name in _KEY})


@cache
def _at_once(waking: str | None) -> str:
    told = "" if waking is None else _WAKING.format(sql=waking)
    return _STORE.format(settings=_SETTINGS, set="settings, ", waking=told)


def _values(arrivals: Sequence[Arrival]) -> dict[str, str | Binary]:
    columns = zip(*map(_brought, arrivals), strict=True)
    values: dict[str, str | Binary] = {name: _BROUGHT[name][1](column) for name, column in zip(_BROUGHT, columns, strict=True)}
    values["payload"] = contents([arrival.payload for arrival in arrivals])
    return values
