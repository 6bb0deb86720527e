"""Health and metrics, in both frameworks."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atom_stripe import API_VERSION, InboxConfig
from atom_stripe._engine.drive import run
from atom_stripe._engine.endpoints import EndpointFlow
from atom_stripe.errors import ConnectError
from atom_stripe.metrics import NoMetrics, PrometheusMetrics
from atom_stripe.protocols import Step, TokenRecord
from atom_stripe.protocols.engines import EngineHealth
from atom_stripe.service import Parts, Service, ServiceConfig, health
from atom_stripe.service.exchange import settled
from atom_stripe.stores.inbox_memory import MemoryInboxStore
from atom_stripe.stores.memory import AsyncMemoryTokenStore, MemoryTokenStore
from atom_stripe.testing import AsyncFaultyTokenStore, FaultyInboxStore, FaultyTokenStore, sign
from tests.canary import ACCESS_TOKEN, API_KEY, MARK, REFRESH_TOKEN
from tests.service.conftest import SECRET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.service.conftest import Reply, Visitor, World

NAMES = ["stripe", "webhook_endpoint", "database", "migrations", "redis", "inbox", "engine", "token_store", "tokens"]
ENDPOINT = "https://shop.example/webhooks"


def event(number: int, type: str = "invoice.paid") -> bytes:
    raw = {"id": f"evt_{number}", "object": "event", "type": type, "api_version": API_VERSION, "created": 1, "livemode": False}
    return json.dumps({**raw, "data": {"object": {"id": f"in_{number}", "object": "invoice"}}}).encode()


def deliver(world: World, visitor: Visitor, body: bytes) -> None:
    signature = sign(body, SECRET, timestamp=int(world.sandbox.clock.timestamp))
    assert visitor.post("/webhooks", content=body, headers={"Stripe-Signature": signature}, user=None).status == 200


def memory_store(world: World) -> MemoryInboxStore:
    return MemoryInboxStore(clock=lambda: world.sandbox.clock.timestamp)


def tokens(world: World, rows: Sequence[TokenRecord] = (), *, faulty: bool = False) -> Any:
    memory = MemoryTokenStore()
    for row in rows:
        assert memory.save(row)
    if not world.asynchronous:
        return FaultyTokenStore(memory) if faulty else memory
    return AsyncFaultyTokenStore(AsyncMemoryTokenStore(memory)) if faulty else AsyncMemoryTokenStore(memory)


def dead(number: int) -> TokenRecord:
    return TokenRecord(
        id=f"row_{number:03}",
        user_id=f"user_{number}",
        profile="connect",
        livemode=False,
        state="reauthorization_required",
        access_token=ACCESS_TOKEN,
        refresh_token=REFRESH_TOKEN,
    )


def handles(world: World, inbox: Any, type: str) -> None:
    """Register a handler, which is called ``paid``."""

    async def native(_event: Any, _context: Any) -> None: ...

    def blocking(_event: Any, _context: Any) -> None: ...

    inbox.on(type, name="paid")(native if world.asynchronous else blocking)


def subscribe(world: World, events: Any = ("*",)) -> str:
    made = world.sandbox.client().webhook_endpoints.create(url=ENDPOINT, enabled_events=list(events))
    return str(made.id)


def checks(answer: Reply) -> dict[str, str]:
    """The status of each check that is not off."""
    assert list(answer.json["checks"]) == NAMES
    assert all(one["detail"] for one in answer.json["checks"].values())
    return {name: one["status"] for name, one in answer.json["checks"].items() if one["status"] != "off"}


def detail(answer: Reply, name: str) -> dict[str, Any]:
    found: dict[str, Any] = answer.json["checks"][name]
    return found


def test_a_load_balancer_asks_often(world: World) -> None:
    """Anybody may ask whether the service works; one word is told, none of it is kept, and Stripe is not asked."""
    visitor = world.mount(client=world.client(), inbox=world.inbox(), oauth=None)
    world.sandbox.faults.next(drop=True)
    answer = visitor.get("/health", user=None)
    assert (answer.status, answer.json, answer.headers["cache-control"]) == (200, {"status": "ok"}, "no-store")
    assert len(world.sandbox.faults) == 1


def test_an_inbox_that_takes_nothing(world: World) -> None:
    """When deliveries cannot be stored the service is down, and when they can again it is not."""
    store = FaultyInboxStore(MemoryInboxStore())
    visitor = world.mount(inbox=world.inbox(store=store))
    store.faults.next(operation="value", kind="fail")
    answer = visitor.get("/health")
    assert (answer.status, answer.json) == (503, {"status": "down"})
    assert visitor.get("/health").json == {"status": "ok"}


def test_a_database_that_hangs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store hangs, everybody is answered, and the store is asked once for all of them."""
    monkeypatch.setattr(health, "_PATIENCE", 0.1)
    monkeypatch.setattr(health, "_PATIENCE_DETAILED", 0.1)
    released = threading.Event()
    asked = list[str]()

    class Hanging(MemoryInboxStore):
        def value(self, name: str, /) -> str | None:
            asked.append(name)
            released.wait(60)
            return super().value(name)

        def counts(self) -> Any:
            released.wait(60)
            return super().counts()

    visitor = world.mount(inbox=world.inbox(store=Hanging()))
    try:
        for _ in range(3):
            assert visitor.get("/health").status == 503
        assert len(asked) == 1
        late = visitor.get("/health/detailed")
        assert (late.status, detail(late, "inbox")) == (503, {"status": "down", "detail": "no answer within 0.1 s"})
    finally:
        released.set()
    monkeypatch.setattr(health, "_PATIENCE", 60.0)
    assert visitor.get("/health").json == {"status": "ok"}


