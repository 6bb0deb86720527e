"""Keyrings, and keys that a key service guards."""

from __future__ import annotations

import copy
import hashlib
import inspect
import multiprocessing
import os
import pickle
import re
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from atom_stripe._wire.sealing import fingerprint, key_of, seal, unseal
from atom_stripe.errors import ConfigurationError, StoreError, TamperedTokenError, UnknownKeyError
from atom_stripe.keys import AsyncEnvelopeKeys, EnvelopeKeys, Keyring
from atom_stripe.protocols import TokenRecord
from tests.canary import ACCESS_TOKEN, MARK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atom_stripe.keys import AsyncKeyWrapper, KeyWrapper
    from atom_stripe.protocols import AsyncKeyProvider, DataKey, KeyProvider

ROW = TokenRecord(id="con_1", user_id="user_1", profile="stripe_app", livemode=True, account="acct_1", generation=7)


def secret(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def text(id: str, name: str | None = None) -> str:
    """Return the key *name*, which is random enough, as it is configured under *id*."""
    return f"{id}:{b64encode(secret(name or id)).decode()}"


# A key in the text of which the planted mark can be found, and the same for the secret's bytes.
PLANTED = "planted:" + (MARK + b64encode(secret("planted")).decode()[len(MARK) :])
LOOKUP = text("lookup")


# Keyrings.


def test_the_first_encrypts_and_all_decrypt() -> None:
    """A token is encrypted with the first key, and can be read for as long as that key stands anywhere."""
    old, new = Keyring([text("old")]), Keyring([text("new"), text("old")])
    assert (old.current().id, new.current().id, new.ids) == ("old", "new", ("new", "old"))
    sealed = seal(ACCESS_TOKEN, key=old.current(), column="access_token", record=ROW, nonce=bytes(12))
    assert unseal(sealed, key=new.get(*key_of(sealed, ROW)), column="access_token", record=ROW) == ACCESS_TOKEN
    with pytest.raises(UnknownKeyError, match="the key 'old', which is not configured: put it back") as caught:
        Keyring([text("new")]).get(*key_of(sealed, ROW))
    assert caught.value.key_id == "old"


def test_another_key_with_the_same_id() -> None:
    """A key that was replaced under its id is noticed when a token is read."""
    sealed = seal(ACCESS_TOKEN, key=Keyring([text("a")]).current(), column="access_token", record=ROW, nonce=bytes(12))
    with pytest.raises(TamperedTokenError):
        unseal(sealed, key=Keyring([text("a", "another")]).get("a"), column="access_token", record=ROW)


def test_keys_of_a_service_are_not_in_a_keyring() -> None:
    """A wrapped key is none of a keyring's, even under an id that it has."""
    with pytest.raises(UnknownKeyError, match="of a key service"):
        Keyring([text("a")]).get("a", b"wrapped")


def test_how_a_key_may_be_written() -> None:
    """Both alphabets of base64 are read, with and without padding and white space around, as text or as a secret."""
    # A key with both of the digits in which the alphabets differ.
    raw = next(key for key in (secret(str(number)) for number in range(1000)) if {"+", "/"} <= set(b64encode(key).decode()))
    for encoded in (b64encode(raw).decode(), urlsafe_b64encode(raw).decode()):
        for written in (f"a:{encoded}", f"a:{encoded.rstrip('=')}", f" a:{encoded}\n"):
            assert Keyring([written]).current().secret == raw
            assert Keyring((SecretStr(written),)).current().secret == raw
    assert Keyring(f"a:{b64encode(raw).decode()}").ids == ("a",)


@given(raw=st.binary(min_size=32, max_size=32))
def test_what_is_made_can_be_read(raw: bytes) -> None:
    """32 bytes are a key or are refused as not random; there is no third outcome."""
    try:
        assert Keyring([f"a:{b64encode(raw).decode()}"]).current().secret == raw
    except ConfigurationError as error:
        assert "is not random" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([], "there is no key in token_keys; `atom-stripe keys generate` makes one"),
        (None, "token_keys are texts"),
        ({"a": "b"}, "token_keys are texts"),
        ([None], "key 1 of token_keys is a NoneType"),
        ([b"a:" + MARK.encode()], "key 1 of token_keys is a bytes"),
        ([MARK], "key 1 of token_keys has no id"),
        ([text("a"), f":{MARK}"], "key 2 of token_keys has no id"),
        ([f"an id with spaces:{MARK}"], "has no id"),
        ([f"{'a' * 65}:{MARK}"], "has no id"),
        ([f"a:{MARK}"], "is not base64"),
        ([f"a:{MARK} {MARK}"], "is not base64"),
        ([f"a:{MARK}é"], "is not base64"),
        (["a:"], "is not 32 bytes"),
        ([f"a:{MARK}AAA"], "is not 32 bytes"),
        (["a:" + b64encode(secret("a")[:31]).decode()], "is not 32 bytes"),
        (["a:" + b64encode(secret("a") * 2).decode()], "is not 32 bytes"),
        (["a:" + b64encode(bytes(32)).decode()], "is not random: it repeats itself"),
        (["a:" + b64encode(b"\xa7" * 32).decode()], "is not random: it repeats itself"),
        (["a:" + b64encode(secret("a")[:8] * 4).decode()], "is not random: it repeats itself"),
        (["a:" + b64encode(bytes(range(32))).decode()], "is not random: it repeats itself"),
        (["a:" + b64encode(bytes(range(255, 159, -3))).decode()], "is not random: it repeats itself"),
        (["a:" + b64encode(b"Our token key for production, v1").decode()], "is not random: it is a text"),
        ([text("a"), text("b"), text("a", "c")], "two of token_keys have the id a"),
        ([text("a"), text("b", "a")], "a and b in token_keys are the same key"),
        ([text("a"), text("fernet", "a")], "a and fernet in token_keys are the same key"),
        ([text("fernet")], "a Fernet key only decrypts, so it cannot be the first"),
        ([text("fernet"), text("a")], "a Fernet key only decrypts, so it cannot be the first"),
    ],
)
def test_bad_keys(keys: Any, message: str) -> None:
    """What is no set of keys is refused in words that say what to do, and that show nothing of it."""
    with pytest.raises(ConfigurationError) as caught:
        Keyring(keys)
    assert message in str(caught.value)
    assert MARK not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_damaged_last_digit() -> None:
    """A key whose last digit has bits that no key has was copied badly, and is refused."""
    encoded = b64encode(secret("a")).decode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    damaged = encoded[:42] + alphabet[alphabet.index(encoded[42]) ^ 1] + "="
    with pytest.raises(ConfigurationError, match="is not 32 bytes"):
        Keyring([f"a:{damaged}"])


