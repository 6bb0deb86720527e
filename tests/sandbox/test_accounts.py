"""Connected accounts: made, changed and deleted by the platform, their capabilities, and fees that go back to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from atom_stripe.errors import ConfigurationError
from atom_stripe.testing import StripeSandbox
from atom_stripe.testing.resources import accounts
from tests.sandbox.asking import NO_REDIRECTS, Asking

if TYPE_CHECKING:
    from collections.abc import Iterator

WISHES = {"card_payments": {"requested": True}, "transfers": {"requested": True}}
PLAIN = {"fees": {"payer": "account"}, "losses": {"payments": "stripe"}, "requirement_collection": "stripe"}


@pytest.fixture
def ask() -> Iterator[Asking]:
    with StripeSandbox() as sandbox:
        yield Asking(sandbox)


def onboard(ask: Asking, identity: str) -> None:
    """Be the owner who finishes the onboarding."""
    machine = ask.sandbox._machine
    machine.perform(lambda work: ignored(accounts.complete_onboarding(work)), machine.accounts[identity])
    ask.sandbox.webhooks.deliver()


def require(ask: Asking, identity: str, *fields: str) -> None:
    """Let Stripe want something of an account."""
    machine = ask.sandbox._machine
    machine.perform(lambda work: ignored(accounts.require(work, *fields)), machine.accounts[identity])
    ask.sandbox.webhooks.deliver()


def ignored(_: object) -> None:
    """Take what a job returns, which is nothing."""


def heard(ask: Asking, *, connect: bool = True) -> list[dict[str, Any]]:
    """Return a list that gets every event of the connected accounts from now on, or of the platform."""
    found: list[dict[str, Any]] = []
    ask.sandbox.webhooks.deliver_to(lambda body, _: found.append(json.loads(body)), connect=connect)
    return found


def able(row: dict[str, Any]) -> tuple[bool, bool, bool]:
    return row["charges_enabled"], row["payouts_enabled"], row["details_submitted"]


def test_a_new_account_can_do_nothing(ask: Asking) -> None:
    """An account begins without anything that it can do, and says what is missing for that."""
    made = ask.post(
        "/v1/accounts", type="express", country="DE", email="jenny@example.com", capabilities=WISHES, metadata={"shop": "7"}
    )
    assert able(made) == (False, False, False)
    assert made["capabilities"] == {"card_payments": "inactive", "transfers": "inactive"}
    assert (made["type"], made["country"], made["default_currency"], made["email"]) == ("express", "DE", "eur", "jenny@example.com")
    assert made["metadata"] == {"shop": "7"}
    needs = made["requirements"]
    assert needs["disabled_reason"] == "requirements.past_due"
    assert needs["currently_due"] == needs["past_due"] == needs["eventually_due"]
    assert {"business_type", "external_account", "tos_acceptance.date"} <= set(needs["currently_due"])
    assert ask.get(f"/v1/accounts/{made['id']}") == made


def test_an_account_sees_itself_as_its_platform_does(ask: Asking) -> None:
    """The account itself and its platform read the same object, whichever of them changed it."""
    made = ask.post("/v1/accounts", type="express", business_profile={"name": "Rosen"})
    own = Asking(ask.sandbox, account=made["id"])
    assert own.get("/v1/account") == made == own.get(f"/v1/accounts/{made['id']}")
    changed = ask.post(f"/v1/accounts/{made['id']}", metadata={"a": "1"})
    assert changed["metadata"] == {"a": "1"}
    assert own.get("/v1/account") == changed == ask.get(f"/v1/accounts/{made['id']}")


@pytest.mark.parametrize(
    ("type", "fees", "losses", "collection", "dashboard"),
    [
        ("standard", "account", "stripe", "stripe", "full"),
        ("express", "application_express", "application", "stripe", "express"),
        ("custom", "application_custom", "application", "application", "none"),
    ],
)
def test_types(ask: Asking, type: str, fees: str, losses: str, collection: str, dashboard: str) -> None:
    """Each type stands for who pays, who bears losses, who collects what is missing, and for a Dashboard."""
    assert ask.post("/v1/accounts", type=type, capabilities=WISHES)["controller"] == {
        "fees": {"payer": fees},
        "is_controller": True,
        "losses": {"payments": losses},
        "requirement_collection": collection,
        "stripe_dashboard": {"type": dashboard},
        "type": "application",
    }


def test_a_controller_in_place_of_a_type(ask: Asking) -> None:
    """What a type stands for can be said piece by piece, and what is left out is as with a standard account."""
    made = ask.post("/v1/accounts", controller={"fees": {"payer": "application"}, "stripe_dashboard": {"type": "express"}})
    assert made["type"] == "none"
    assert made["controller"] == {
        **PLAIN,
        "fees": {"payer": "application"},
        "is_controller": True,
        "losses": {"payments": "stripe"},
        "stripe_dashboard": {"type": "express"},
        "type": "application",
    }


@pytest.mark.parametrize(
    ("params", "status", "code", "param"),
    [
        ({"type": "express", "controller": PLAIN}, 400, "parameters_exclusive", "controller"),
        ({"type": "custom"}, 400, "parameter_missing", "capabilities"),
        ({"type": "deluxe"}, 400, None, "type"),
        ({"type": "express", "country": "XX"}, 400, "country_unsupported", "country"),
        ({"type": "express", "tos_acceptance": {"date": 1, "ip": "127.0.0.1"}}, 400, None, "tos_acceptance"),
        ({"controller": {"requirement_collection": "application"}}, 400, None, "controller[requirement_collection]"),
        (
            {"type": "express", "capabilities": {"teleportation": {"requested": True}}},
            400,
            "parameter_unknown",
            "capabilities[teleportation]",
        ),
        ({"type": "express", "external_account": "btok_1"}, 501, "sandbox_unsupported", "external_account"),
        ({"type": "express", "expand": ["individual"]}, 400, None, "expand"),
    ],
)
def test_what_cannot_be_made(ask: Asking, params: dict[str, Any], status: int, code: str | None, param: str) -> None:
    """What Stripe refuses is refused in the same way, and leaves no account."""
    answered, error = ask.refused("POST", "/v1/accounts", **params)
    assert (answered, error.get("code"), error["param"]) == (status, code, param)
    assert ask.get("/v1/accounts")["data"] == []


def test_only_platforms_have_accounts(ask: Asking) -> None:
    """A connected account makes no accounts and lists none, and does not see its neighbours."""
    first, second = (ask.post("/v1/accounts", type="standard")["id"] for _ in range(2))
    own = Asking(ask.sandbox, account=first)
    assert own.refused("POST", "/v1/accounts", type="standard")[0] == 400
    assert own.get("/v1/accounts")["data"] == []
    status, error = own.refused("GET", f"/v1/accounts/{second}")
    assert (status, error["code"]) == (403, "account_invalid")


def test_lists(ask: Asking) -> None:
    """A platform lists the accounts that are connected to it, newest first, however they came, and not its own."""
    ids = [
        ask.post("/v1/accounts", type="standard")["id"],
        ask.sandbox.connect().id,
        ask.post("/v1/accounts", type="express")["id"],
    ]
    assert [row["id"] for row in ask.get("/v1/accounts")["data"]] == ids[::-1]
    page = ask.get("/v1/accounts", limit=1, starting_after=ids[2])
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([ids[1]], True)
    now = int(ask.sandbox.clock.now.timestamp())
    ask.sandbox.clock.advance(hours=1)
    late = ask.post("/v1/accounts", type="standard")["id"]
    assert [row["id"] for row in ask.get("/v1/accounts", created={"gt": now})["data"]] == [late]


def test_an_account_that_was_connected_is_its_owners(ask: Asking) -> None:
    """An account that the platform did not make is set up, and the platform changes nothing but metadata of it."""
    identity = ask.sandbox.connect().id
    row = ask.get(f"/v1/accounts/{identity}")
    assert able(row) == (True, True, True)
    assert (row["type"], row["controller"], row["requirements"]["currently_due"]) == ("standard", {"type": "account"}, [])
    assert ask.post(f"/v1/accounts/{identity}", metadata={"a": "1"})["metadata"] == {"a": "1"}
    for method, path, params in (
        ("POST", "", {"email": "tom@example.com"}),
        ("POST", "/capabilities/card_payments", {"requested": False}),
        ("DELETE", "", {}),
    ):
        assert ask.refused(method, f"/v1/accounts/{identity}{path}", **params)[0] == 403
    assert ask.get(f"/v1/accounts/{identity}")["email"] is None


def test_the_own_account(ask: Asking) -> None:
    """The platform's own account can be read by its id, and is neither changed nor deleted here."""
    own = ask.get("/v1/account")
    assert ask.get(f"/v1/accounts/{own['id']}") == own
    assert able(own) == (True, True, True)
    assert ask.refused("POST", f"/v1/accounts/{own['id']}", metadata={"a": "1"})[0] == 403
    assert ask.refused("DELETE", f"/v1/accounts/{own['id']}")[0] == 403
    assert ask.refused("GET", "/v1/accounts/acct_stranger")[1]["code"] == "account_invalid"