def test_a_token_store_that_is_away(world: World) -> None:
    """Without the tokens nobody can be acted for; where deliveries are taken all the same, that goes on."""
    store = tokens(world, faulty=True)
    manager = world.manager(store=store)
    alone = world.mount(oauth=manager)
    both = world.mount(oauth=manager, inbox=world.inbox())
    for visitor, status, word in ((alone, 503, "down"), (both, 200, "degraded")):
        assert visitor.get("/health").json == {"status": "ok"}
        store.faults.next(operation="load", kind="fail")
        answer = visitor.get("/health")
        assert (answer.status, answer.json) == (status, {"status": word})
    store.faults.next(operation="load", kind="fail")
    store.faults.next(operation="find", kind="fail")
    answer = both.get("/health/detailed")
    assert (answer.status, checks(answer)["token_store"], checks(answer)["tokens"]) == (503, "down", "down")
    assert both.get("/health/detailed").json["status"] == "ok"


def test_all_is_well(world: World) -> None:
    """A service of all parts, each of which works, is ok; what it does not have is off."""
    subscribe(world)
    manager = world.manager()
    visitor = world.mount(client=world.client(oauth=manager), inbox=world.inbox(), oauth=manager)
    answer = visitor.get("/health/detailed")
    assert (answer.status, answer.json["status"], answer.headers["cache-control"]) == (200, "ok", "no-store")
    assert checks(answer) == dict.fromkeys(("stripe", "webhook_endpoint", "inbox", "token_store", "tokens"), "ok")
    assert detail(answer, "stripe") == {"status": "ok", "detail": "Stripe accepts the key, in test mode", "livemode": False}
    assert detail(answer, "inbox") == {
        "status": "ok",
        "detail": "events are handled in time",
        "pending": 0,
        "running": 0,
        "delayed": 0,
        "parked": 0,
        "oldest_pending_age": None,
        "paused": [],
    }


def test_only_operators_see_details(world: World) -> None:
    """Details and metrics are for operators; without anybody who knows those, the routes are not there."""
    visitor = world.mount(inbox=world.inbox(), metrics=PrometheusMetrics())
    for path in ("/health/detailed", "/metrics"):
        answer = visitor.get(path, user=None)
        assert (answer.status, answer.kind) == (401, "not_authorized")
    bare = world.mount(inbox=world.inbox(), metrics=PrometheusMetrics(), authorize=None)
    assert [bare.get(path).status for path in ("/health", "/health/detailed", "/metrics")] == [200, 404, 404]


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"drop": True}, "Stripe does not answer, in test mode"),
        ({"timeout": True}, "Stripe does not answer, in test mode"),
        ({"body": b"<html>"}, "Stripe does not answer, in test mode"),
        ({"status": 500}, "Stripe answers with errors, in test mode"),
        ({"status": 429}, "no more requests are let in now, in test mode"),
    ],
    ids=["broken", "silent", "no JSON", "500", "429"],
)
def test_stripe_is_away(world: World, fault: dict[str, Any], word: str) -> None:
    """Without Stripe the service is degraded, and not down: it takes what Stripe delivers."""
    subscribe(world)
    visitor = world.mount(client=world.client(), inbox=world.inbox())
    world.sandbox.faults.next(**fault)
    answer = visitor.get("/health/detailed")
    assert (answer.status, answer.json["status"]) == (200, "degraded")
    assert checks(answer) == {"stripe": "degraded", "inbox": "ok"}
    assert detail(answer, "stripe")["detail"] == word


