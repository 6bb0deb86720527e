"""The stores on Redis, on a real one."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from redis import exceptions
from redis.crc import key_slot

from atom_stripe.errors import ConfigurationError, StoreError
from atom_stripe.protocols import Authorization, Reference, TokenQuery, TokenRecord
from atom_stripe.stores.redis import AsyncRedisTokenStore, RedisTokenStore
from atom_stripe.testing import TOKEN_STORE_CHECKS
from tests.canary import ACCESS_TOKEN, MARK
from tests.redis_server import temporary_redis

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from atom_stripe.testing.conformance import Check

ROW = TokenRecord(
    id="con_1",
    user_id="user_1",
    profile="connect",
    livemode=False,
    account="acct_1",
    access_token=ACCESS_TOKEN,
    access_token_fingerprint="f" * 64,
    key_id="key_1",
    expires_at=1_700_000_000.123456,
)
CLIENTS: dict[str, dict[str, Any]] = {
    "bytes": {},
    "text": {"decode_responses": True},
    "latin": {"decode_responses": True, "encoding": "latin-1"},
}


def authorization(**changes: Any) -> Authorization:
    row = Authorization(
        digest="d" * 64,
        user_id="user_1",
        profile="connect",
        livemode=False,
        session="s" * 64,
        redirect_uri="https://shop.example/callback",
        scope=None,
        expires_at=time.time() + 600,
    )
    return replace(row, **changes)


@pytest.fixture
def client(redis_url: str) -> Generator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def store(client: redis.Redis, redis_prefix: str) -> RedisTokenStore:
    return RedisTokenStore(client, prefix=redis_prefix)


@asynccontextmanager
async def connected(url: str, **settings: Any) -> AsyncGenerator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(url, **settings) as client:
        yield client


@pytest.mark.parametrize("settings", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("check", TOKEN_STORE_CHECKS)
def test_it_keeps_every_promise(check: Check, settings: dict[str, Any], redis_url: str, redis_prefix: str) -> None:
    """The store on Redis keeps each promise of ``TokenStore``, with a client that reads bytes or text in any encoding."""
    with redis.Redis.from_url(redis_url, **settings) as client:
        check.run(lambda: RedisTokenStore(client, prefix=redis_prefix))


@pytest.mark.parametrize("settings", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("check", TOKEN_STORE_CHECKS)
def test_the_async_one_keeps_every_promise(check: Check, settings: dict[str, Any], redis_url: str, redis_prefix: str) -> None:
    """The async store keeps each promise under asyncio, with the same clients."""

    async def flow() -> None:
        async with connected(redis_url, **settings) as client:
            await check.run_async(lambda: AsyncRedisTokenStore(client, prefix=redis_prefix))

    asyncio.run(flow())


def test_both_colours_share_rows(store: RedisTokenStore, redis_url: str, redis_prefix: str) -> None:
    """What the sync store wrote, the async one loads, and the other way round."""
    assert store.save(ROW)

    async def flow() -> None:
        async with connected(redis_url) as client:
            other = AsyncRedisTokenStore(client, prefix=redis_prefix)
            assert await other.load(ROW.reference) == replace(ROW, version=1)
            assert await other.save(replace(ROW, version=1))

    asyncio.run(flow())
    assert store.load(ROW.reference) == replace(ROW, version=2)


def test_prefixes_keep_stores_apart(client: redis.Redis, store: RedisTokenStore, redis_prefix: str) -> None:
    """Two stores with prefixes of their own in one Redis do not see each other's rows, and every key begins with its prefix."""
    store.save(ROW)
    store.save_authorization(authorization())
    other = RedisTokenStore(client, prefix=f"{redis_prefix}other:")
    assert other.load(ROW.reference) is None
    assert list(other.find(TokenQuery())) == []
    assert other.save(ROW)


def test_keys_share_one_slot(client: redis.Redis, store: RedisTokenStore, redis_prefix: str) -> None:
    """All keys of a store hash to one slot of a cluster, so that a script may touch them together."""
    store.save(ROW)
    store.save_authorization(authorization())
    keys = list(client.scan_iter(match=f"{redis_prefix}*"))
    assert len(keys) == 8
    assert len({key_slot(key) for key in keys}) == 1