def test_generated_keys() -> None:
    """A generated key is one that a keyring takes, under the id that it was given or one with the day in it, and never made twice."""
    made = [Keyring.generate_key(day=date(2026, 11, 23)) for _ in range(50)]
    assert all(re.match(r"2026-11-23-[0-9a-f]{4}:", key) for key in made)
    assert len({Keyring([key]).current().secret for key in made}) == 50
    assert Keyring([Keyring.generate_key("mine")]).ids == ("mine",)
    before = datetime.now(UTC).date()
    today = Keyring.generate().ids[0]
    assert today[:10] in {before.isoformat(), datetime.now(UTC).date().isoformat()}


@pytest.mark.parametrize("id", ["", "a:b", "é", "a" * 65, "fernet", 5])
def test_generated_keys_have_proper_ids(id: Any) -> None:
    """No key is made under an id that a keyring would not take."""
    with pytest.raises(ConfigurationError, match="the id of a key is up to 64"):
        Keyring.generate_key(id)


def test_lookup_keys() -> None:
    """Fingerprints are made with secrets of their own, one for each key in its order, none for Fernet; they decrypt nothing."""
    ring = Keyring([text("new"), text("fernet"), text("old")])
    lookups = ring.lookup_keys()
    assert len(lookups) == 2
    assert lookups[1:] == Keyring([text("old")]).lookup_keys()
    assert lookups == Keyring([text("new"), text("old")]).lookup_keys()
    assert not {*lookups} & {ring.get(key_id).secret for key_id in ring.ids}
    assert len({fingerprint(ACCESS_TOKEN, lookup) for lookup in lookups}) == 2


def test_fernet_is_moved_over() -> None:
    """A token of Fernet's is read with its key behind the current one, and from then on sealed with the current one."""
    raw = Fernet.generate_key()
    ring = Keyring([text("new"), f"fernet:{raw.decode()}"])
    row = TokenRecord(id="con_1", user_id="user_1", profile="stripe_app", livemode=True, key_id="fernet")
    sealed = Fernet(raw).encrypt(ACCESS_TOKEN.encode()).decode()
    token = unseal(sealed, key=ring.get(*key_of(sealed, row)), column="access_token", record=row)
    again = seal(token, key=ring.current(), column="access_token", record=row, nonce=bytes(12))
    assert token == ACCESS_TOKEN
    assert key_of(again, row) == ("new", b"")


class Service:
    """A key service: encrypts under its own master key, counts, and fails or waits as it is told."""

    def __init__(self, key_id: str = "kms-1") -> None:
        self.key_id = key_id
        self._master = AESGCM(secret(key_id))
        self.asked: list[str] = []
        self.error: BaseException | None = None
        self.before: Callable[[], object] = lambda: None

    def wrap(self, key: bytes, /) -> bytes:
        self._ask("wrap")
        nonce = os.urandom(12)
        return nonce + self._master.encrypt(nonce, key, None)

    def unwrap(self, wrapped: bytes, /) -> bytes:
        self._ask("unwrap")
        return self._master.decrypt(wrapped[:12], wrapped[12:], None)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self.before()
        if self.error is not None:
            raise self.error


class AsyncService:
    """The same behind an async client."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.takes = 0.0

    @property
    def key_id(self) -> str:
        return self.service.key_id

    async def wrap(self, key: bytes, /) -> bytes:
        await anyio.sleep(self.takes)
        return self.service.wrap(key)

    async def unwrap(self, wrapped: bytes, /) -> bytes:
        await anyio.sleep(self.takes)
        return self.service.unwrap(wrapped)


class Colour:
    """Makes the keys of one colour and waits for what they return, so that one test is written for all."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.now = 1000.0

    def keys(self, service: Any, **settings: Any) -> Any:
        settings = {"fingerprint_key": LOOKUP, "clock": lambda: self.now, **settings}
        return EnvelopeKeys(service, **settings) if self.name == "sync" else AsyncEnvelopeKeys(AsyncService(service), **settings)

    def do(self, call: Callable[..., Any], *arguments: Any) -> Any:
        async def main() -> Any:
            outcome = call(*arguments)
            return await outcome if inspect.isawaitable(outcome) else outcome

        return call(*arguments) if self.name == "sync" else anyio.run(main, backend=self.name)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)


def test_one_data_key_for_many_tokens(colour: Colour) -> None:
    """The service wraps one key, shows once that it can unwrap it, and is not asked again while that key is used."""
    service = Service()
    keys = colour.keys(service)
    first = colour.do(keys.current)
    assert (first.id, len(first.secret)) == ("kms-1", 32)
    assert first.secret not in first.wrapped
    assert [colour.do(keys.current) for _ in range(3)] == [first] * 3
    assert colour.do(keys.get, "kms-1", first.wrapped) == first
    assert service.asked == ["wrap", "unwrap"]


def test_another_process_unwraps(colour: Colour) -> None:
    """A token is read by a process that has never seen its key, which asks the service once for 300 seconds."""
    service = Service()
    key = colour.do(colour.keys(service).current)
    sealed = seal(ACCESS_TOKEN, key=key, column="access_token", record=ROW, nonce=bytes(12))
    service.asked.clear()
    other = colour.keys(service)
    for now in (0, 0.1, 299.9):
        colour.now = 1000.0 + now
        found = colour.do(other.get, *key_of(sealed, ROW))
        assert unseal(sealed, key=found, column="access_token", record=ROW) == ACCESS_TOKEN
    assert service.asked == ["unwrap"]
    colour.now = 1300.0
    assert colour.do(other.get, *key_of(sealed, ROW)) == key
    assert service.asked == ["unwrap", "unwrap"]


def test_a_data_key_has_a_lifetime(colour: Colour) -> None:
    """After *lifetime* seconds there is a new data key, wrapped once; the one of before can still be had."""
    service = Service()
    keys = colour.keys(service, lifetime=60)
    first = colour.do(keys.current)
    colour.now += 59.9
    assert colour.do(keys.current) == first
    colour.now += 0.1
    second = colour.do(keys.current)
    assert second.secret != first.secret
    assert second.wrapped != first.wrapped
    assert colour.do(keys.get, "kms-1", first.wrapped) == first
    assert service.asked == ["wrap", "unwrap", "wrap"]


def test_a_data_key_has_so_many_uses(colour: Colour) -> None:
    """After it was handed out *uses* times there is a new data key."""
    keys = colour.keys(Service(), uses=3)
    handed_out = [colour.do(keys.current).wrapped for _ in range(7)]
    assert [handed_out.count(wrapped) for wrapped in dict.fromkeys(handed_out)] == [3, 3, 1]


def test_the_memory_is_bounded(colour: Colour) -> None:
    """1024 unwrapped keys are kept at most, the newest; and none whose time is up."""
    service = Service()
    writer = EnvelopeKeys(service, fingerprint_key=LOOKUP, uses=1)
    wrapped = [writer.current().wrapped for _ in range(1030)]
    keys = colour.keys(service)

    def read(several: list[bytes]) -> int:
        service.asked.clear()

        async def main() -> None:
            for one in several:
                await keys.get("kms-1", one)

        if colour.name == "sync":
            for one in several:
                keys.get("kms-1", one)
        else:
            anyio.run(main, backend=colour.name)
        return len(service.asked)

    assert read(wrapped) == 1030
    assert read(wrapped[-1024:]) == 0
    assert read(wrapped[:6]) == 6
    known = keys._envelopes._kept._known
    assert len(known) == 1024
    colour.now += 300
    assert read(wrapped[:1]) == 1
    assert len(known) == 1


def test_a_renamed_master_key(colour: Colour) -> None:
    """As soon as the wrapper names another master key, there is a new data key; *older* has those of before."""
    service, before = Service("kms-2"), Service("kms-1")
    older = colour.keys(before)
    keys = colour.keys(service, older=older, fingerprint_key=text("new"))
    first = colour.do(older.current)
    assert colour.do(keys.current).id == "kms-2"
    assert colour.do(keys.get, "kms-1", first.wrapped) == first
    assert keys.lookup_keys() == Keyring([text("new"), LOOKUP]).lookup_keys()
    service.key_id = "kms-3"
    assert colour.do(keys.current).id == "kms-3"
    with pytest.raises(UnknownKeyError):
        colour.do(keys.get, "kms-0", b"wrapped")


def test_from_a_keyring_to_a_service(colour: Colour) -> None:
    """With the keyring of before as *older*, its tokens are read and found; without it, its keys are unknown."""
    ring = Keyring([text("configured")])
    keys = colour.keys(Service(), older=ring)
    assert colour.do(keys.get, "configured", b"") == ring.current()
    assert keys.lookup_keys() == Keyring([LOOKUP, text("configured")]).lookup_keys()
    with pytest.raises(UnknownKeyError) as caught:
        colour.do(colour.keys(Service()).get, "configured", b"")
    assert caught.value.key_id == "configured"
    with pytest.raises(UnknownKeyError):
        colour.do(colour.keys(Service()).get, "kms-1", b"")


@pytest.mark.parametrize("error", [OSError("no route"), TimeoutError(), RuntimeError("no")])
def test_the_service_is_away(colour: Colour, error: Exception) -> None:
    """An outage of the service is a retryable ``StoreError`` with its cause; afterwards everything goes on."""
    service = Service()
    keys = colour.keys(service)
    service.error = error
    for call in (keys.current, lambda: keys.get("kms-1", b"wrapped")):
        with pytest.raises(StoreError, match=r"the key service could not (un)?wrap a key") as caught:
            colour.do(call)
        assert caught.value.retryable
        assert caught.value.__cause__ is error
    service.error = None
    key = colour.do(keys.current)
    assert colour.do(keys.get, "kms-1", key.wrapped) == key


def test_what_is_in_memory_survives_an_outage(colour: Colour) -> None:
    """While the service is away, tokens are written and read with the keys at hand."""
    service = Service()
    keys = colour.keys(service)
    key = colour.do(keys.current)
    service.error = OSError("no route")
    assert colour.do(keys.current) == key
    assert colour.do(keys.get, "kms-1", key.wrapped) == key