def test_stripe_is_asked_seldom(world: World) -> None:
    """What Stripe said is believed for the interval, good or bad; then it is asked again."""
    visitor = world.mount(client=world.client())
    world.sandbox.faults.next(status=500)
    assert [visitor.get("/health/detailed").json["status"] for _ in range(3)] == ["degraded"] * 3
    hurried = world.mount(client=world.client(), config=ServiceConfig(health_interval=1e-9))
    world.sandbox.faults.next(status=500)
    assert [hurried.get("/health/detailed").json["status"] for _ in range(2)] == ["degraded", "ok"]


def test_one_asks_for_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many operators ask at the same time, Stripe is asked once."""
    asked = list[int]()
    everybody = threading.Event()
    begin = EndpointFlow.all

    async def counted(self: EndpointFlow) -> Any:
        asked.append(1)
        while world.asynchronous is False and not everybody.wait(0.01):
            pass
        return await begin(self)

    monkeypatch.setattr(EndpointFlow, "all", counted)
    visitor = world.mount(client=world.client())
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(visitor.get, "/health/detailed") for _ in range(8)]
        everybody.set()
        assert [answer.result().status for answer in answers] == [200] * 8
    assert len(asked) == 1


def test_a_key_that_is_refused(world: World) -> None:
    """A key that Stripe does not accept is down: nobody can pay until an operator acts. Nothing of the key is told."""
    visitor = world.mount(client=world.client(api_key=API_KEY), inbox=world.inbox())
    world.sandbox.faults.next(status=401)
    answer = visitor.get("/health/detailed")
    assert (answer.status, answer.json["status"]) == (503, "down")
    assert detail(answer, "stripe") == {
        "status": "down",
        "detail": "Stripe does not accept the key, in test mode",
        "livemode": False,
    }
    assert MARK.encode() not in answer.body
    assert visitor.get("/health").json == {"status": "ok"}


def test_a_key_that_may_not_look(world: World) -> None:
    """A restricted key that may not read endpoints is accepted all the same."""
    visitor = world.mount(client=world.client(), inbox=world.inbox())
    world.sandbox.faults.next(status=403)
    answer = visitor.get("/health/detailed")
    assert (answer.json["status"], detail(answer, "stripe")["status"]) == ("ok", "ok")
    assert detail(answer, "webhook_endpoint") == {"status": "off", "detail": "the key may not read webhook endpoints"}


def test_the_endpoint_at_stripe(world: World) -> None:
    """An endpoint that is missing, disabled, or not subscribed to what a handler waits for is degraded."""
    inbox = world.inbox()
    handles(world, inbox, "invoice.paid")
    visitor = world.mount(client=world.client(), inbox=inbox, config=ServiceConfig(health_interval=1e-9))

    def found() -> dict[str, Any]:
        return detail(visitor.get("/health/detailed"), "webhook_endpoint")

    none = {"status": "degraded", "detail": "Stripe has no enabled webhook endpoint", "enabled": 0}
    assert found() == {**none, "problems": ["no_endpoint"]}
    other = subscribe(world, ["charge.refunded"])
    lost = "events that handlers wait for do not come: see atom-stripe doctor"
    assert found() == {"status": "degraded", "detail": lost, "enabled": 1, "problems": ["not_subscribed"]}
    fitting = subscribe(world, ["invoice.paid"])
    assert found() == {"status": "ok", "detail": "Stripe delivers", "enabled": 2, "problems": []}
    operator = world.sandbox.client()
    operator.webhook_endpoints.update(other, disabled=True)
    assert found() == {"status": "ok", "detail": "Stripe delivers", "enabled": 1, "problems": ["disabled"]}
    operator.webhook_endpoints.update(fitting, disabled=True)
    assert found() == {**none, "problems": ["disabled"]}


def test_an_inbox_of_the_other_mode(world: World) -> None:
    """An inbox that sets aside what the key's mode delivers is degraded."""
    subscribe(world)
    visitor = world.mount(client=world.client(), inbox=world.inbox(config=InboxConfig(livemode=True)))
    found = detail(visitor.get("/health/detailed"), "webhook_endpoint")
    assert (found["status"], found["problems"]) == ("degraded", ["mode_mismatch"])


