"""The Stripe-Signature header, by hand."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stripe import WebhookSignature

from atom_stripe._wire.signature import Signature, SigningKey, matches, parse, sign, signature_header
from tests.canary import WEBHOOK_SECRET

SECRET = WEBHOOK_SECRET.encode()
A, B = "a" * 64, "b" * 64
# printf '%s' '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
KNOWN = b"c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925"


def keys(*secrets: bytes) -> list[SigningKey]:
    return [SigningKey(secret) for secret in secrets]


def test_a_known_signature() -> None:
    """Another program computes the same signature."""
    assert sign(b'{"id":"evt_1"}', b"whsec_test", 1_700_000_000) == KNOWN


@given(body=st.binary(max_size=200), timestamp=st.integers(0, 10**11 - 1))
@settings(max_examples=200)
def test_sign(body: bytes, timestamp: int) -> None:
    """A signature is the HMAC-SHA256 of time, point and body under the whole secret, prefix included, in lower-case hex."""
    expected = hmac.new(SECRET, str(timestamp).encode() + b"." + body, hashlib.sha256).hexdigest()
    assert sign(body, SECRET, timestamp) == expected.encode()


@given(size=st.sampled_from([2046, 2047, 2048, 4093, 4094, 4095, 65_536, 65_537, 200_000]), secret=st.binary(max_size=200))
@settings(max_examples=100)
def test_sign_anything(size: int, secret: bytes) -> None:
    """Bodies of any size and secrets of any length are signed as the standard library does it, again and again with one key."""
    key = SigningKey(secret)
    for letter in (b"x", b"y"):
        body = letter * size
        assert key.sign(body, 7) == hmac.new(secret, b"7." + body, hashlib.sha256).hexdigest().encode()


def test_a_key_shows_no_secret() -> None:
    """Neither the repr of a key nor what it is made of holds the secret."""
    key = SigningKey(SECRET)
    assert WEBHOOK_SECRET not in repr(key) + repr([getattr(key, name) for name in SigningKey.__slots__])


@given(body=st.text(st.characters(exclude_categories=["Cs"]), max_size=100), timestamp=st.integers(0, 10**11 - 1))
@settings(max_examples=100)
def test_headers_equal_the_official_ones(body: str, timestamp: int) -> None:
    """Our header is to the byte the one that stripe-python writes."""
    assert signature_header(body.encode(), [WEBHOOK_SECRET], timestamp) == WebhookSignature.generate_signature_header(
        body, WEBHOOK_SECRET, timestamp
    )


def test_headers_of_several_secrets() -> None:
    """While a secret is rolled the header holds one v1 for each, and each of them is enough."""
    header = signature_header(b"{}", ["whsec_first", "whsec_second"], 5)
    parsed = parse(header)
    assert header.count("v1=") == 2
    assert parsed == Signature(5, [sign(b"{}", b"whsec_first", 5), sign(b"{}", b"whsec_second", 5)])
    assert matches(parsed, b"{}", keys(b"whsec_first"))
    assert matches(parsed, b"{}", keys(b"whsec_second"))
    assert matches(parsed, b"{}", keys(b"whsec_other", b"whsec_second"))
    assert matches(parsed, b"{}", keys(b"whsec_first", b"whsec_other"))
    assert not matches(parsed, b"{}", keys(b"whsec_other"))
    assert not matches(parsed, b"{} ", keys(b"whsec_first", b"whsec_second"))
    assert not matches(parsed, b"{}", [])
    assert not matches(parsed._replace(timestamp=6), b"{}", keys(b"whsec_first", b"whsec_second"))


def test_both_hits_are_one() -> None:
    """A body that two of the secrets signed matches as one that a single secret signed."""
    parsed = parse(signature_header(b"{}", ["whsec_first", "whsec_second"], 5))
    assert parsed is not None
    assert matches(parsed, b"{}", keys(b"whsec_first", b"whsec_second")) is True


GOOD: list[tuple[str, Signature]] = [
    (f"t=1,v1={A}", Signature(1, [A.encode()])),
    (f"t=0,v1={A}", Signature(0, [A.encode()])),
    (f"v1={A},t=1", Signature(1, [A.encode()])),
    (f"t=1,v1={A},v1={B}", Signature(1, [A.encode(), B.encode()])),
    (f"t=1,v0={B},v1={A}", Signature(1, [A.encode()])),
    (f"t=1, v1={A}", Signature(1, [A.encode()])),
    (f"  t=1  ,  v1={A}  ", Signature(1, [A.encode()])),
    (f"t=1,v1={A},", Signature(1, [A.encode()])),
    (f"t=1,,v1={A},v9,=,x=y=z", Signature(1, [A.encode()])),
    (f"t=1,v1=short,v1={A},v1={A}0", Signature(1, [A.encode()])),
    (f"t={10**11 - 1},v1={A}", Signature(10**11 - 1, [A.encode()])),
    (f"t=0000000001,v1={A}", Signature(1, [A.encode()])),
    ("t=1" + f",v1={A}" * 16, Signature(1, [A.encode()] * 16)),
    (f"t=1,v1={A}," + "x" * (4096 - 72), Signature(1, [A.encode()])),
]


@pytest.mark.parametrize(("header", "expected"), GOOD, ids=range(len(GOOD)))
def test_parse(header: str, expected: Signature) -> None:
    """A header is a time and its v1 signatures in any order; other schemes, empty pieces and spaces around pieces do not matter."""
    assert parse(header) == expected


BAD = [
    "",
    " ",
    ",",
    "t",
    "t=",
    "t=1",
    "t=1,v1",
    "t=1,v1=",
    f"v1={A}",
    f"t=,v1={A}",
    f"t=x,v1={A}",
    f"t=-1,v1={A}",
    f"t=+1,v1={A}",
    f"t= 1,v1={A}",
    f"t =1,v1={A}",
    f"t=1 ,v1= {A}",
    f"t=1.0,v1={A}",
    f"t=1e9,v1={A}",
    f"t=1_0,v1={A}",
    f"t=0x1,v1={A}",
    f"t=\u0661,v1={A}",
    f"t=\u00b2,v1={A}",
    f"t=1\u00a0,v1={A}",
    f"t={10**11},v1={A}",
    f"t=1,t=1,v1={A}",
    f"t=1,t=2,v1={A}",
    f"t=1,t=2=3,v1={A}",
    f"Xt=1,v1={A}",
    f"T=1,v1={A}",
    f"t=1,V1={A}",
    f"t=1,v0={A}",
    f"t=1,v2={A}",
    f"t=1,v11={A}",
    f"t=1,v1={A[:-1]}",
    f"t=1,v1={A}0",
    f"t=1;v1={A}",
    f"t=1\tv1={A}",
    f"\tt=1,v1={A}",
    f"t=1,v1={A}é",
    f"t=1,v1={A},\ud800",
    "t=1" + f",v1={A}" * 17,
    "t=1" + f",v1={A}" * 1000,
    f"t=1,v1={A}," + "x" * (4096 - 71),
    "t=" + "1" * 10_000,
]


@pytest.mark.parametrize("header", BAD, ids=range(len(BAD)))
def test_parse_refuses(header: str) -> None:
    """A header that Stripe would not send, or that holds nothing to check, is None and raises nothing."""
    assert parse(header) is None


@given(
    header=st.text(st.characters(exclude_categories=[]), max_size=80)
    | st.lists(st.sampled_from(["t=", "v1=", "v0=", ",", "=", " ", "1", "-", A, B, "\x00"]), max_size=12).map("".join)
)
@settings(max_examples=500)
def test_parse_never_raises(header: str) -> None:
    """Any text is a signature within the bounds, or None."""
    parsed = parse(header)
    if parsed is not None:
        assert 0 <= parsed.timestamp < 10**11
        assert 0 < len(parsed.candidates) <= 16
        assert all(len(candidate) == 64 for candidate in parsed.candidates)
