"""
Grants: which applications may work in which accounts, and the codes and tokens that say so.

Codes and tokens are rows of the platform's account, so that a refused request takes them back too. Sources:
https://docs.stripe.com/connect/oauth-reference and https://docs.stripe.com/stripe-apps/api-authentication/oauth
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atom_stripe.testing._state.errors import Refusal

if TYPE_CHECKING:
    from atom_stripe.testing._state.clock import Job
    from atom_stripe.testing._state.ids import Ids
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

ACCESS_PREFIX = "sk_test_oauth_"
"""How the access tokens begin that a sandbox gives out. Other test keys are the platform's own."""

GRANT_TYPES = ("authorization_code", "refresh_token")
CODE_LIFETIME = 5 * 60
REFRESH_LIFETIME = 365 * 24 * 60 * 60
APP_SCOPE = "stripe_apps"
# What a scope holds, itself included.
_WITHIN = {"read_only": {"read_only"}, "read_write": {"read_only", "read_write"}}

_OK = 200

CODE, ACCESS, REFRESH, PUBLISHABLE = "_oauth.code", "_oauth.access", "_oauth.refresh", "_oauth.publishable"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """
    A request that a token endpoint got. Nothing of it is secret.

    *outcome*: ``done``, ``replayed``, OAuth's word for the refusal (``invalid_grant``), the code of another refusal, or ``lost`` where a fault
    struck. *account*: whose token was given.
    """

    path: str
    grant_type: str
    outcome: str
    account: str | None = None
    idempotency_key: str | None = None

    @classmethod
    def of(cls, path: str, grant_type: object, idempotency_key: str | None, answer: tuple[int, bytes, bool] | None) -> TokenRequest:
        """Return what is remembered of a request. *answer*: its status, its body, and whether it is the answer to an earlier one."""
        grant = grant_type if isinstance(grant_type, str) and grant_type in GRANT_TYPES else "other"
        if answer is None:
            return cls(path, grant, "lost", None, idempotency_key)
        status, body, again = answer
        content = json.loads(body)
        if status == _OK:
            return cls(path, grant, "replayed" if again else "done", content["stripe_user_id"], idempotency_key)
        error = content["error"]
        outcome = error if isinstance(error, str) else error.get("code") or error["type"]
        return cls(path, grant, outcome, None, idempotency_key)


@dataclass(slots=True)
class Applications:
    """The platform and the Stripe App of a sandbox, and how its token endpoints behave."""

    client_id: str
    live_client_id: str
    app_client_id: str
    app_id: str = "com.example.sandbox"
    redirect_uris: list[str] = field(default_factory=list)
    replays: bool = True
    access_token_lifetime: int = 60 * 60
    requests: list[TokenRequest] = field(default_factory=list)

    @classmethod
    def of(cls, account: str, ids: Ids) -> Applications:
        """Return those of a sandbox whose own account is *account*."""
        return cls(f"ca_{account.removeprefix('acct_')}", f"ca_{ids.token('ca_live', 16)}", f"ca_{ids.token('ca_app', 16)}")

    def shown(self, client_id: str) -> Row:
        """Return an application as events hold it."""
        name = "Sandbox App" if client_id == self.app_client_id else "Sandbox Platform"
        return {"id": client_id, "object": "application", "name": name}


class OAuthRefusal(Refusal):
    """
    A refusal in OAuth's form: ``{"error": "invalid_grant", "error_description": …}``.

    *kept*: an idempotency key keeps what came after the operation had begun.
    """

    def __init__(self, error: str, description: str, *, committed: bool = False) -> None:
        super().__init__(401 if error == "invalid_client" else 400, description, code=error, committed=committed)
        self.body = {"error": error, "error_description": description}

    @property
    def kept(self) -> bool:
        return self.code not in {"invalid_client", "invalid_request", "unsupported_grant_type"}


def admitted(platform: str, applications: Applications, client_id: str) -> Job:
    """Return the job, in an account, that gives an application access to it. The first time, an event says so."""

    def admit(work: Transaction) -> None:
        if client_id not in work.account.applications:
            work.account.applications.add(client_id)
            work.account.platform = platform
            work.emit("account.application.authorized", applications.shown(client_id))

    return admit


def dismissed(platform: str, applications: Applications, client_id: str) -> Job:
    """Return the job, in an account, that ends an application's access to it. The event of it is the last that the platform gets."""

    def leave(work: Transaction) -> None:
        account = work.account
        account.applications.discard(client_id)
        if not account.applications and not account.controller:
            account.platform = None

    def dismiss(work: Transaction) -> None:
        if client_id in work.account.applications:
            identity = work.account.id
            work.emit("account.application.deauthorized", applications.shown(client_id))
            work.after(leave)
            work.after(lambda own: revoke(own, identity, client_id), platform)

    return dismiss