def test_thin_events_come_another_way(world: World) -> None:
    """Where handlers want thin events alone, no webhook endpoint is missed."""
    inbox = world.inbox()
    handles(world, inbox, "v1.invoice.paid")
    visitor = world.mount(client=world.client(), inbox=inbox)
    answer = visitor.get("/health/detailed")
    assert (answer.json["status"], detail(answer, "webhook_endpoint")["status"]) == ("ok", "off")


def test_without_a_client(world: World) -> None:
    """An inbox without any client asks nobody; one with a client of its own asks with that."""
    visitor = world.mount(inbox=world.inbox())
    assert checks(visitor.get("/health/detailed")) == {"inbox": "ok"}
    visitor = world.mount(inbox=world.inbox(client=world.client()))
    assert checks(visitor.get("/health/detailed")) == {"stripe": "ok", "webhook_endpoint": "degraded", "inbox": "ok"}


def test_a_late_event(world: World) -> None:
    """An event that has waited for longer than the limit is degraded, with the seconds."""
    visitor = world.mount(inbox=world.inbox(store=memory_store(world)), config=ServiceConfig(lag_limit=300.0))
    deliver(world, visitor, event(1))
    world.sandbox.clock.advance(seconds=299)
    assert visitor.get("/health/detailed").json["status"] == "ok"
    world.sandbox.clock.advance(seconds=2)
    answer = visitor.get("/health/detailed")
    found = detail(answer, "inbox")
    assert (answer.status, answer.json["status"]) == (200, "degraded")
    assert (found["detail"], found["pending"], found["oldest_pending_age"]) == (
        "events wait for too long: does a worker run?",
        1,
        301.0,
    )
    assert visitor.get("/health").json == {"status": "ok"}


def test_a_parked_event(world: World) -> None:
    """A parked event is degraded, with the number of them."""
    store = memory_store(world)
    visitor = world.mount(inbox=world.inbox(store=store))
    deliver(world, visitor, event(1))
    (waiting,) = store.waiting(0, 10)
    claimed: Any = store.claim(waiting.lane, "run", 60.0)
    store.advance(Step(id=claimed.id, run="run", handlers={}, status="parked"))
    found = detail(visitor.get("/health/detailed"), "inbox")
    assert (found["status"], found["detail"], found["parked"]) == ("degraded", "handlers gave up on parked events", 1)


def test_a_paused_handler(world: World) -> None:
    """A handler that an operator paused is named, and no failure."""
    inbox = world.inbox()
    handles(world, inbox, "invoice.paid")
    inbox.operations.pause("paid", actor="operator")
    found = detail(world.mount(inbox=inbox).get("/health/detailed"), "inbox")
    assert (found["status"], found["paused"]) == ("ok", ["paid"])


def test_users_who_have_to_come_back(world: World) -> None:
    """Connections that need their users are counted, up to a limit; no user and no token is told."""
    for rows, number, word in (
        (0, 0, "no user has to connect again"),
        (2, 2, "users have to connect again"),
        (100, 100, "users have to connect again"),
        (101, 100, "more than 100 users have to connect again"),
    ):
        manager = world.manager(store=tokens(world, [dead(one) for one in range(rows)]))
        answer = world.mount(oauth=manager).get("/health/detailed")
        found = detail(answer, "tokens")
        assert (found["status"], found["detail"]) == ("degraded" if rows else "ok", word)
        assert found["reauthorization_required"] == number
        assert b"user_" not in answer.body
        assert MARK.encode() not in answer.body