def test_an_update_tells(ask: Asking) -> None:
    """A change goes to connect endpoints, with the account on top and what it changed from; no change tells nothing."""
    connect, platform = heard(ask), heard(ask, connect=False)
    identity = ask.post("/v1/accounts", type="express")["id"]
    ask.post(f"/v1/accounts/{identity}", business_profile={"url": "https://rosen.test"}, email="jenny@example.com")
    ask.post(f"/v1/accounts/{identity}", email="jenny@example.com")
    (event,) = connect
    assert (event["type"], event["account"], event["data"]["object"]["id"]) == ("account.updated", identity, identity)
    before = event["data"]["previous_attributes"]
    assert before["email"] is None
    assert before["business_profile"] == {"url": None}
    assert "business_profile.url" in before["requirements"]["currently_due"]
    assert "business_profile.url" not in event["data"]["object"]["requirements"]["currently_due"]
    assert platform == []


def test_settings(ask: Asking) -> None:
    """Settings are changed one by one; when payouts are made has an anchor where it needs one, and no other."""
    made = ask.post("/v1/accounts", type="express", settings={"payments": {"statement_descriptor": "ROSEN"}})
    path = f"/v1/accounts/{made['id']}"

    def plan(**schedule: Any) -> dict[str, Any]:
        return {"settings": {"payouts": {"schedule": schedule}}}

    weekly = ask.post(path, **plan(interval="weekly", weekly_anchor="friday"))["settings"]
    assert weekly["payouts"]["schedule"] == {"delay_days": 2, "interval": "weekly", "weekly_anchor": "friday"}
    assert weekly["payments"] == made["settings"]["payments"]
    assert weekly["payments"]["statement_descriptor"] == "ROSEN"
    assert ask.post(path, **plan(weekly_anchor="monday"))["settings"]["payouts"]["schedule"]["weekly_anchor"] == "monday"
    manual = ask.post(path, **plan(interval="manual"))["settings"]
    assert manual["payouts"]["schedule"] == {"delay_days": 2, "interval": "manual"}
    for schedule in ({"interval": "monthly"}, {"weekly_anchor": "friday"}, {"interval": "daily", "monthly_anchor": 1}):
        status, error = ask.refused("POST", path, **plan(**schedule))
        assert (status, error["param"][:25]) == (400, "settings[payouts][schedul")
    assert ask.get(path)["settings"] == manual


