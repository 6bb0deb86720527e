"""Encrypted tokens: readable in their own row and column, at their own generation, and nowhere else."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from base64 import b64decode, b64encode, urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given, settings
from hypothesis import strategies as st

from atom_stripe._wire.sealing import LONGEST_TOKEN, NONCE_BYTES, fingerprint, key_of, seal, unseal
from atom_stripe.errors import (
    ConfigurationError,
    InvalidResponseError,
    ReplayedTokenError,
    TamperedTokenError,
    TokenUnreadableError,
)
from atom_stripe.protocols import DataKey, TokenRecord
from tests.canary import ACCESS_TOKEN, MARK, REFRESH_TOKEN

KEY = DataKey("2026-11-23-3f9a", hashlib.sha256(b"a key").digest())
WRAPPED = DataKey("kms-1", hashlib.sha256(b"a data key").digest(), b"what the service made of it")
NONCE = bytes(range(NONCE_BYTES))
# "sk_acct_known", written by version 1.
KNOWN = "as1:2026-11-23-3f9a::AAECAwQFBgcICQoL12orNBurFaTnwhku316XP5l62XeAo2+iXZJNGm/bUiUAyFQYKw=="
ROW = TokenRecord(
    id="con_1", user_id="user_1", profile="stripe_app", livemode=True, account="acct_1", generation=7, key_id="2026-11-23-3f9a"
)
# With NUL and lone surrogates, which PostgreSQL refuses and other stores keep.
ANY_TEXT = st.text(st.characters(), max_size=40)
ROWS = st.builds(
    TokenRecord,
    id=ANY_TEXT,
    user_id=ANY_TEXT,
    profile=st.sampled_from(["connect", "stripe_app"]),
    livemode=st.booleans(),
    account=st.none() | ANY_TEXT,
    generation=st.integers(0, 2**63),
)


def sealed_for(row: TokenRecord, column: str = "access_token", key: DataKey = KEY, token: str = ACCESS_TOKEN) -> str:
    return seal(token, key=key, column=column, record=row, nonce=NONCE)


def opened(sealed: Any, row: TokenRecord = ROW, column: str = "access_token", key: DataKey = KEY) -> str:
    return unseal(sealed, key=key, column=column, record=row)


def refused(sealed: Any, row: TokenRecord = ROW, column: str = "access_token", key: DataKey = KEY) -> TamperedTokenError:
    """Return the error with which *sealed* is refused."""
    with pytest.raises(TamperedTokenError) as caught:
        opened(sealed, row, column, key)
    assert caught.type is TamperedTokenError
    return caught.value


# What is written.


@given(token=st.text(st.characters(), max_size=300), row=ROWS, column=st.sampled_from(["access_token", "refresh_token"]))
@example(token="", row=replace(ROW, user_id="\ud800|7:\x00"), column="access_token")
@settings(max_examples=200)
def test_round_trip(token: str, row: TokenRecord, column: str) -> None:
    """Any token comes back from any row, whatever characters its ids have."""
    sealed = sealed_for(row, column, token=token)
    assert sealed.isascii()
    assert key_of(sealed, row) == (KEY.id, b"")
    assert opened(sealed, row, column) == token


def test_the_form() -> None:
    """Somebody who has the key can read a token with nothing but AES-GCM: the form is what the module says."""
    label, key_id, wrapped, data = sealed_for(ROW).split(":")
    raw = b64decode(data, validate=True)
    place = b"atom_stripe/v1|stripe_oauth_tokens|12:access_token|5:con_1|6:user_1|10:stripe_app|6:acct_1|live|2026-11-23-3f9a"
    assert (label, key_id, wrapped, raw[:12]) == ("as1", KEY.id, "", NONCE)
    assert AESGCM(KEY.secret).decrypt(NONCE, raw[12:], place) == (7).to_bytes(8, "big") + ACCESS_TOKEN.encode()


def test_a_token_of_the_first_version() -> None:
    """A token that the first version of this package wrote can be read."""
    row = replace(ROW, user_id="Zoë|1:", account=None, generation=258)
    assert opened(KNOWN, row) == "sk_acct_known"


def test_the_nonce_makes_it_another_text() -> None:
    """One token under two nonces is two texts that share nothing but their heads."""
    texts = {seal(ACCESS_TOKEN, key=KEY, column="access_token", record=ROW, nonce=bytes([n]) * 12) for n in range(5)}
    assert len(texts) == 5
    assert {opened(text) for text in texts} == {ACCESS_TOKEN}


@pytest.mark.parametrize("nonce", [b"", b"short", bytes(13)])
def test_a_nonce_of_another_length(nonce: bytes) -> None:
    """A nonce of the wrong length is refused: the text could not be taken apart again."""
    with pytest.raises(ValueError, match="a nonce has 12 bytes"):
        seal("token", key=KEY, column="access_token", record=ROW, nonce=nonce)


def test_the_longest_token() -> None:
    """The longest token that is sealed under the longest wrapped key is read again; a longer one is not sealed, and no part of it is shown."""
    key = replace(WRAPPED, wrapped=bytes(4096))
    longest = "é" * (LONGEST_TOKEN // 2)
    sealed = sealed_for(ROW, key=key, token=longest)
    assert key_of(sealed, ROW) == (key.id, key.wrapped)
    assert opened(sealed, key=key) == longest
    with pytest.raises(InvalidResponseError, match="longer than 16384 bytes") as caught:
        sealed_for(ROW, token=MARK + longest)
    assert MARK not in repr(caught.value)


def test_the_wrapped_key_is_beside_the_token() -> None:
    """What the key service made of a key is stored with each token, and found again without the key."""
    sealed = sealed_for(ROW, key=WRAPPED)
    assert key_of(sealed, ROW) == ("kms-1", b"what the service made of it")
    assert opened(sealed, key=WRAPPED) == ACCESS_TOKEN
    assert refused(sealed, key=replace(WRAPPED, wrapped=b"of another")).connection_id == "con_1"


# Tokens in other places.


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"id": "con_2"},
        {"user_id": "user_2"},
        {"profile": "connect"},
        {"livemode": False},
        {"account": "acct_2"},
        {"account": None},
        {"account": ""},
        {"id": "con_1|6:user_1", "user_id": ""},
    ],
)
@pytest.mark.parametrize("generation", [7, 8])
def test_copied_to_another_row(elsewhere: dict[str, Any], generation: int) -> None:
    """A token cannot be read in a row of another id, user, profile, mode or account, whatever its generation."""
    error = refused(sealed_for(ROW), replace(ROW, generation=generation, **elsewhere))
    assert error.connection_id == elsewhere.get("id", "con_1")


def test_copied_to_the_other_column() -> None:
    """An access token cannot be read as a refresh token, nor the other way round."""
    refused(sealed_for(ROW), column="refresh_token")
    refused(sealed_for(ROW, "refresh_token", token=REFRESH_TOKEN), column="access_token")


@given(first=ROWS, second=ROWS)
@example(first=replace(ROW, id="a", user_id="b|1:c"), second=replace(ROW, id="a|5:b", user_id="c"))
@example(first=replace(ROW, account=None), second=replace(ROW, account="-"))
@example(first=replace(ROW, user_id="\ud83d\ude00"), second=replace(ROW, user_id="\U0001f600"))
@example(first=replace(ROW, user_id="é"), second=replace(ROW, user_id="e\u0301"))
@settings(max_examples=200)
def test_no_two_rows_are_one(first: TokenRecord, second: TokenRecord) -> None:
    """Rows that differ in anything that a token is bound to never read each other's tokens, however their ids are put together."""

    def bound_to(row: TokenRecord) -> tuple[object, ...]:
        return row.id, row.user_id, row.profile, row.livemode, row.account

    second = replace(second, generation=first.generation)
    if bound_to(first) == bound_to(second):
        assert opened(sealed_for(first), second) == ACCESS_TOKEN
    else:
        refused(sealed_for(first), second)


