"""Which events are handled one after the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atom_stripe._wire.lanes import LANES, aside, full_lane, home, lane_key


def key(obj: Any, **event: Any) -> str:
    return lane_key({"id": "evt_1", "object": "event", "data": {"object": obj}, **event})


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({"object": "customer", "id": "cus_1"}, "cus_1"),
        ({"object": "subscription", "id": "sub_1"}, "sub_1"),
        ({"object": "invoice", "id": "in_1", "parent": {"subscription_details": {"subscription": "sub_1"}}}, "sub_1"),
        ({"object": "invoice", "id": "in_1", "subscription": "sub_1"}, "sub_1"),
        ({"object": "invoice", "id": "in_1", "subscription": {"id": "sub_1", "object": "subscription"}}, "sub_1"),
        ({"object": "invoice", "id": "in_1", "subscription": None, "parent": None}, "in_1"),
        ({"object": "invoice", "subscription": None}, "invoice"),
        ({"object": "charge", "id": "ch_1", "payment_intent": "pi_1"}, "pi_1"),
        ({"object": "charge", "id": "ch_1"}, "ch_1"),
        ({"object": "refund", "id": "re_1", "charge": "ch_1"}, "ch_1"),
        ({"object": "refund", "id": "re_1", "charge": "ch_1", "payment_intent": "pi_1"}, "pi_1"),
        ({"object": "dispute", "id": "du_1", "charge": "ch_1", "payment_intent": "pi_1"}, "pi_1"),
        ({"object": "payment_intent", "id": "pi_1"}, "pi_1"),
        ({"object": "checkout.session", "id": "cs_1", "subscription": None, "payment_intent": "pi_1"}, "pi_1"),
        ({"object": "balance"}, "balance"),
        ({}, "evt_1"),
    ],
)
def test_the_lane_of_a_story(obj: dict[str, Any], expected: str) -> None:
    """What belongs to one subscription or one payment shares a lane, in every API version; else an object has its own."""
    assert key(obj) == expected


def test_a_thin_event_has_the_lane_of_its_object() -> None:
    """A thin event is in the lane of the object that it names, and one that names none in its own."""
    assert lane_key({"id": "evt_1", "object": "v2.core.event", "related_object": {"id": "in_1", "type": "invoice"}}) == "in_1"
    assert lane_key({"id": "evt_1", "object": "v2.core.event"}) == "evt_1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from([*LANES, "other"]), st.dictionaries(st.sampled_from(["id", "subscription", "parent", "payment_intent"]), JSON)
)
def test_no_shape_is_too_strange(name: str, fields: dict[str, Any]) -> None:
    """Whatever is in an object, its lane is a text that is not empty."""
    for event in (
        {"data": {"object": {"object": name, **fields}}},
        {"data": fields},
        {"object": "v2.core.event", "related_object": fields},
    ):
        found = lane_key(event)
        assert isinstance(found, str)
        assert found


@given(st.text())
def test_full_lanes_are_short_and_plain(text: str) -> None:
    """Whatever the key, a lane is short printable ASCII, and nothing in it can be taken for a mark of ours."""
    lane = full_lane(text, account="acct_1", livemode=True)
    assert lane.startswith("live/acct_1/")
    assert lane.isascii()
    assert lane.isprintable()
    assert len(lane) < 200
    assert lane.count("/") == 2
    assert home(lane) == lane


def test_different_keys_have_different_lanes() -> None:
    """Keys that are too long, or hold our marks, stay apart from each other and from plain ones."""
    keys = ["a", "a/b", "a~b", "a" * 121, "a" * 122, "ä", "\ud800", "\ud801", ""]
    assert len({full_lane(key, account="", livemode=False) for key in keys}) == len(keys)


def test_aside_and_home() -> None:
    """What is moved aside has a lane of its own that knows where it belongs, also when it is moved twice."""
    assert aside("test//cus_1", 7) == "test//cus_1~7"
    assert aside("test//cus_1~7", 7) == "test//cus_1~7"
    assert home("test//cus_1~7") == "test//cus_1"
