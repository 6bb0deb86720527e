"""The decisions: keys, rows, and which script answers what."""

from __future__ import annotations

import json
import uuid
from dataclasses import fields
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from atom_stripe._extras import require
from atom_stripe.errors import StoreError
from atom_stripe.protocols import PROFILES, Authorization, Reference, TokenRecord
from atom_stripe.stores._redis.scripts import (
    DUE,
    KEY_IDS,
    LOAD,
    LOAD_AUTHORIZATION,
    ROWS,
    ROWS_OF_REFERENCES,
    SAVE,
    SAVE_AUTHORIZATION,
    WALK,
)

with require("redis", extra="redis"):
    from redis import exceptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from atom_stripe.protocols import TokenQuery
    from atom_stripe.stores._redis.scripts import Script, Scripts

# Kept this long after it expired, so that a user who comes back late hears that, and clocks that differ do no harm.
_GRACE = 3600.0
_LONGEST = 30 * 24 * 3600.0
# Rows that one script fetches: enough to be worth the way, few enough not to hold Redis up. Lua cannot unpack more than some thousands.
_FEWEST, _MOST = 100, 500
_SEPARATOR = "\0"


class Tokens:
    """What both stores do, once: keys, rows and scripts."""

    def __init__(self, scripts: Scripts, prefix: str) -> None:
        self._scripts = scripts
        self._prefix = f"{prefix}{{tokens}}:"
        self._connections, self._references, self._ids, self._expiries, self._accounts, self._fingerprints, self._key_ids = (
            f"{self._prefix}{name}"
            for name in ("connections", "references", "ids", "expiries", "accounts", "fingerprints", "key_ids")
        )

    async def load(self, reference: Reference) -> TokenRecord | None:
        row, *now = await self._run("load a connection", LOAD, [self._connections], [_field(reference)])
        return row if row is None else _record(row, _seconds(now))

    async def save(self, record: TokenRecord) -> bool:
        mark = uuid.uuid4().hex
        expiry = "" if record.expires_at is None else repr(float(record.expires_at))
        keys = [
            *(self._connections, self._references, self._ids, self._expiries),
            *(self._accounts, self._fingerprints, self._key_ids),
        ]
        values = [_field(record.reference), record.id, str(record.version), mark, expiry, _row(record, mark)]
        return bool(await self._run("save a connection", SAVE, keys, values))

    async def load_authorization(self, digest: str) -> Authorization | None:
        row, *now = await self._run("load an authorization", LOAD_AUTHORIZATION, [self._authorization(digest)], [])
        return row if row is None else _authorization(row, _seconds(now))

    async def save_authorization(self, authorization: Authorization) -> bool:
        mark = uuid.uuid4().hex
        # A span and no moment: the clock that set *expires_at* may be another than Redis' own.
        lifetime = min(max(authorization.expires_at - authorization.created_at, 0.0), _LONGEST)
        values = [str(authorization.version), mark, str(int((lifetime + _GRACE) * 1000)), _row(authorization, mark)]
        keys = [self._authorization(authorization.digest)]
        return bool(await self._run("save an authorization", SAVE_AUTHORIZATION, keys, values))

    async def find(self, query: TokenQuery) -> list[TokenRecord]:
        """An index narrows the search, and ``query.matches`` decides."""
        if query.user_id is not None:
            references = [Reference(query.user_id, profile, livemode) for profile in PROFILES for livemode in (False, True)]
            rows = await self._run("find connections", ROWS_OF_REFERENCES, [self._connections], list(map(_field, references)))
            found = [_record(row, None) for row in rows if row is not None]
            return sorted((row for row in found if query.matches(row)), key=attrgetter("id"))[: query.limit]
        if query.fingerprints is not None:
            return await self._walk_each(query, self._fingerprints, query.fingerprints)
        if query.account is not None:
            return await self._walk_each(query, self._accounts, [query.account])
        if query.expires_before is not None:
            return await self._due(query, query.expires_before)
        if query.not_key_id is not None:
            key_ids = [_text(each) for each in await self._run("find connections", KEY_IDS, [self._key_ids], [])]
            return await self._walk_each(query, self._key_ids, [each for each in key_ids if each != query.not_key_id])
        return await self._walk(query, self._ids, "")

    async def _walk_each(self, query: TokenQuery, index: str, values: Iterable[str]) -> list[TokenRecord]:
        walks = [await self._walk(query, index, value + _SEPARATOR) for value in sorted(values)]
        # A row that is written meanwhile may be met under its old value and its new one.
        found = {row.id: row for row in merge(*walks, key=attrgetter("id"))}
        return list(islice(found.values(), query.limit))

    async def _walk(self, query: TokenQuery, index: str, start: str) -> list[TokenRecord]:
        """Go through the entries of *index* that begin with *start*, in the order of the ids behind it."""
        found: list[TokenRecord] = []
        size = _batch(query)
        end = f"({start[:-1]}\1" if start else "+"
        after = query.after or ""
        while True:
            beginning = f"({start}{after}" if start or after else "-"
            arguments = [beginning, end, str(size), str(len(start.encode("utf-8", "surrogatepass")))]
            rows = await self._find(WALK, [self._connections, self._references, index], arguments)
            found += (row for row in rows if query.matches(row))
            if len(found) >= query.limit or len(rows) < size:
                return found[: query.limit]
            after = rows[-1].id

    async def _due(self, query: TokenQuery, moment: float) -> list[TokenRecord]:
        # All of their ids at once, because they are in the order of time: rows that run out soon are few.
        due = await self._run("find connections", DUE, [self._expiries], [f"({float(moment)!r}"])
        ids = sorted(each for each in map(_text, due) if query.after is None or each > query.after)
        found: list[TokenRecord] = []
        size = _batch(query)
        for start in range(0, len(ids), size):
            rows = await self._find(ROWS, [self._connections, self._references], ids[start : start + size])
            found += (row for row in rows if query.matches(row))
            if len(found) >= query.limit:
                break
        return found[: query.limit]

    async def _find(self, script: Script, keys: Sequence[str], arguments: Sequence[str]) -> list[TokenRecord]:
        # What an index names is there: both are written at once.
        return [_record(row, None) for row in await self._run("find connections", script, keys, arguments)]

    async def _run(self, work: str, script: Script, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        try:
            return await self._scripts.run(script, keys, arguments)
        except exceptions.RedisError as error:
            msg = f"Redis could not {work}: {type(error).__name__}"
            raise StoreError(msg, retryable=_is_passing(error)) from error

    def _authorization(self, digest: str) -> str:
        return f"{self._prefix}authorization:{digest}"


def _batch(query: TokenQuery) -> int:
    return min(max(query.limit, _FEWEST), _MOST)


def _is_passing(error: exceptions.RedisError) -> bool:
    """Return whether this ends by itself: a server that is away, starts, or fails over. Wrong passwords and commands stay."""
    if isinstance(error, (exceptions.AuthenticationError, exceptions.AuthorizationError)):
        return False
    passing = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ReadOnlyError, exceptions.OutOfMemoryError)
    return isinstance(error, (*passing, exceptions.TryAgainError, exceptions.ClusterError, exceptions.MasterDownError))