def test_the_service_may_say_what_is_wrong(colour: Colour) -> None:
    """An error of our own tree that a wrapper raises is passed on as it is."""
    service = Service()
    service.error = UnknownKeyError("the master key was deleted", key_id="kms-1")
    with pytest.raises(UnknownKeyError, match="was deleted"):
        colour.do(colour.keys(service).get, "kms-1", b"wrapped")


def test_changed_wrapped_keys(colour: Colour) -> None:
    """A wrapped key that was changed in the store is refused by the service, and gives no key."""
    service = Service()
    wrapped = colour.do(colour.keys(service).current).wrapped
    with pytest.raises(StoreError):
        colour.do(colour.keys(service).get, "kms-1", wrapped[:-1] + bytes([wrapped[-1] ^ 1]))


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda key: key, "must return the key encrypted"),
        (lambda key: b"plain" + key, "must return the key encrypted"),
        (lambda key: b"", "must return the key encrypted"),
        (lambda key: bytes(4097), "must return the key encrypted"),
        (lambda key: "text", r"wrap\(\) of the key wrapper returned str, not bytes"),
        (lambda key: None, r"wrap\(\) of the key wrapper returned NoneType"),
    ],
)
def test_a_wrapper_that_does_not_wrap(colour: Colour, wrap: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapper that returns the bare key, nothing, or far too much is refused before anything is encrypted."""
    service = Service()
    monkeypatch.setattr(service, "wrap", wrap)
    with pytest.raises(ConfigurationError, match=message):
        colour.do(colour.keys(service).current)


def test_a_wrapper_that_cannot_unwrap(colour: Colour, monkeypatch: pytest.MonkeyPatch) -> None:
    """If what was wrapped does not come back, no key is handed out: nothing is encrypted that could not be read."""
    service = Service()
    keys = colour.keys(service)
    monkeypatch.setattr(service, "unwrap", lambda wrapped: secret("something else"))
    with pytest.raises(ConfigurationError, match=r"unwrap\(\) of the key wrapper does not return what wrap\(\) was given"):
        colour.do(keys.current)
    monkeypatch.undo()
    assert colour.do(keys.current).id == "kms-1"


@pytest.mark.parametrize("unwrapped", [b"", b"short", bytes(33)])
def test_a_service_that_unwraps_no_key(colour: Colour, unwrapped: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not 32 bytes is no key of ours."""
    service = Service()
    monkeypatch.setattr(service, "unwrap", lambda wrapped: unwrapped)
    with pytest.raises(UnknownKeyError, match="not a key of 32 bytes") as caught:
        colour.do(colour.keys(service).get, "kms-1", b"wrapped")
    assert caught.value.key_id == "kms-1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lifetime": 0}, "lifetime is a number of seconds above 0"),
        ({"lifetime": float("inf")}, "lifetime is"),
        ({"lifetime": float("nan")}, "lifetime is"),
        ({"lifetime": True}, "lifetime is"),
        ({"lifetime": "300"}, "lifetime is"),
        ({"uses": 0}, "uses is a whole number"),
        ({"uses": 2**30 + 1}, "uses is"),
        ({"uses": 1.5}, "uses is"),
        ({"uses": True}, "uses is"),
        ({"fingerprint_key": MARK}, "key 1 of fingerprint_key has no id"),
        ({"fingerprint_key": []}, "there is no key in fingerprint_key"),
    ],
)
def test_bad_settings(colour: Colour, settings: dict[str, Any], message: str) -> None:
    """Settings that make no sense are refused at once."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        colour.keys(Service(), **settings)
    assert MARK not in repr(caught.value)


@pytest.mark.parametrize("key_id", ["", "arn:aws:kms:eu-west-1:123456789012:key/1", "a" * 65, "fernet", None])
def test_bad_names_of_master_keys(colour: Colour, key_id: Any) -> None:
    """A master key has a short name of one's own, since it is stored with each token."""
    service = Service()
    service.key_id = key_id
    with pytest.raises(ConfigurationError, match="the key_id of a key wrapper is a short name"):
        colour.keys(service)


def test_an_async_wrapper_behind_sync_keys() -> None:
    """An async wrapper or provider that was given to the sync class by mistake is named as that, and nothing is left running."""
    service: Any = AsyncService(Service())
    service.takes = 0.001
    keys = EnvelopeKeys(service, fingerprint_key=LOOKUP)
    outcome: list[BaseException] = []

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="use AsyncEnvelopeKeys") as caught:
            keys.current()
        outcome.append(caught.value)

    anyio.run(main)
    assert len(outcome) == 1


# Several at once.


def together(call: Callable[[], Any], number: int = 16) -> list[Any]:
    """Call from several threads at once; return what each call returned or raised."""
    barrier = threading.Barrier(number)
    outcomes: list[Any] = []

    def run() -> None:
        barrier.wait()
        try:
            outcomes.append(call())
        except Exception as error:  # noqa: BLE001 - handed to the test
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == number
    return outcomes


def test_threads_ask_once() -> None:
    """Threads that need one key at the same time ask the service once, for a new key as for an old one."""
    service = Service()
    service.before = lambda: time.sleep(0.05)
    keys = EnvelopeKeys(service, fingerprint_key=LOOKUP)
    made = together(keys.current)
    assert len({key.wrapped for key in made}) == 1
    assert service.asked == ["wrap", "unwrap"]
    service.asked.clear()
    reader = EnvelopeKeys(service, fingerprint_key=LOOKUP)
    assert together(lambda: reader.get("kms-1", made[0].wrapped)) == made
    assert service.asked == ["unwrap"]


def test_threads_fail_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the service is away, those who wait for one question share its outcome; each gets an error of its own."""
    service = Service()
    keys = EnvelopeKeys(service, fingerprint_key=LOOKUP)
    envelopes, pause = keys._envelopes, keys._envelopes._pause
    waiting: set[int] = set()
    all_wait = threading.Event()

    async def counted() -> None:
        waiting.add(threading.get_ident())
        if len(waiting) == 15:
            all_wait.set()
        await pause()

    monkeypatch.setattr(envelopes, "_pause", counted)
    service.before = lambda: all_wait.wait(60)
    service.error = OSError("no route")
    errors = together(lambda: keys.get("kms-1", b"wrapped"))
    assert {type(error) for error in errors} == {StoreError}
    assert len({id(error) for error in errors}) == 16
    assert all(error.retryable for error in errors)
    assert service.asked == ["unwrap"]
    service.error = None
    assert keys.current().id == "kms-1"


def test_a_key_that_came_between_look_and_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sees no key, and then that another thread has just put it there, does not ask the service again."""
    service = Service()
    keys = EnvelopeKeys(service, fingerprint_key=LOOKUP)
    key = keys.current()
    kept, looks = keys._envelopes._kept, iter([None])
    look = kept.get
    monkeypatch.setattr(kept, "get", lambda *arguments: next(looks, look(*arguments)))
    service.asked.clear()
    assert keys.get("kms-1", key.wrapped) == key
    assert service.asked == []