def keep_code(
    work: Transaction,
    code: str,
    client_id: str,
    account: str,
    scope: str,
    *,
    live: bool = False,
    challenge: str | None = None,
) -> None:
    """Let *code* be exchanged once, within five minutes. *challenge*: what the exchange has to prove (PKCE, S256)."""
    row = {"id": code, "object": CODE, "client": client_id, "account": account, "scope": scope, "live": live}
    work.add({**row, "challenge": challenge, "expires": work.now + CODE_LIFETIME, "used": False})


def redeem(work: Transaction, applications: Applications, clients: tuple[str, ...], code: str, verifier: str | None = None) -> Row:
    """Use up a code for one of *clients* and return its row. A code of Connect that is used again ends the connection."""
    row = work.get(CODE, code)
    if row is None or row["client"] not in clients:
        raise OAuthRefusal("invalid_grant", "There is no such authorization code, or it belongs to another application.")
    if row["live"]:
        message = "The authorization code was given in live mode and the API key is of test mode: the modes must be the same."
        raise OAuthRefusal("invalid_grant", message)
    if row["used"]:
        raise _used_again(work, applications, row)
    if work.now >= row["expires"]:
        raise OAuthRefusal("invalid_grant", "The authorization code has expired; it is valid for five minutes.")
    if row["challenge"] is not None and not _proves(verifier or "", row["challenge"]):
        raise OAuthRefusal("invalid_grant", "The code_verifier does not fit the code_challenge that the code was asked for with.")
    work.change(row)["used"] = True
    return row


def refreshable(work: Transaction, clients: tuple[str, ...], token: str) -> Row:
    """Return the row of a refresh token of one of *clients* that may be used."""
    row = work.get(REFRESH, token)
    if row is None or row["client"] not in clients:
        raise OAuthRefusal("invalid_grant", "There is no such refresh token, or it belongs to another application.")
    if row["ended"]:
        raise OAuthRefusal("invalid_grant", "The refresh token is no longer valid: it was used before, or access was revoked.")
    if row["expires"] is not None and work.now >= row["expires"]:
        raise OAuthRefusal("invalid_grant", "The refresh token has expired.")
    return row


def issue_access(work: Transaction, client_id: str, account: str, scope: str, lifetime: int | None = None) -> str:
    """Return a new access token, which works as an API key for *account*. *lifetime*: in seconds."""
    token = f"{ACCESS_PREFIX}{work.ids.token('oauth_access', 32)}"
    expires = None if lifetime is None else work.now + lifetime
    row = {"id": token, "object": ACCESS, "client": client_id, "account": account, "scope": scope}
    work.add({**row, "expires": expires, "ended": False})
    return token


def issue_refresh(work: Transaction, client_id: str, account: str, scope: str, lifetime: int | None = None) -> str:
    """Return a new refresh token. *lifetime*: in seconds."""
    token = f"rt_{work.ids.token('oauth_refresh', 32)}"
    expires = None if lifetime is None else work.now + lifetime
    row = {"id": token, "object": REFRESH, "client": client_id, "account": account, "scope": scope}
    work.add({**row, "expires": expires, "ended": False})
    return token


def publishable_key(work: Transaction, account: str) -> str:
    """Return the key for a browser (``pk_test_…``) of an account. It stays the same."""
    row = work.get(PUBLISHABLE, account)
    if row is None:
        row = work.add({"id": account, "object": PUBLISHABLE, "key": f"pk_test_{work.ids.token('oauth_publishable', 32)}"})
    key: str = row["key"]
    return key


def end(work: Transaction, row: Row) -> None:
    """Let a token be no longer valid."""
    work.change(row)["ended"] = True


def end_access(work: Transaction, client_id: str, account: str, scope: str) -> None:
    """End the access tokens of an application for an account that have this scope."""
    for row in list(work.rows(ACCESS)):
        if (row["client"], row["account"], row["scope"]) == (client_id, account, scope) and not row["ended"]:
            end(work, row)


def revoke(work: Transaction, account: str, client_id: str) -> None:
    """End all that an application has for an account: its tokens, and the codes that it has not used."""
    for kind, field_name in ((ACCESS, "ended"), (REFRESH, "ended"), (CODE, "used")):
        for row in list(work.rows(kind)):
            if (row["client"], row["account"]) == (client_id, account):
                work.change(row)[field_name] = True


def covers(scope: str, wanted: str) -> bool:
    """Return whether *wanted* is equal to *scope* or less."""
    return wanted in _WITHIN.get(scope, {scope})


def _used_again(work: Transaction, applications: Applications, row: Row) -> OAuthRefusal:
    message = "The authorization code was used before."
    if row["scope"] == APP_SCOPE:
        return OAuthRefusal("invalid_grant", message)
    work.after(dismissed(work.account.id, applications, row["client"]), row["account"])
    return OAuthRefusal("invalid_grant", f"{message} The connection that it gave has been revoked.", committed=True)


def _proves(verifier: str, challenge: str) -> bool:
    digest = hashlib.sha256(verifier.encode(errors="replace")).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge
