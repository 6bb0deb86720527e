"""The other side of OAuth, for tests: what the merchant does in a browser and in the Dashboard, and what the platform has registered."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from atom_stripe.errors import ConfigurationError
from atom_stripe.keys import Keyring
from atom_stripe.oauth_config import OAuthConfig
from atom_stripe.testing._state import grants
from atom_stripe.testing._state.grants import OAuthRefusal
from atom_stripe.testing.resources import apps_installs
from atom_stripe.testing.resources.oauth_pages import CONNECT, Authorization, choices, leads_here

if TYPE_CHECKING:
    from atom_stripe.config import StripeConfig
    from atom_stripe.testing._state.grants import TokenRequest
    from atom_stripe.testing._state.machine import Machine
    from atom_stripe.testing._state.store import Account
    from atom_stripe.testing._state.transaction import Transaction
    from atom_stripe.testing.webhooks import Webhooks


# Where users of a test come back to, if the test does not say.
_CALLBACK = "https://service.example/stripe/callback"


class ConsentRefusedError(Exception):
    """
    Stripe would show an error on its own page: the merchant sees it, and the application does not hear of it.

    *error*: OAuth's word for it, such as ``invalid_redirect_uri``. *description*: what is wrong.
    """

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description


class SandboxOAuth:
    """
    OAuth as a test sees it: ``sandbox.oauth``.

    There is one platform and one Stripe App, both of the sandbox's own account. Sources: https://docs.stripe.com/connect/oauth-reference and
    https://docs.stripe.com/stripe-apps/api-authentication/oauth
    """

    def __init__(self, machine: Machine, webhooks: Webhooks) -> None:
        self._machine = machine
        self._webhooks = webhooks
        self._applications = machine.applications

    @property
    def client_id(self) -> str:
        """The platform's client id for Connect (``ca_…``), of test mode."""
        return self._applications.client_id

    @property
    def live_client_id(self) -> str:
        """The platform's client id of live mode: its codes fail with a test key, because the modes differ."""
        return self._applications.live_client_id

    @property
    def app_client_id(self) -> str:
        """The client id of the Stripe App (``ca_…``)."""
        return self._applications.app_client_id

    @property
    def app_id(self) -> str:
        """The id of the Stripe App, as ``stripe.apps.installs.create(app=…)`` takes it."""
        return self._applications.app_id

    @property
    def redirect_uris(self) -> tuple[str, ...]:
        """The registered redirect URIs. The first is used where an authorize URL names none."""
        return tuple(self._applications.redirect_uris)

    def register(self, redirect_uri: str) -> None:
        """
        Register a redirect URI for the platform and the app.

        Raises:
            ConfigurationError: It is neither an https URL nor an http URL of this machine, or it has a fragment.
        """
        if not _may_be_registered(redirect_uri):
            msg = "a redirect URI is a complete https URL, or an http URL of this machine, without a fragment"
            raise ConfigurationError(msg)
        if redirect_uri not in self._applications.redirect_uris:
            self._applications.redirect_uris.append(redirect_uri)

    def config(self, stripe: StripeConfig, settings: dict[str, Any]) -> OAuthConfig:
        """Return the settings of a manager of this platform, or of this app with ``profile="stripe_app"``. What *settings* says stands above them."""
        if not self.redirect_uris and "redirect_uris" not in settings:
            self.register(_CALLBACK)
        for uri in settings.get("redirect_uris", ()):
            self.register(uri)
        client_id = self.app_client_id if settings.get("profile") == "stripe_app" else self.client_id
        own: dict[str, Any] = {"stripe": stripe, "client_id": client_id, "redirect_uris": self.redirect_uris}
        if "token_keys" not in settings:
            own["token_keys"] = (Keyring.generate_key(),)
        return OAuthConfig(**{**own, **settings})

    @property
    def replays_token_requests(self) -> bool:
        """
        Whether the token endpoints keep idempotency keys, as the API does. If not, they ignore them.

        What Stripe does is not documented, so a program should be tested with both.
        """
        return self._applications.replays

    @replays_token_requests.setter
    def replays_token_requests(self, value: bool) -> None:
        self._applications.replays = value

    @property
    def access_token_lifetime(self) -> int:
        """For how long the app's access tokens are valid, in seconds of the sandbox's clock. Those of Connect do not expire."""
        return self._applications.access_token_lifetime

    @access_token_lifetime.setter
    def access_token_lifetime(self, value: int) -> None:
        if value <= 0:
            msg = "an access token is valid for at least a second"
            raise ConfigurationError(msg)
        self._applications.access_token_lifetime = value

    @property
    def token_requests(self) -> list[TokenRequest]:
        """Every request that a token endpoint got, in the order in which they ended."""
        return list(self._applications.requests)

    def consent(self, url: str, *, account: str | None = None, deny: bool = False) -> str:
        """
        Be the merchant who follows an authorize URL. Returns the URL that Stripe then redirects the browser to.

        *account*: the id of the account to give access to; a new one is made if left out. *deny*: say no.

        Raises:
            ConsentRefusedError: Stripe would show an error and not redirect.
            ConfigurationError: *url* is not for the page where consent is given, or there is no such account to choose.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if not leads_here(parts.path):
            msg = f"this is no authorize URL; Connect's has the path {CONNECT}"
            raise ConfigurationError(msg)
        try:
            asked = Authorization.read(self._machine, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)))
        except OAuthRefusal as refusal:
            raise ConsentRefusedError(refusal.body["error"], refusal.body["error_description"]) from None
        chosen = None if account is None else self._choice(account)
        try:
            return asked.denied() if deny else asked.allowed(self._machine, chosen)
        finally:
            self._webhooks.deliver()

    def deauthorize(self, account: str) -> None:
        """
        Be the merchant who removes the platform in the Dashboard, and its app with it. Access ends, and the platform gets an event of it.

        Raises:
            ConfigurationError: The account is not connected, or the platform made it, so that it cannot leave.
        """
        self._leave(account, set(self._choice(account).applications))

    def uninstall(self, account: str) -> None:
        """
        Be the merchant who uninstalls the Stripe App. Its tokens end, and the developer gets two events of it.

        Raises:
            ConfigurationError: The app is not installed there.
        """
        self._leave(account, self._choice(account).applications & {self.app_client_id})

    def _leave(self, identity: str, clients: set[str]) -> None:
        account, platform = self._choice(identity), self._machine.account.id
        if not clients:
            msg = "this account has given no access that could be taken back"
            raise ConfigurationError(msg)

        def leave(work: Transaction) -> None:
            install = apps_installs.current(work)
            if install is not None and self.app_client_id in clients:
                apps_installs.uninstall(work, platform, self._applications, install)
            if self.client_id in clients:
                work.after(grants.dismissed(platform, self._applications, self.client_id))

        self._machine.perform(leave, account)
        self._webhooks.deliver()

    def _choice(self, identity: str) -> Account:
        for account in choices(self._machine):
            if account.id == identity:
                return account
        msg = "there is no such account whose owner could be asked; sandbox.connect() or a consent makes one"
        raise ConfigurationError(msg)

    def __repr__(self) -> str:
        return f"SandboxOAuth(client_id={self.client_id!r}, app_client_id={self.app_client_id!r})"


def _may_be_registered(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or parts.fragment or parts.username or not re.fullmatch(r"[!-\[\]-~]{1,2000}", uri):
        return False
    # "testserver" is this machine in the test clients of web frameworks.
    if parts.scheme == "https" or (parts.scheme == "http" and host in {"localhost", "testserver"}):
        return True
    try:
        return parts.scheme == "http" and ip_address(host).is_loopback
    except ValueError:
        return False
