"""
The pages on which a merchant gives an application access to an account.

Sources: https://docs.stripe.com/connect/oauth-reference and https://docs.stripe.com/stripe-apps/api-authentication/oauth
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit, urlunsplit

from atom_stripe.testing._state import grants
from atom_stripe.testing._state.browsing import Shown, escaped, page
from atom_stripe.testing._state.grants import OAuthRefusal
from atom_stripe.testing.resources import apps_installs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe.testing._state.browsing import Visit
    from atom_stripe.testing._state.machine import Machine
    from atom_stripe.testing._state.store import Account
    from atom_stripe.testing._state.transaction import Transaction

CONNECT, EXPRESS, APPS = "/oauth/authorize", "/express/oauth/authorize", "/oauth/v2/authorize"
# The link that the Dashboard gives to external testers of an app.
TESTERS = "/oauth/v2/{link}/authorize"

_APPS = re.compile(r"/oauth/v2/(?:[^/]+/)?authorize")

NEW_ACCOUNT = "new"

_SCOPES = ("read_only", "read_write")
# The words of the prefill, and those of an account.
_BUSINESS_TYPES = {
    "sole_prop": "individual",
    "corporation": "company",
    "non_profit": "non_profit",
    "partnership": "company",
    "llc": "company",
}
_COUNTRY_LETTERS = 2
_LONGEST_EMAIL = 512


@dataclass(frozen=True, slots=True)
class Authorization:
    """What an application asks for. *redirect_uri*: one that is registered. *challenge*: for PKCE."""

    client_id: str
    scope: str
    redirect_uri: str
    state: str | None = field(repr=False)
    challenge: str | None = field(repr=False)
    profile: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, machine: Machine, path: str, query: Mapping[str, str]) -> Authorization:
        """
        Return what the authorize URL with this *path* and *query* asks for.

        Raises:
            OAuthRefusal: It is wrong in a way that Stripe shows to the merchant and does not tell the application.
        """
        applications = machine.applications
        for_app = _APPS.fullmatch(path) is not None
        clients = {applications.app_client_id} if for_app else {applications.client_id, applications.live_client_id}
        if query.get("client_id", "") not in clients:
            raise OAuthRefusal("invalid_client", "No application matches the supplied client identifier.")
        redirect_uri = query.get("redirect_uri") or next(iter(applications.redirect_uris), None)
        if redirect_uri is None or redirect_uri not in applications.redirect_uris:
            message = "The redirect_uri is not registered for this application; it must be the same, letter by letter."
            raise OAuthRefusal("invalid_redirect_uri", message)
        challenge = None
        scope = grants.APP_SCOPE
        if for_app:
            challenge = query.get("code_challenge") or None
        else:
            scope = query.get("scope") or "read_only"
            if query.get("response_type") != "code":
                raise OAuthRefusal("unsupported_response_type", "The response_type must be code.")
            if scope not in _SCOPES:
                raise OAuthRefusal("invalid_scope", f"The scope must be {' or '.join(_SCOPES)}.")
        profile = _profile(query, "express" if path == EXPRESS else "standard")
        return cls(query["client_id"], scope, redirect_uri, query.get("state"), challenge, profile)

    def denied(self) -> str:
        """Return where the merchant goes who says no."""
        description = "The user denied your request"
        return self._back(error="access_denied", error_description=description)

    def allowed(self, machine: Machine, account: Account | None) -> str:
        """Return where the merchant goes who says yes, for *account* or for a new one."""
        applications, own = machine.applications, machine.account
        chosen = account or machine.open_account(**self.profile)
        code = f"ac_{machine.token('ac', 32)}"
        live = self.client_id == applications.live_client_id

        def install(work: Transaction) -> None:
            grants.admitted(own.id, applications, self.client_id)(work)
            apps_installs.install(work, own.id, applications)

        def keep(work: Transaction) -> None:
            grants.keep_code(work, code, self.client_id, chosen.id, self.scope, live=live, challenge=self.challenge)

        # An app is installed by the consent itself; a connection begins when its code is exchanged.
        if self.client_id == applications.app_client_id:
            machine.perform(install, chosen)
        machine.perform(keep)
        return self._back(scope=self.scope, code=code)

    def _back(self, **answer: str) -> str:
        parts = urlsplit(self.redirect_uri)
        state = {} if self.state is None else {"state": self.state}
        query = urlencode({**answer, **state}, errors="replace")
        return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))


def leads_here(path: str) -> bool:
    """Return whether a URL with this path is one on which consent is given."""
    return path in {CONNECT, EXPRESS} or _APPS.fullmatch(path) is not None


def choices(machine: Machine) -> list[Account]:
    """Return the accounts whose owners can be asked."""
    return [account for account in list(machine.accounts.values()) if account is not machine.account and not account.controller]


@page("GET", CONNECT)
def connect(visit: Visit) -> Shown:
    return _question(visit)


@page("GET", EXPRESS)
def express(visit: Visit) -> Shown:
    return _question(visit)


@page("GET", APPS)
def app(visit: Visit) -> Shown:
    return _question(visit)


@page("GET", TESTERS)
def tested_app(visit: Visit) -> Shown:
    return _question(visit)


@page("POST", CONNECT)
def connect_decision(visit: Visit) -> Shown:
    return _decision(visit)


@page("POST", EXPRESS)
def express_decision(visit: Visit) -> Shown:
    return _decision(visit)


@page("POST", APPS)
def app_decision(visit: Visit) -> Shown:
    return _decision(visit)


@page("POST", TESTERS)
def tested_app_decision(visit: Visit) -> Shown:
    return _decision(visit)


def _question(visit: Visit) -> Shown:
    try:
        asked = Authorization.read(visit.machine, visit.path, visit.query)
    except OAuthRefusal as refusal:
        return Shown.json(400, refusal.body)
    name = visit.machine.applications.shown(asked.client_id)["name"]
    options = "".join(
        f'<option value="{escaped(account.id)}">{escaped(_label(account))}</option>' for account in choices(visit.machine)
    )
    body = (
        f"<h1>{escaped(name)} asks for access</h1>\n"
        f"<p>It will have the scope <strong>{escaped(asked.scope)}</strong> on the account that you choose. "
        "This is a sandbox: nothing here is real.</p>\n"
        '<form method="post">\n'
        f'<p><label for="account">Account</label> <select id="account" name="account">'
        f'<option value="{NEW_ACCOUNT}" selected>A new account</option>{options}</select></p>\n'
        '<p><button id="connect" name="decision" value="allow">Connect</button>'
        '<button id="deny" name="decision" value="deny">Cancel</button></p>\n'
        "</form>"
    )
    return Shown.html(200, body, title=f"Connect to {name}")


def _decision(visit: Visit) -> Shown:
    try:
        asked = Authorization.read(visit.machine, visit.path, visit.query)
        return Shown.redirect(asked.denied() if visit.form.get("decision") == "deny" else _allowed(visit, asked))
    except OAuthRefusal as refusal:
        return Shown.json(400, refusal.body)


def _allowed(visit: Visit, asked: Authorization) -> str:
    if visit.form.get("decision") != "allow":
        raise OAuthRefusal("invalid_request", "The decision must be allow or deny.")
    wanted = visit.form.get("account") or NEW_ACCOUNT
    known = {account.id: account for account in choices(visit.machine)}
    if wanted != NEW_ACCOUNT and wanted not in known:
        raise OAuthRefusal("invalid_request", "The account must be new or one of those that the page offers.")
    return asked.allowed(visit.machine, known.get(wanted))


def _profile(query: Mapping[str, str], type: str) -> dict[str, str]:
    """Return what the new account will say of itself. A prefill that is wrong is ignored without a word, as Stripe does."""
    email, country = query.get("stripe_user[email]", ""), query.get("stripe_user[country]", "").upper()
    business_type = _BUSINESS_TYPES.get(query.get("stripe_user[business_type]", ""))
    profile = {"type": type}
    name, _, host = email.partition("@")
    if name and "." in host and len(email) <= _LONGEST_EMAIL and email.isprintable() and " " not in email:
        profile["email"] = email
    if len(country) == _COUNTRY_LETTERS and country.isascii() and country.isalpha():
        profile["country"] = country
    if business_type:
        profile["business_type"] = business_type
    return profile


def _label(account: Account) -> str:
    email = account.profile.get("email")
    return f"{account.id} ({email})" if email else account.id