@pytest.mark.parametrize("generation", [0, 6, 8, 2**63])
def test_of_another_generation(generation: int) -> None:
    """A token from before the last refresh, put back, is noticed; so is a newer one in an older row."""
    with pytest.raises(ReplayedTokenError) as caught:
        opened(sealed_for(replace(ROW, generation=generation)))
    assert caught.value.connection_id == "con_1"
    assert MARK not in str(caught.value)


def test_what_else_changes_in_a_row() -> None:
    """Leases, states, times and versions of a row come and go; its tokens stay readable."""
    later = replace(ROW, version=9, state="revoked", lease_owner="me", expires_at=5.0, scope="read_only", key_id="another")
    assert opened(sealed_for(ROW), later) == ACCESS_TOKEN


# Changed texts.


@pytest.mark.parametrize("key", [KEY, WRAPPED])
def test_every_changed_bit(key: DataKey) -> None:
    """Not one bit of a sealed token can be changed, nor any character left out, without it being noticed."""
    sealed = sealed_for(ROW, key=key)
    for position in range(len(sealed)):
        refused(sealed[:position] + sealed[position + 1 :], key=key)
        for bit in range(8):
            refused(sealed[:position] + chr(ord(sealed[position]) ^ (1 << bit)) + sealed[position + 1 :], key=key)