def test_saved_rows_survive_a_crash() -> None:
    """A Redis that writes to disk before it answers has every saved row after it was killed and started again."""
    with temporary_redis() as server, redis.Redis.from_url(server.url) as client:
        store = RedisTokenStore(client)
        rows = [replace(ROW, id=f"con_{index:02}", user_id=f"user_{index}") for index in range(20)]
        pending = authorization()
        assert all(store.save(row) for row in rows)
        assert store.save(replace(rows[0], version=1, generation=7))
        assert store.save_authorization(pending)
        server.kill()
        with pytest.raises(StoreError) as caught:
            store.load(ROW.reference)
        assert caught.value.retryable
        server.start()
        assert store.load(rows[0].reference) == replace(rows[0], version=2, generation=7)
        assert [row.id for row in store.find(TokenQuery())] == [row.id for row in rows]
        assert store.load_authorization(pending.digest) == replace(pending, version=1)
        assert not store.save(replace(rows[0], version=1))


class Counting(redis.Redis):
    """Counts what goes to the server."""

    sent = 0

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        self.sent += 1
        return super().execute_command(*arguments, **options)


def test_each_call_is_one_round_trip(redis_url: str, redis_prefix: str) -> None:
    """Loading, saving and finding by user each send one command, once Redis knows the scripts."""
    with Counting.from_url(redis_url) as client:
        store = RedisTokenStore(client, prefix=redis_prefix)
        calls: list[Callable[[], Any]] = [
            lambda: store.save(ROW),
            lambda: store.load(ROW.reference),
            lambda: store.save_authorization(authorization()),
            lambda: store.load_authorization("d" * 64),
            lambda: store.find(TokenQuery(user_id="user_1")),
            lambda: store.find(TokenQuery(account="acct_1")),
        ]
        for call in calls:
            call()
        for call in calls:
            client.sent = 0
            call()
            assert client.sent == 1


def test_a_restarted_redis_learns_the_scripts_again(
    client: redis.Redis, store: RedisTokenStore, redis_url: str, redis_prefix: str
) -> None:
    """A Redis that has forgotten the scripts is sent them again, by both colours, and the call works."""
    assert store.save(ROW)
    client.script_flush()
    assert store.save(replace(ROW, version=1))
    client.script_flush()
    assert store.load(ROW.reference) == replace(ROW, version=2)
    client.script_flush()

    async def flow() -> TokenRecord | None:
        async with connected(redis_url) as native:
            return await AsyncRedisTokenStore(native, prefix=redis_prefix).load(ROW.reference)

    assert asyncio.run(flow()) == replace(ROW, version=2)


class Repeating(redis.Redis):
    """Sends each script twice, as redis-py does by itself after an answer that got lost."""

    def evalsha(self, *arguments: Any) -> Any:
        try:
            super().evalsha(*arguments)
        except exceptions.NoScriptError:
            return super().evalsha(*arguments)
        return super().evalsha(*arguments)


def test_a_save_that_is_sent_again_was_written_once(redis_url: str, redis_prefix: str) -> None:
    """A save whose script reaches Redis twice writes one version and says that it was written."""
    with Repeating.from_url(redis_url) as client:
        store = RedisTokenStore(client, prefix=redis_prefix)
        pending = authorization()
        for version in range(3):
            assert store.save(replace(ROW, version=version)) is True
            assert store.save_authorization(replace(pending, version=version)) is True
            assert store.load(ROW.reference) == replace(ROW, version=version + 1)
            assert store.load_authorization(pending.digest) == replace(pending, version=version + 1)
        assert store.save(replace(ROW, version=1)) is False


def test_read_at_is_the_servers_clock(client: redis.Redis, store: RedisTokenStore) -> None:
    """``read_at`` lies between what the server's clock says before the load and after it, for both kinds of rows."""
    store.save(ROW)
    store.save_authorization(authorization())
    for load in (lambda: store.load(ROW.reference), lambda: store.load_authorization("d" * 64)):
        seconds, micros = client.time()
        row = load()
        later, more = client.time()
        assert row is not None
        assert row.read_at is not None
        assert seconds + micros / 1e6 <= row.read_at <= later + more / 1e6


def test_authorizations_end_an_hour_after_they_expired(client: redis.Redis, store: RedisTokenStore, redis_prefix: str) -> None:
    """Redis keeps an authorization for its lifetime and an hour, whatever the clock that set it, and for a month at most."""
    key = f"{redis_prefix}{{tokens}}:authorization:{'d' * 64}"
    pending = authorization(created_at=1000.0, expires_at=1600.0)
    assert store.save_authorization(pending)
    # Two moments differ by less than ten minutes.
    assert abs(client.pttl(key) - 4_200_000) < 600_000
    assert store.save_authorization(replace(pending, version=1, expires_at=pending.expires_at + 7200))
    assert abs(client.pttl(key) - 11_400_000) < 600_000
    assert store.save_authorization(replace(pending, version=2, expires_at=1e12))
    assert abs(client.pttl(key) - (30 * 24 + 1) * 3_600_000) < 600_000