def test_a_refused_update_changes_nothing(ask: Asking) -> None:
    """An update that is refused, even for its expansion alone, leaves the account as it was and tells nothing."""
    events = heard(ask)
    made = ask.post("/v1/accounts", type="express", metadata={str(number): "x" for number in range(50)})
    for params in ({"email": "tom@example.com", "metadata": {"one": "more"}}, {"email": "tom@example.com", "expand": ["nothing"]}):
        assert ask.refused("POST", f"/v1/accounts/{made['id']}", **params)[0] == 400
    path = f"/v1/accounts/{made['id']}/capabilities/card_payments"
    assert ask.refused("POST", path, requested=True, expand=["account"])[1]["code"] == "sandbox_unsupported"
    assert ask.get(f"/v1/accounts/{made['id']}") == made
    assert events == []


def test_onboarding(ask: Asking) -> None:
    """An account whose owner has told everything takes payments and gets payouts; the account and each capability say so."""
    made = ask.post("/v1/accounts", type="express", capabilities=WISHES)
    events = heard(ask)
    onboard(ask, made["id"])
    row = ask.get(f"/v1/accounts/{made['id']}")
    assert able(row) == (True, True, True)
    assert row["capabilities"] == {"card_payments": "active", "transfers": "active"}
    assert (row["requirements"]["currently_due"], row["requirements"]["disabled_reason"]) == ([], None)
    assert [(event["type"], event["account"]) for event in events] == [
        ("account.updated", made["id"]),
        ("capability.updated", made["id"]),
        ("capability.updated", made["id"]),
    ]
    assert events[0]["data"]["previous_attributes"]["charges_enabled"] is False
    assert events[1]["data"]["object"]["status"] == "active"
    assert events[1]["data"]["previous_attributes"]["status"] == "inactive"
    onboard(ask, made["id"])
    assert len(events) == 3


def test_onboarding_asks_for_the_usual(ask: Asking) -> None:
    """An account that asked for nothing asks for card payments and transfers while it is set up."""
    made = ask.post("/v1/accounts", type="standard")
    assert made["capabilities"] == {}
    onboard(ask, made["id"])
    assert ask.get(f"/v1/accounts/{made['id']}")["capabilities"] == {"card_payments": "active", "transfers": "active"}


def test_a_requirement_falls_due(ask: Asking) -> None:
    """What Stripe wants to know stops payments and payouts until it is told."""
    made = ask.post("/v1/accounts", type="express", capabilities=WISHES)
    onboard(ask, made["id"])
    events = heard(ask)
    require(ask, made["id"], "individual.verification.document")
    row = ask.get(f"/v1/accounts/{made['id']}")
    assert able(row) == (False, False, True)
    assert row["requirements"]["currently_due"] == ["individual.verification.document"]
    assert row["requirements"]["disabled_reason"] == "requirements.past_due"
    capability = ask.get(f"/v1/accounts/{made['id']}/capabilities/card_payments")
    assert (capability["status"], capability["requirements"]["disabled_reason"]) == ("inactive", "requirements.fields_needed")
    assert [event["type"] for event in events] == ["account.updated", "capability.updated", "capability.updated"]
    onboard(ask, made["id"])
    assert able(ask.get(f"/v1/accounts/{made['id']}")) == (True, True, True)


def test_what_falls_due_is_named(ask: Asking) -> None:
    """Without a connected account, or without a name that could be a requirement, nothing falls due."""
    made = ask.post("/v1/accounts", type="express")
    for identity, fields in ((made["id"], ()), (made["id"], ("Not one!",)), (ask.sandbox.account, ("business_type",))):
        with pytest.raises(ConfigurationError):
            require(ask, identity, *fields)
    with pytest.raises(ConfigurationError):
        onboard(ask, ask.sandbox.account)
    assert ask.get(f"/v1/accounts/{made['id']}") == made


def test_no_payments_before_the_onboarding(ask: Asking) -> None:
    """In an account that may not take payments a payment can be prepared, and its confirmation is refused."""
    made = ask.post("/v1/accounts", type="express", capabilities=WISHES)
    seller = Asking(ask.sandbox, account=made["id"])
    money = {"amount": 2000, "currency": "usd", "payment_method": "pm_card_visa"}
    prepared = seller.post("/v1/payment_intents", **{**money, **NO_REDIRECTS, "confirm": False})
    for path in ("/v1/payment_intents", f"/v1/payment_intents/{prepared['id']}/confirm"):
        params = {**money, **NO_REDIRECTS} if path == "/v1/payment_intents" else {}
        status, error = seller.refused("POST", path, **params)
        assert (status, error["type"], "code" in error) == (400, "invalid_request_error", False)
        assert "disabled_reason" in error["message"]
    assert [row["status"] for row in seller.get("/v1/payment_intents")["data"]] == ["requires_confirmation"]
    onboard(ask, made["id"])
    assert seller.post(f"/v1/payment_intents/{prepared['id']}/confirm")["status"] == "succeeded"


def test_a_platform_that_collects_tells_by_itself(ask: Asking) -> None:
    """For a custom account the platform answers through the API, also after a link; what it has told is no longer missing."""
    made = ask.post("/v1/accounts", type="custom", capabilities=WISHES, tos_acceptance={"date": 1_700_000_000, "ip": "203.0.113.7"})
    assert made["tos_acceptance"]["ip"] == "203.0.113.7"
    assert "tos_acceptance.date" not in made["requirements"]["currently_due"]
    onboarding = dict.fromkeys(("refresh_url", "return_url"), "https://shop.test/")
    ask.post("/v1/account_links", account=made["id"], type="account_onboarding", **onboarding)
    told = ask.post(f"/v1/accounts/{made['id']}", business_type="company", business_profile={"support_address": {"city": "Ulm"}})
    assert set(made["requirements"]["currently_due"]) - set(told["requirements"]["currently_due"]) == {"business_type"}
    assert told["business_profile"]["support_address"]["city"] == "Ulm"
    onboard(ask, made["id"])
    assert ask.get(f"/v1/accounts/{made['id']}")["tos_acceptance"]["ip"] == "203.0.113.7"


def test_after_a_link_the_owner_has_the_say(ask: Asking) -> None:
    """Once there was a link for an account whose requirements Stripe collects, the platform no longer says what business it is."""
    made = ask.post("/v1/accounts", type="express", business_type="company")
    path = f"/v1/accounts/{made['id']}"
    assert ask.post(path, business_type="individual")["business_type"] == "individual"
    onboarding = dict.fromkeys(("refresh_url", "return_url"), "https://shop.test/")
    ask.post("/v1/account_links", account=made["id"], type="account_onboarding", **onboarding)
    assert ask.refused("POST", path, business_type="company")[0] == 403
    assert ask.post(path, email="jenny@example.com")["business_type"] == "individual"


def test_capabilities(ask: Asking) -> None:
    """A capability is asked for and given up on its own, with what it needs and since when; the account and an event say so."""
    made = ask.post("/v1/accounts", type="standard")
    path = f"/v1/accounts/{made['id']}/capabilities"
    unrequested = ask.get(f"{path}/card_payments")
    assert (unrequested["status"], unrequested["requested"], unrequested["requested_at"]) == ("unrequested", False, None)
    assert ask.get(path)["data"] == []
    events = heard(ask)
    asked = ask.post(f"{path}/card_payments", requested=True)
    assert (asked["status"], asked["requested"], asked["requested_at"]) == ("inactive", True, made["created"])
    assert asked["requirements"]["currently_due"] == made["requirements"]["currently_due"]
    assert ask.get(path)["data"] == [asked]
    onboard(ask, made["id"])
    assert ask.get(f"{path}/card_payments")["status"] == "active"
    given_up = ask.post(f"{path}/card_payments", requested=False)
    assert (given_up["status"], given_up["requested"]) == ("unrequested", False)
    row = ask.get(f"/v1/accounts/{made['id']}")
    assert (row["capabilities"], row["charges_enabled"]) == ({}, False)
    assert row["requirements"]["disabled_reason"] == "action_required.requested_capabilities"
    told = [event["data"]["object"]["status"] for event in events if event["type"] == "capability.updated"]
    assert told == ["inactive", "active", "unrequested"]