def test_no_use_too_many() -> None:
    """However many threads there are, a data key is handed out *uses* times at most."""
    keys = EnvelopeKeys(Service(), fingerprint_key=LOOKUP, uses=5)
    handed_out = [key.wrapped for key in together(keys.current, 32)]
    assert max(handed_out.count(wrapped) for wrapped in handed_out) <= 5


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tasks_ask_once(backend: str) -> None:
    """Tasks that need one key at the same time ask the service once; another key does not wait for it."""
    service = AsyncService(Service())
    service.takes = 0.05
    found: list[DataKey] = []

    async def main() -> None:
        keys = AsyncEnvelopeKeys(service, fingerprint_key=LOOKUP)

        async def read(call: Callable[[], Awaitable[DataKey]]) -> None:
            found.append(await call())

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(read, keys.current)
        wrapped = found[0].wrapped
        other = (await AsyncEnvelopeKeys(service, fingerprint_key=LOOKUP).current()).wrapped
        service.service.asked.clear()
        reader = AsyncEnvelopeKeys(service, fingerprint_key=LOOKUP)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(read, lambda: reader.get("kms-1", wrapped))
            group.start_soon(read, lambda: reader.get("kms-1", other))

    anyio.run(main, backend=backend)
    assert len(found) == 21
    assert len({key.wrapped for key in found}) == 2
    assert service.service.asked == ["unwrap", "unwrap"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_question(backend: str) -> None:
    """When the task that asks is cancelled, one of those that wait asks instead."""
    service = AsyncService(Service())
    found: list[DataKey] = []

    async def main() -> None:
        wrapped = (await AsyncEnvelopeKeys(service, fingerprint_key=LOOKUP).current()).wrapped
        keys = AsyncEnvelopeKeys(service, fingerprint_key=LOOKUP)
        service.service.asked.clear()
        asking = anyio.CancelScope()

        async def ask_and_be_cancelled() -> None:
            with asking:
                service.takes = 60
                await keys.get("kms-1", wrapped)

        async def wait() -> None:
            found.append(await keys.get("kms-1", wrapped))

        async with anyio.create_task_group() as group:
            group.start_soon(ask_and_be_cancelled)
            await wait_all_tasks_blocked()
            service.takes = 0
            for _ in range(3):
                group.start_soon(wait)
            for _ in range(10):
                await checkpoint()
            assert found == []
            asking.cancel()

    anyio.run(main, backend=backend)
    assert len(found) == 3
    assert service.service.asked == ["unwrap"]


def test_event_loops_share_the_keys() -> None:
    """Async keys serve several event loops in several threads, of either kind, and still ask once."""
    service = AsyncService(Service())
    service.takes = 0.1
    keys = AsyncEnvelopeKeys(service, fingerprint_key=LOOKUP)
    backends = iter(["asyncio", "trio"] * 4)
    made = together(lambda: anyio.run(keys.current, backend=next(backends)), 8)
    assert len({key.wrapped for key in made}) == 1
    assert service.service.asked == ["wrap", "unwrap"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_while_somebody_asks() -> None:
    """A child that is forked while another thread asks the service does not wait for that thread, which it does not have."""
    service = Service()
    keys = EnvelopeKeys(service, fingerprint_key=LOOKUP)
    asked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        asked.set()
        go_on.wait(60)

    service.before = hold
    thread = threading.Thread(target=keys.current)
    thread.start()
    asked.wait(60)
    child = _forked(lambda: _current_in_child(keys, service))
    go_on.set()
    thread.join(60)
    assert child == 0
    assert keys.current().id == "kms-1"


def _current_in_child(keys: EnvelopeKeys, service: Service) -> None:
    service.before = lambda: None
    keys.current()


def _forked(work: Callable[[], None]) -> int | None:
    """Return the exit code of a forked child that does *work*, ``None`` if it hangs."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(30)
    code = process.exitcode
    process.kill()
    process.join()
    return code


# Nothing leaks.


def test_nothing_shows_a_key() -> None:
    """Reprs show ids alone, and neither a keyring nor envelope keys are pickled; a copy is the same object or refused."""
    ring = Keyring([PLANTED])
    service = Service()
    holders = [
        ring,
        EnvelopeKeys(service, fingerprint_key=PLANTED, older=ring),
        AsyncEnvelopeKeys(AsyncService(service), fingerprint_key=SecretStr(PLANTED), older=ring),
    ]
    assert [repr(holder) for holder in holders] == ["Keyring(planted)", "EnvelopeKeys(kms-1)", "AsyncEnvelopeKeys(kms-1)"]
    raw = repr(ring.current().secret)[2:-1]
    for holder in holders:
        assert MARK not in f"{holder} {holder!r}"
        assert raw not in f"{holder} {holder!r} {getattr(holder, '_keys', '')}"
        with pytest.raises(TypeError, match="hold"):
            pickle.dumps(holder)
        assert copy.copy(holder) is holder
        assert copy.deepcopy(holder) is holder
        assert not hasattr(holder, "__dict__")


def test_they_are_what_the_protocols_say() -> None:
    """Keyrings and envelope keys are key providers, and the services of these tests key wrappers, for type checkers too."""
    service = Service()
    wrapper: KeyWrapper = service
    async_wrapper: AsyncKeyWrapper = AsyncService(service)
    providers: list[KeyProvider] = [Keyring.generate(), EnvelopeKeys(wrapper, fingerprint_key=LOOKUP)]
    async_provider: AsyncKeyProvider = AsyncEnvelopeKeys(async_wrapper, fingerprint_key=LOOKUP)
    for provider in providers:
        key = provider.current()
        assert provider.get(key.id, key.wrapped) == key
    assert async_provider.lookup_keys() == Keyring([LOOKUP]).lookup_keys()