def test_every_changed_bit_of_the_ciphertext() -> None:
    """The same below the base64: nonce, ciphertext and tag are all authenticated."""
    head, _, data = sealed_for(ROW).rpartition(":")
    raw = b64decode(data)
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 1 << position % 8
        refused(f"{head}:{b64encode(changed).decode()}")


def test_cut_off_anywhere() -> None:
    """A text that was cut off, or has something behind it, is refused wherever that is."""
    sealed = sealed_for(ROW)
    for length in range(len(sealed)):
        refused(sealed[:length])
    for more in ("=", "\n", " ", "AAAA", sealed):
        refused(sealed + more)
        refused(more + sealed)


def test_the_spare_bits_of_base64() -> None:
    """Two texts of base64 that mean the same bytes are not both ours."""
    sealed = sealed_for(ROW, token="four")
    assert sealed.endswith("=")
    place = len(sealed.rstrip("=")) - 1
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = sealed[:place] + alphabet[alphabet.index(sealed[place]) ^ 1] + sealed[place + 1 :]
    assert b64decode(other.rpartition(":")[2]) == b64decode(sealed.rpartition(":")[2])
    refused(other)


def test_another_key_under_the_same_id() -> None:
    """A key that was replaced under its id reads nothing."""
    refused(sealed_for(ROW), key=DataKey(KEY.id, hashlib.sha256(b"another key").digest()))


def test_another_id_for_the_same_key() -> None:
    """The id of the key is authenticated too: who renames it in the text, or in the settings, reads nothing."""
    sealed, renamed = sealed_for(ROW), DataKey("another", KEY.secret)
    refused(sealed, key=renamed)
    refused(sealed.replace(KEY.id, "another"), key=renamed)


@pytest.mark.parametrize("inside", [b"", b"1234567", bytes(7) + b"\x07\xff\xfe"])
def test_a_plaintext_of_somebody_else(inside: bytes) -> None:
    """What was encrypted with the key for this very place, but is not a generation and a token, is refused."""
    place = b"atom_stripe/v1|stripe_oauth_tokens|12:access_token|5:con_1|6:user_1|10:stripe_app|6:acct_1|live|2026-11-23-3f9a"
    raw = NONCE + AESGCM(KEY.secret).encrypt(NONCE, inside, place)
    refused(f"as1:{KEY.id}::{b64encode(raw).decode()}")


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        ACCESS_TOKEN,
        "as1",
        "as1:::",
        "as1:id",
        "as1:a b::AAAA",
        f"as1:{'a' * 65}::AAAA",
        "as2:id::AAAA",
        "as1:id:A:AAAA",
        "as1:id:AAA:AAAA",
        "as1:id:AB==:AAAA",
        "as1:id:-_-_:AAAA",
        "as1:ïd::AAAA",
        "as1:fernet::AAAA",
        "as1:id:" + "A" * 8196 + ":AAAA",
        "as1:id::" + "A" * 65_536,
        "gAAAAABother",
        None,
        b"as1:id::AAAA",
        5,
    ],
)
def test_no_sealed_token(sealed: Any) -> None:
    """What is no sealed token has no key, and no part of it is in the error."""
    with pytest.raises(TamperedTokenError) as caught:
        key_of(sealed, ROW)
    assert caught.value.connection_id == "con_1"
    assert MARK not in f"{caught.value!r} {caught.value} {vars(caught.value)}"
    refused(sealed)
    refused(sealed, replace(ROW, key_id="fernet"), key=DataKey("fernet", KEY.secret))


@given(
    sealed=st.text(max_size=200)
    | st.binary(max_size=200).map(lambda data: f"as1:{KEY.id}::{b64encode(data).decode()}")
    | st.binary(max_size=200).map(lambda data: "gAAAA" + urlsafe_b64encode(data).decode())
    | st.from_regex(r"as1:[a-z]{0,3}:[A-Za-z0-9+/=]{0,8}:[A-Za-z0-9+/=]{0,80}", fullmatch=True)
    | st.binary(max_size=200),
    key_id=st.sampled_from(["fernet", KEY.id, None]),
)
@settings(max_examples=400)
def test_any_text(sealed: Any, key_id: str | None) -> None:
    """Whatever stands in the column, the only errors are those about a token that cannot be read."""
    row = replace(ROW, key_id=key_id)
    try:
        found, wrapped = key_of(sealed, row)
    except TokenUnreadableError as error:
        assert error.connection_id == "con_1"  # noqa: PT017 - most texts have no key, some have one
        found, wrapped = KEY.id, b""
    refused(sealed, row, key=DataKey(found, KEY.secret, wrapped))