def test_capabilities_that_do_not_exist(ask: Asking) -> None:
    """A capability that Stripe does not have is not found."""
    identity = ask.post("/v1/accounts", type="standard")["id"]
    for method in ("GET", "POST"):
        status, error = ask.refused(method, f"/v1/accounts/{identity}/capabilities/teleportation")
        assert (status, error["code"]) == (404, "resource_missing")


def test_capabilities_in_an_update(ask: Asking) -> None:
    """Capabilities can be asked for with the account, and asking twice changes nothing."""
    identity = ask.post("/v1/accounts", type="standard")["id"]
    once = ask.post(f"/v1/accounts/{identity}", capabilities=WISHES)
    assert once["capabilities"] == {"card_payments": "inactive", "transfers": "inactive"}
    ask.sandbox.clock.advance(hours=1)
    again = ask.post(f"/v1/accounts/{identity}", capabilities={**WISHES, "transfers": {"requested": False}})
    assert again["capabilities"] == {"card_payments": "inactive"}
    assert ask.get(f"/v1/accounts/{identity}/capabilities/card_payments")["requested_at"] == once["created"]


def test_deletion(ask: Asking) -> None:
    """A deleted account is gone for its platform: not listed, not read, not worked in."""
    made = ask.post("/v1/accounts", type="custom", capabilities=WISHES)
    onboard(ask, made["id"])
    Asking(ask.sandbox, account=made["id"]).pay()
    assert ask.delete(f"/v1/accounts/{made['id']}") == {"id": made["id"], "object": "account", "deleted": True}
    assert ask.get("/v1/accounts")["data"] == []
    for own, path in ((ask, f"/v1/accounts/{made['id']}"), (Asking(ask.sandbox, account=made["id"]), "/v1/account")):
        status, error = own.refused("GET", path)
        assert (status, error["code"]) == (403, "account_invalid")
    assert ask.refused("DELETE", f"/v1/accounts/{made['id']}")[0] == 403
    # What was on its way there still arrives, without anybody to tell.
    ask.sandbox.clock.advance(days=3)


def test_accounts_depend_on_the_seed(ask: Asking) -> None:
    """The same requests give the same accounts, byte by byte."""

    def run(sandbox: StripeSandbox) -> list[Any]:
        asking = Asking(sandbox)
        made = asking.post("/v1/accounts", type="express", capabilities=WISHES)
        onboard(asking, made["id"])
        onboarding = dict.fromkeys(("refresh_url", "return_url"), "https://shop.test/")
        link = asking.post("/v1/account_links", account=made["id"], type="account_onboarding", **onboarding)
        return [made, link, Asking(sandbox, account=made["id"]).get("/v1/events")]

    with StripeSandbox() as other:
        assert run(ask.sandbox) == run(other)


@pytest.fixture
def fee(ask: Asking) -> dict[str, Any]:
    seller = Asking(ask.sandbox, account=ask.sandbox.connect().id)
    seller.pay(application_fee_amount=400, capture_method="automatic")
    found: dict[str, Any] = ask.get("/v1/application_fees")["data"][0]
    return found


def pending(ask: Asking) -> int:
    return sum(row["amount"] for row in ask.get("/v1/balance")["pending"] if row["currency"] == "usd")


