"""The install API of the sandbox."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox import stripe_document
from tests.sandbox.asking import Asking
from tests.sandbox.connecting import APP, World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with world.sandbox:
        yield world


def test_the_install_api(world: World) -> None:
    """The developer installs the app on a connected account, exchanges the code, and uninstalls it there."""
    account = world.exchanged()["stripe_user_id"]
    there, here = Asking(world.sandbox, account=account), Asking(world.sandbox)
    made = there.post("/v1/apps/installs", app=world.oauth.app_id)
    code = made.pop("auth_code")
    assert (made["account"], made["status"], made["channel"]) == (account, "installed", "public")
    token = world.token(APP, grant_type="authorization_code", code=code)
    assert (token["stripe_user_id"], world.status(token["access_token"])[0]) == (account, 200)
    again = there.post("/v1/apps/installs", app=world.oauth.app_id)
    assert (again["id"], again["auth_code"] == code) == (made["id"], False)
    renewed = there.post(f"/v1/apps/installs/{made['id']}")
    assert world.token(APP, grant_type="authorization_code", code=renewed["auth_code"])["stripe_user_id"] == account
    shown = here.get(f"/v1/apps/installs/{made['id']}")
    assert shown == {**made, "auth_code": None}
    assert here.get("/v1/apps/installs", account=account)["data"] == [shown]
    assert there.get("/v1/apps/installs", status="installing")["data"] == []
    gone = there.post(f"/v1/apps/installs/{made['id']}/uninstall")
    assert (gone["id"], gone["status"]) == (made["id"], "uninstalling")
    assert [name for name in world.types if name.startswith("apps.")] == [
        "apps.install.created",
        "apps.install.updated",
        "apps.install.deleted",
    ]
    assert world.types[-1] == "account.application.deauthorized"
    assert world.status(token["access_token"])[0] == 401
    assert [here.get("/v1/apps/installs")["data"], there.get("/v1/apps/installs")["data"]] == [[], []]
    assert there.refused("POST", f"/v1/apps/installs/{made['id']}/uninstall")[0] == 404
    assert there.refused("GET", f"/v1/apps/installs/{made['id']}")[0] == 404


def test_who_sees_an_install(world: World) -> None:
    """The developer sees the installs on all accounts, newest first; one account's are not found in another."""
    first, second = (Asking(world.sandbox, account=world.sandbox.connect().id) for _ in range(2))
    installs = [ask.post("/v1/apps/installs", app=world.oauth.app_id)["id"] for ask in (first, second)]
    assert [row["id"] for row in Asking(world.sandbox).get("/v1/apps/installs")["data"]] == installs[::-1]
    assert [row["id"] for row in first.get("/v1/apps/installs")["data"]] == installs[:1]
    assert first.refused("GET", f"/v1/apps/installs/{installs[1]}")[0] == 404


def test_an_install_fits_the_class_of_stripes_library(world: World) -> None:
    """An install has the fields of the official library's class and no others, and its words are Stripe's."""
    there = Asking(world.sandbox, account=world.sandbox.connect().id)
    made = there.post("/v1/apps/installs", app=world.oauth.app_id)
    spec = find_spec("stripe")
    assert spec is not None
    assert spec.origin is not None
    source = ast.parse((Path(spec.origin).parent / "apps" / "_install.py").read_text(encoding="utf-8"))
    (install,) = [node for node in source.body if isinstance(node, ast.ClassDef) and node.name == "Install"]
    assert set(made) == {*stripe_document.annotations(install), "object"}
    for part in ("Granted", "Pending"):
        name = f"ContentSecurityPolicy{part}"
        assert set(made[f"content_security_policy_{part.lower()}"]) == set(
            stripe_document.annotations(stripe_document.parts(install)[name])
        )
    assert f"'{made['status']}'" in stripe_document.annotations(install)["status"]
    assert f"'{made['channel']}'" in stripe_document.annotations(install)["channel"]


def test_codes_are_in_no_event(world: World) -> None:
    """The code of an install is in the answer alone."""
    account = world.exchanged()["stripe_user_id"]
    made = Asking(world.sandbox, account=account).post("/v1/apps/installs", app=world.oauth.app_id)
    assert made["auth_code"] not in json.dumps(world.heard)


def test_installs_that_are_refused(world: World) -> None:
    """An app of another, a private app, a challenge that is none, and the developer's own account are refused."""
    account = world.sandbox.connect().id
    there, here = Asking(world.sandbox, account=account), Asking(world.sandbox)
    app = world.oauth.app_id
    path = "/v1/apps/installs"
    assert there.refused("POST", path, app="com.example.other")[1]["code"] == "resource_missing"
    assert there.refused("POST", path, app=app, channel="private_test")[1]["param"] == "channel"
    assert there.refused("POST", path, app=app, code_challenge="a" * 43)[1]["param"] == "code_challenge"
    assert there.refused("POST", path, app=app, code_challenge="a", code_challenge_method="S256")[1]["param"] == "code_challenge"
    plain = {"code_challenge": "a" * 43, "code_challenge_method": "plain"}
    assert there.refused("POST", path, app=app, **plain)[1]["param"] == "code_challenge_method"
    assert here.refused("POST", path, app=app)[0] == 501
    assert here.get(path)["data"] == []


def test_a_refused_install_leaves_no_code(world: World) -> None:
    """What is refused after the work takes the install back, with its code."""
    there = Asking(world.sandbox, account=world.sandbox.connect().id)
    assert there.refused("POST", "/v1/apps/installs", app=world.oauth.app_id, expand=["account"])[0] == 400
    assert there.get("/v1/apps/installs")["data"] == []
    assert world.types == []


@pytest.mark.parametrize("way", ["install", "link"])
def test_proof_keys(world: World, way: str) -> None:
    """A code that was asked for with a challenge needs its verifier (PKCE)."""
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {"code_challenge": challenge, "code_challenge_method": "S256"}
    if way == "install":
        there = Asking(world.sandbox, account=world.sandbox.connect().id)
        code = there.post("/v1/apps/installs", app=world.oauth.app_id, **asked)["auth_code"]
    else:
        code = world.code(app=True, path="/oauth/v2/chnlink_1/authorize", **asked)
    form = {"grant_type": "authorization_code", "code": code}
    assert world.refused(APP, **form)[1] == "invalid_grant"
    assert world.refused(APP, code_verifier="w" * 43, **form)[1] == "invalid_grant"
    assert world.token(APP, code_verifier=verifier, **form)["scope"] == "stripe_apps"