# Fernet, for tokens that another program encrypted.

OLD = DataKey("fernet", hashlib.sha256(b"an old key").digest())
OLD_ROW = replace(ROW, key_id="fernet")


def from_before(token: str = ACCESS_TOKEN, at: int = 1_000_000_000) -> str:
    return Fernet(urlsafe_b64encode(OLD.secret)).encrypt_at_time(token.encode(), at).decode()


@pytest.mark.parametrize("at", [0, 1_000_000_000, 2**32 - 1])
def test_fernet_is_read(at: int) -> None:
    """A token that Fernet encrypted is read at any age and any generation, and sealed again under the current key."""
    sealed = from_before(at=at)
    assert key_of(sealed, OLD_ROW) == ("fernet", b"")
    assert opened(sealed, OLD_ROW, key=OLD) == ACCESS_TOKEN
    assert opened(sealed, replace(OLD_ROW, generation=0), key=OLD) == ACCESS_TOKEN
    assert opened(sealed_for(OLD_ROW), ROW) == ACCESS_TOKEN


@pytest.mark.parametrize("key_id", [KEY.id, None, "Fernet"])
def test_fernet_only_where_the_row_says_so(key_id: str | None) -> None:
    """In a row that this package has written, no Fernet token is read: it is not bound to the row."""
    row = replace(ROW, key_id=key_id)
    with pytest.raises(TamperedTokenError):
        key_of(from_before(), row)
    refused(from_before(), row, key=OLD)
    refused(from_before(), row)


def test_a_changed_fernet_token() -> None:
    """A Fernet token that was changed, or belongs to another key, or holds no text, is refused."""
    sealed = from_before()
    refused(sealed[:40] + ("A" if sealed[40] != "A" else "B") + sealed[41:], OLD_ROW, key=OLD)
    refused(sealed[:-8], OLD_ROW, key=OLD)
    refused(sealed, OLD_ROW, key=DataKey("fernet", KEY.secret))
    binary = Fernet(urlsafe_b64encode(OLD.secret)).encrypt(b"\xff\xfe").decode()
    refused(binary, OLD_ROW, key=OLD)


def test_nothing_is_sealed_with_a_fernet_key() -> None:
    """A Fernet key does not encrypt, not even with AES-GCM."""
    with pytest.raises(ConfigurationError, match="a Fernet key only decrypts"):
        sealed_for(ROW, key=OLD)


def test_a_row_of_fernet_reads_our_tokens_too() -> None:
    """While a row is moved over, its key id is no authority: a sealed token says itself what it is encrypted with."""
    sealed = sealed_for(OLD_ROW)
    assert key_of(sealed, OLD_ROW) == (KEY.id, b"")
    assert opened(sealed, OLD_ROW) == ACCESS_TOKEN
    refused(sealed, OLD_ROW, key=OLD)


# Fingerprints and errors.


@given(token=st.text(st.characters(), max_size=100), secret=st.binary(min_size=32, max_size=32))
def test_fingerprint(token: str, secret: bytes) -> None:
    """A fingerprint is the HMAC-SHA256 of the token, in hex."""
    assert fingerprint(token, secret) == hmac.new(secret, token.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def test_no_secret_in_any_error() -> None:
    """Errors, their chains and their pickles hold neither a token nor a key."""
    key = DataKey("kms-1", f"{MARK:_<32}".encode(), MARK.encode())
    errors: list[BaseException] = [refused(sealed_for(ROW, key=key), column="refresh_token", key=key)]
    with pytest.raises(ReplayedTokenError) as replayed:
        opened(sealed_for(ROW, key=key), replace(ROW, generation=8), key=key)
    errors += [replayed.value, refused(ACCESS_TOKEN), refused(from_before(), OLD_ROW, key=replace(key, id="fernet"))]
    for error in errors:
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
        assert MARK.encode() not in pickle.dumps(error)
        assert MARK not in f"{error} {error!r} {vars(error)}"
    assert MARK not in repr(key)