def test_tables_that_are_not_up_to_date(world: World, database_url: str) -> None:
    """A database without its tables is down, with what to do; after the upgrade all is well; tables of a newer release still work."""
    from sqlalchemy import column, create_engine, table, update

    from atom_stripe.stores import sql
    from atom_stripe.stores._sql.migrations import VERSION_TABLE

    with sql.SqlInboxStore.from_url(database_url) as store:
        visitor = world.mount(inbox=world.inbox(store=store))
        answer = visitor.get("/health/detailed")
        assert (answer.status, checks(answer)) == (503, {"database": "ok", "migrations": "down", "inbox": "down"})
        assert detail(answer, "migrations")["detail"] == "the tables are not up to date: atom-stripe db upgrade"
        assert visitor.get("/health").status == 503
        done = sql.upgrade(database_url)
        assert detail(visitor.get("/health/detailed"), "migrations") == {
            "status": "ok",
            "detail": "the tables are up to date",
            "revision": done[-1],
            "pending": 0,
        }
        assert visitor.get("/health").status == 200
        kind = database_url.replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(kind)
        with engine.begin() as connection:
            connection.execute(update(table(VERSION_TABLE, column("version_num"))).values(version_num="of_tomorrow"))
        engine.dispose()
        answer = visitor.get("/health/detailed")
        assert checks(answer) == {"database": "ok", "migrations": "degraded", "inbox": "ok"}


def test_a_database_that_is_away(world: World, tmp_path: Any) -> None:
    """A database that cannot be opened is down in both stores, and no path or URL of it is told."""
    from atom_stripe.stores import sql

    url = f"sqlite:///{tmp_path}/missing/file.db"
    kept: Any = sql.AsyncSqlTokenStore.from_url(url) if world.asynchronous else sql.SqlTokenStore.from_url(url)
    with sql.SqlInboxStore.from_url(url) as store:
        visitor = world.mount(inbox=world.inbox(store=store), oauth=world.manager(store=kept))
        answer = visitor.get("/health/detailed")
        assert (answer.status, answer.json["status"]) == (503, "down")
        assert checks(answer) == dict.fromkeys(("database", "inbox", "token_store", "tokens"), "down")
        assert b"missing" not in answer.body
        assert visitor.get("/health").json == {"status": "down"}


def test_a_store_that_was_closed(world: World, sqlite_url: str) -> None:
    """A store that somebody closed is down."""
    from atom_stripe.stores import sql

    sql.upgrade(sqlite_url)
    store = sql.SqlInboxStore.from_url(sqlite_url)
    visitor = world.mount(inbox=world.inbox(store=store))
    assert visitor.get("/health").json == {"status": "ok"}
    store.close()
    assert visitor.get("/health").json == {"status": "down"}
    answer = visitor.get("/health/detailed")
    for name in ("inbox", "database", "migrations"):
        assert detail(answer, name) == {"status": "down", "detail": "failed with ClientClosedError"}


def test_redis(world: World, redis_url: str, redis_prefix: str) -> None:
    """Redis is looked at where limits or tokens are in it: without it requests are not limited, and nobody can be acted for."""
    import redis
    import redis.asyncio

    from atom_stripe.stores.redis import AsyncRedisTokenStore, RedisTokenStore

    make: Any = redis.asyncio.Redis.from_url if world.asynchronous else redis.Redis.from_url
    kind: Any = AsyncRedisTokenStore if world.asynchronous else RedisTokenStore
    client, away = make(redis_url), make(f"redis://:{MARK}@127.0.0.1:1/0")
    parts = Parts(oauth=world.manager(store=kind(client, prefix=redis_prefix)), authorize=lambda: None)
    service = Service(parts, ServiceConfig(limit_storage=redis_url), asynchronous=world.asynchronous, extra="redis")
    storage: Any = health.watch(service).limits

    async def flow() -> Any:
        try:
            return (await health.watch(service).examined())["redis"].content()
        finally:
            # In the loop that their connections belong to.
            for one in (client, storage.bridge.storage if world.asynchronous else storage.storage):
                await settled(one.aclose() if world.asynchronous else one.close())

    found = anyio.run(flow) if world.asynchronous else run(flow())
    assert found == {"status": "ok", "detail": "Redis answers", "uses": ["limits", "tokens"]}
    limits = ServiceConfig(limit_storage=f"redis://:{MARK}@127.0.0.1:1/0")
    visitor = world.mount(client=world.client(), config=limits)
    answer = visitor.get("/health/detailed")
    assert detail(answer, "redis")["status"] == answer.json["status"] == "degraded"
    assert MARK.encode() not in answer.body
    visitor = world.mount(oauth=world.manager(store=kind(away, prefix=redis_prefix)))
    answer = visitor.get("/health/detailed")
    assert (answer.status, checks(answer)) == (503, {"redis": "down", "token_store": "down", "tokens": "down"})
    assert MARK.encode() not in answer.body


class Woken(MemoryInboxStore):
    """A store that an engine could work with."""

    @property
    def wakes(self) -> bool:
        return True