def test_indexes_forget_what_rows_no_longer_hold(client: redis.Redis, store: RedisTokenStore, redis_prefix: str) -> None:
    """A row whose account, fingerprint, key and expiry are emptied leaves nothing of them behind in Redis."""
    store.save(ROW)
    indexes = [f"{redis_prefix}{{tokens}}:{name}" for name in ("accounts", "fingerprints", "key_ids", "expiries")]
    assert [client.zcard(index) for index in indexes] == [1] * 4
    emptied = replace(ROW, version=1, account=None, access_token_fingerprint=None, key_id=None, expires_at=None)
    assert store.save(emptied)
    assert [client.zcard(index) for index in indexes] == [0] * 4
    assert client.zcard(f"{redis_prefix}{{tokens}}:ids") == 1


def test_a_row_does_not_change_its_reference(store: RedisTokenStore) -> None:
    """A save that names the id of one row and the reference of another is refused and changes neither."""
    other = replace(ROW, id="con_2", user_id="user_2")
    store.save(ROW)
    store.save(other)
    assert not store.save(replace(ROW, user_id="user_2", version=1, scope="mixed"))
    assert not store.save(replace(ROW, user_id="user_3", version=1))
    assert list(store.find(TokenQuery())) == [replace(ROW, version=1), replace(other, version=1)]


QUERIES = [
    TokenQuery(account="acct_1"),
    TokenQuery(account="acct_1", states=frozenset(["revoked"])),
    TokenQuery(expires_before=1_700_001_900.0, states=frozenset(["revoked"])),
    TokenQuery(not_key_id="key_2"),
    TokenQuery(fingerprints=frozenset(["f0", "f1", "f2"])),
    TokenQuery(states=frozenset(["revoked"])),
]


@pytest.fixture(scope="module")
def crowd(redis_url: str) -> Generator[tuple[RedisTokenStore, list[TokenRecord]]]:
    """A store with more rows than one script fetches."""
    with redis.Redis.from_url(redis_url) as client:
        prefix = f"atom_stripe_test_crowd_{time.time_ns()}:"
        store = RedisTokenStore(client, prefix=prefix)
        rows = [
            replace(
                ROW,
                id=f"con_{index:04}",
                user_id=f"user_{index}",
                state="revoked" if index % 100 == 99 else "active",
                expires_at=1_700_002_000.0 - index,
                key_id=f"key_{index % 3}",
                access_token_fingerprint=f"f{index % 4}",
                created_at=1.0,
            )
            for index in range(1200)
        ]
        for row in reversed(rows):
            store.save(row)
        yield store, [replace(row, version=1) for row in rows]
        for key in client.scan_iter(match=f"{prefix}*"):
            client.delete(key)


@pytest.mark.parametrize("limit", [1, 5, 100, 1000, 5000])
@pytest.mark.parametrize("query", QUERIES, ids=["account", "account-state", "expiry", "key", "fingerprints", "state"])
def test_every_index_is_walked_to_its_end(query: TokenQuery, limit: int, crowd: tuple[RedisTokenStore, list[TokenRecord]]) -> None:
    """A page is filled from as many batches as it takes, from every index, from the beginning and from an id on."""
    store, rows = crowd
    for after in (None, "con_0250", "con_0999+"):
        asked = replace(query, limit=limit, after=after)
        assert list(store.find(asked)) == [row for row in rows if asked.matches(row)][:limit]