def test_fees_go_back_in_parts(ask: Asking, fee: dict[str, Any]) -> None:
    """Parts of a fee go back to the account that paid it until nothing is left; the fee keeps count and both balances move."""
    seller = Asking(ask.sandbox, account=fee["account"])
    before = pending(seller)
    first = ask.post(f"/v1/application_fees/{fee['id']}/refunds", amount=150, metadata={"a": "1"})
    assert (first["amount"], first["fee"], first["currency"], first["metadata"]) == (150, fee["id"], "usd", {"a": "1"})
    row = ask.get(f"/v1/application_fees/{fee['id']}")
    assert (row["amount_refunded"], row["refunded"], row["refunds"]["data"]) == (150, False, [first])
    assert (pending(ask), pending(seller)) == (250, before + 150)
    second = ask.post(f"/v1/application_fees/{fee['id']}/refunds")
    row = ask.get(f"/v1/application_fees/{fee['id']}")
    assert (second["amount"], row["amount_refunded"], row["refunded"]) == (250, 400, True)
    assert (pending(ask), pending(seller)) == (0, before + 400)
    path = f"/v1/application_fees/{fee['id']}/refunds"
    assert ask.get(path)["data"] == [second, first]
    assert ask.get(path, limit=1, starting_after=second["id"])["data"] == [first]
    assert ask.get(f"{path}/{first['id']}", expand=["balance_transaction"])["balance_transaction"]["net"] == -150
    assert ask.get(f"{path}/{first['id']}", expand=["fee"])["fee"] == row


def test_a_refunded_fee_tells(ask: Asking, fee: dict[str, Any]) -> None:
    """application_fee.refunded has the fee as it is and as it was; a note on the refund has its own event."""
    refund = ask.post(f"/v1/application_fees/{fee['id']}/refunds", amount=100)
    (event,) = ask.get("/v1/events", type="application_fee.refunded")["data"]
    assert event["data"]["object"]["amount_refunded"] == 100
    assert event["data"]["previous_attributes"]["amount_refunded"] == 0
    path = f"/v1/application_fees/{fee['id']}/refunds/{refund['id']}"
    noted = ask.post(path, metadata={"a": "1"})
    assert ask.post(path, metadata={"a": "1"}) == noted == ask.get(path)
    assert ask.get(f"/v1/application_fees/{fee['id']}")["refunds"]["data"] == [noted]
    (event,) = ask.get("/v1/events", type="application_fee.refund.updated")["data"]
    assert event["data"]["previous_attributes"] == {"metadata": {"a": None}}


def test_what_cannot_go_back(ask: Asking, fee: dict[str, Any]) -> None:
    """More than is left, nothing, and a fee or refund that is not there are refused; nothing moves."""
    path = f"/v1/application_fees/{fee['id']}/refunds"
    wrong: list[tuple[str, str, dict[str, Any], int, str | None]] = [
        ("POST", path, {"amount": 401}, 400, None),
        ("POST", path, {"amount": 0}, 400, "parameter_invalid_integer"),
        ("POST", "/v1/application_fees/fee_gone/refunds", {}, 404, "resource_missing"),
        ("GET", "/v1/application_fees/fee_gone/refunds", {}, 404, "resource_missing"),
        ("GET", f"{path}/fr_gone", {}, 404, "resource_missing"),
    ]
    for method, where, params, status, code in wrong:
        answered, error = ask.refused(method, where, **params)
        assert (answered, error.get("code")) == (status, code)
    assert pending(ask) == 400
    refund = ask.post(path)
    assert ask.refused("POST", path)[0] == 400
    Asking(ask.sandbox, account=fee["account"]).pay(application_fee_amount=10, capture_method="automatic")
    other = ask.get("/v1/application_fees")["data"][0]
    assert other["id"] != fee["id"]
    assert ask.refused("GET", f"/v1/application_fees/{other['id']}/refunds/{refund['id']}")[0] == 404


def test_a_fee_that_is_available(ask: Asking, fee: dict[str, Any]) -> None:
    """What goes back of a fee that is available is available at once, on both sides."""
    ask.sandbox.clock.advance(days=3)
    refund = ask.post(f"/v1/application_fees/{fee['id']}/refunds", amount=100, expand=["balance_transaction"])
    assert refund["balance_transaction"]["status"] == "available"
    assert [row["amount"] for row in ask.get("/v1/balance")["available"]] == [300]
    (moved,) = Asking(ask.sandbox, account=fee["account"]).get("/v1/balance_transactions", type="application_fee_refund")["data"]
    assert (moved["amount"], moved["status"]) == (100, "available")