def _field(reference: Reference) -> str:
    # The user's id stands last, so that nothing in it can make two references the same.
    return f"{reference.profile}:{'live' if reference.livemode else 'test'}:{reference.user_id}"


def _seconds(time: Sequence[Any]) -> float:
    return int(time[0]) + int(time[1]) / 1e6


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _row(row: TokenRecord | Authorization, mark: str) -> str:
    """The next version of *row* as JSON, in ASCII, which reads the same in every encoding of a client."""
    values = {field.name: getattr(row, field.name) for field in fields(row) if field.compare}
    return json.dumps({**values, "version": row.version + 1, "mark": mark}, separators=(",", ":"))


_RECORD = {field.name for field in fields(TokenRecord)}
_AUTHORIZATION = {field.name for field in fields(Authorization)}


def _values(row: bytes | str, names: set[str]) -> dict[str, Any]:
    # Another release of this package may have written fields that this one does not know.
    return {name: value for name, value in json.loads(row).items() if name in names}


def _damaged() -> StoreError:
    return StoreError("a row in Redis is not as this package wrote it", retryable=False)


def _record(row: bytes | str | None, read_at: float | None) -> TokenRecord:
    try:
        return TokenRecord(**_values(row or "", _RECORD), read_at=read_at)
    except (ValueError, TypeError, AttributeError):
        # The error would show the row.
        raise _damaged() from None


def _authorization(row: bytes | str, read_at: float | None) -> Authorization:
    try:
        return Authorization(**_values(row, _AUTHORIZATION), read_at=read_at)
    except (ValueError, TypeError, AttributeError):
        raise _damaged() from None