class Engine:
    """An engine that says of itself what a test wants."""

    def __init__(self, **facts: Any) -> None:
        self.steps: list[str] = facts.pop("steps", [])
        self.facts: dict[str, Any] = {
            "running": False,
            "listening": False,
            "restarts": 0,
            "error": None,
            "waiting": 0,
            "recovered": 0,
            **facts,
        }

    def wake(self, connection: Any, lanes: Sequence[str], /) -> None:
        """Nothing is stored here."""

    def pending(self, url: str | None = None, /) -> list[str]:
        assert url is None
        return self.steps

    def health(self) -> EngineHealth:
        return EngineHealth(**self.facts)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, "ok"),
        ({"running": True, "listening": True}, "ok"),
        ({"running": True, "listening": False, "error": API_KEY}, "degraded"),
        ({"waiting": None}, "degraded"),
        ({"steps": ["1", "2"]}, "down"),
    ],
    ids=["elsewhere", "here", "deaf", "silent", "old tables"],
)
def test_an_engine(world: World, facts: dict[str, Any], status: str) -> None:
    """An engine that does not hear, or whose database does not say, is degraded; one whose tables are old lets nothing be stored."""
    visitor = world.mount(inbox=world.inbox(store=Woken(), engine=Engine(**facts)))
    answer = visitor.get("/health/detailed")
    assert (answer.json["status"], detail(answer, "engine")["status"]) == (status, status)
    assert MARK.encode() not in answer.body


def test_a_check_that_is_interrupted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that ends without an outcome, as when an event loop ends, is told as such and holds no other up."""
    made = health.Watch._made

    async def interrupted(self: health.Watch, check: Any) -> Any:
        if check.names == ("inbox",):
            msg = f"the loop ended beside {API_KEY}"
            raise ConnectError(msg)
        return await made(self, check)

    monkeypatch.setattr(health.Watch, "_made", interrupted)
    answer = world.mount(client=world.client(), inbox=world.inbox()).get("/health/detailed")
    assert detail(answer, "inbox") == {"status": "down", "detail": "failed with ConnectError"}
    assert detail(answer, "stripe")["status"] == "ok"
    assert MARK.encode() not in answer.body


def test_metrics_are_shown(world: World) -> None:
    """Prometheus reads what the routes and the inbox counted, in its own format."""
    metrics = PrometheusMetrics()
    visitor = world.mount(client=world.client(), inbox=world.inbox(metrics=metrics), metrics=metrics)
    deliver(world, visitor, event(1))
    deliver(world, visitor, event(1))
    assert visitor.post("/payments", {"amount": 2000, "currency": "usd"}).status == 201
    answer = visitor.get("/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, metrics.content_type)
    lines = answer.body.decode().splitlines()
    assert 'atom_stripe_webhook_received_total{result="stored"} 1.0' in lines
    assert 'atom_stripe_webhook_received_total{result="duplicate"} 1.0' in lines
    assert 'atom_stripe_http_requests_total{operation="create_payment",status="2xx"} 1.0' in lines
    assert 'atom_stripe_http_request_seconds_count{operation="create_payment",status="2xx"} 1.0' in lines
    assert 'atom_stripe_payments_total{outcome="failed"} 0.0' in lines


def test_a_process_without_a_worker_says_what_waits(world: World) -> None:
    """The age of the oldest event is right in a process that handles none: when all workers are dead, nobody else would say it."""
    metrics = PrometheusMetrics()
    inbox = world.inbox(metrics=metrics)
    inbox.on("invoice.paid")(lambda event, context: None)
    visitor = world.mount(client=world.client(), inbox=inbox, metrics=metrics)
    deliver(world, visitor, event(1))
    lines = visitor.get("/metrics").body.decode().splitlines()
    assert 'atom_stripe_inbox_events{status="pending"} 1.0' in lines
    [age] = [float(line.rpartition(" ")[2]) for line in lines if line.startswith("atom_stripe_inbox_oldest_pending_age_seconds ")]
    assert age > 0


def test_without_metrics(world: World) -> None:
    """Where no metrics were given there is nothing to show."""
    assert world.mount(client=world.client()).get("/metrics").status == 404


def test_metrics_that_cannot_be_read(world: World) -> None:
    """Metrics that only take numbers have no route."""
    assert world.mount(client=world.client(), metrics=NoMetrics()).get("/metrics").status == 404