def test_a_row_of_a_later_release_is_read(client: redis.Redis, store: RedisTokenStore, redis_prefix: str) -> None:
    """Fields that this release does not know are passed over, and those that an older one did not write have their defaults."""
    store.save(ROW)
    key = f"{redis_prefix}{{tokens}}:connections"
    row = json.loads(client.hget(key, "connect:test:user_1") or "")
    del row["intent_key"], row["account"]
    client.hset(key, "connect:test:user_1", json.dumps({**row, "shoe_size": 42}))
    assert store.load(ROW.reference) == replace(ROW, version=1, account=None)
    assert store.save(replace(ROW, version=1))


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"version": 1}', f'{{"access_token": "{MARK}'])
def test_a_damaged_row_is_an_error_without_its_content(
    damage: str, client: redis.Redis, store: RedisTokenStore, redis_prefix: str
) -> None:
    """A row that somebody else wrote over raises ``StoreError``, which is not worth a retry and shows nothing of the row."""
    store.save(ROW)
    store.save_authorization(authorization())
    client.hset(f"{redis_prefix}{{tokens}}:connections", "connect:test:user_1", damage)
    client.set(f"{redis_prefix}{{tokens}}:authorization:{'d' * 64}", damage)
    calls: list[Callable[[], Any]] = [
        lambda: store.load(ROW.reference),
        lambda: store.find(TokenQuery()),
        lambda: store.find(TokenQuery(user_id="user_1")),
        lambda: store.load_authorization("d" * 64),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="not as this package wrote it") as caught:
            call()
        assert not caught.value.retryable
        assert caught.value.__cause__ is None
        assert MARK not in str(caught.value)


def test_a_row_that_an_index_names_is_missed(client: redis.Redis, store: RedisTokenStore, redis_prefix: str) -> None:
    """Rows that somebody deleted behind the store's back are not passed over in silence when they are looked for."""
    store.save(ROW)
    client.delete(f"{redis_prefix}{{tokens}}:connections")
    for query in (TokenQuery(), TokenQuery(account="acct_1"), TokenQuery(expires_before=1.8e9)):
        with pytest.raises(StoreError, match="not as this package wrote it"):
            store.find(query)


class Failing(redis.Redis):
    """Fails as it is told."""

    error: Exception = exceptions.RedisError()

    def evalsha(self, *arguments: Any) -> Any:
        raise self.error


class AsyncFailing(redis.asyncio.Redis):
    """Fails as it is told."""

    error: Exception = exceptions.RedisError()

    async def evalsha(self, *arguments: Any) -> Any:  # type: ignore[override]
        raise self.error


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (exceptions.ConnectionError, True),
        (exceptions.TimeoutError, True),
        (exceptions.BusyLoadingError, True),
        (exceptions.ReadOnlyError, True),
        (exceptions.OutOfMemoryError, True),
        (exceptions.TryAgainError, True),
        (exceptions.ClusterDownError, True),
        (exceptions.MasterDownError, True),
        (exceptions.AuthenticationError, False),
        (exceptions.AuthorizationError, False),
        (exceptions.NoPermissionError, False),
        (exceptions.ResponseError, False),
        (exceptions.DataError, False),
    ],
)
def test_errors_of_redis_become_store_errors(error: type[Exception], retryable: bool) -> None:
    """What redis-py raises becomes a ``StoreError`` that names its kind, chains it, holds no value and says whether a retry may help."""
    raised = error(MARK)
    client, native = Failing(), AsyncFailing()
    client.error = native.error = raised
    store, other = RedisTokenStore(client), AsyncRedisTokenStore(native)
    calls: list[Callable[[], Any]] = [
        lambda: store.load(ROW.reference),
        lambda: store.save(ROW),
        lambda: store.find(TokenQuery()),
        lambda: store.load_authorization(MARK),
        lambda: store.save_authorization(authorization()),
        lambda: asyncio.run(other.save(ROW)),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=error.__name__) as caught:
            call()
        assert caught.value.retryable is retryable
        assert caught.value.__cause__ is raised
        assert MARK not in str(caught.value)


def test_a_client_of_the_other_colour_is_refused() -> None:
    """An async client for the sync store, and a sync one for the async store, are refused with the name of the right class."""
    wrong: Any = redis.asyncio.Redis()
    with pytest.raises(ConfigurationError, match="AsyncRedisTokenStore"):
        RedisTokenStore(wrong)
    wrong = redis.Redis()
    with pytest.raises(ConfigurationError, match=r" RedisTokenStore"):
        AsyncRedisTokenStore(wrong)


def test_repr_shows_the_prefix_only() -> None:
    """The repr of a store says nothing of where Redis is and of its password."""
    url = f"redis://:{MARK}@127.0.0.1:1/0"
    assert repr(RedisTokenStore(redis.Redis.from_url(url))) == "RedisTokenStore(prefix='atom_stripe:')"
    assert repr(AsyncRedisTokenStore(redis.asyncio.Redis.from_url(url), prefix="a:")) == "AsyncRedisTokenStore(prefix='a:')"


def test_references_cannot_be_confused(store: RedisTokenStore) -> None:
    """A user's id that looks like the inside of a key is a user's id."""
    store.save(ROW)
    for user in ("live:user_1", "test:user_1", "", "*", "user_1\0"):
        assert store.load(Reference(user, "connect", livemode=False)) is None
        assert list(store.find(TokenQuery(user_id=user))) == []
