"""
A marketplace in Flask: a merchant connects a Stripe account in the browser, and the service charges on the merchant's behalf. Merchants without
an account get one: Stripe asks them for what is missing.

    python examples/connect_flask.py      with a Stripe that runs on this machine

With Stripe itself, set STRIPE_SECRET_KEY, STRIPE_CLIENT_ID (ca_…), STRIPE_REDIRECT_URI (http://127.0.0.1:8000/stripe/callback, registered in
Stripe's Dashboard), STRIPE_WEBHOOK_SECRET, STRIPE_TOKEN_KEYS (what `atom-stripe keys generate` prints) and DATABASE_URL; then

    cd examples && flask --app connect_flask:create_app run --port 8000
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import connect_pages as pages
from connect_sandbox import demonstration
from flask import Flask, abort, g, redirect, request, url_for
from werkzeug.serving import make_server

from atom_stripe import AtomStripeError, OAuthConfig, OAuthManager, StripeClient, WebhookVerifier
from atom_stripe.errors import NotConnectedError, WebhookError
from atom_stripe.stores.sql import SqlTokenStore, upgrade

if TYPE_CHECKING:
    from werkzeug import Response

LOG = logging.getLogger("marketplace")


def create_app(config: OAuthConfig | None = None, database: str | None = None) -> Flask:  # noqa: C901 - Flask's views are functions in it
    """Return the service. What is not given, the environment says."""
    settings = config or OAuthConfig.from_env()
    url = database or os.environ.get("DATABASE_URL", "sqlite:///connect.sqlite3")
    upgrade(url)
    app = Flask(__name__)
    # Closed when the program ends, at the latest: renewals of tokens that are under way come to an end.
    opened = app.extensions["opened"] = ExitStack()
    atexit.register(opened.close)
    store = opened.enter_context(SqlTokenStore.from_url(url))
    manager = opened.enter_context(OAuthManager(settings, store))
    stripe = opened.enter_context(StripeClient(config=settings.stripe, oauth=manager))
    verifier = WebhookVerifier.from_config(settings.stripe)

    @app.before_request
    def begin() -> None:
        g.session = pages.session_of(request.cookies.get("session"))
        g.user = pages.user_of(g.session)
        if (
            request.method == "POST"
            and request.endpoint != "webhooks"
            and not pages.is_ours(g.session, request.form.get("token", ""))
        ):
            abort(403, "this form is not from our page")

    @app.after_request
    def keep(response: Response) -> Response:
        # No script reads it. "Lax": it comes along when Stripe sends the browser back.
        secure = settings.redirect_uris[0].startswith("https://")
        response.set_cookie("session", g.session, httponly=True, samesite="Lax", secure=secure)
        return response

    @app.get("/")
    def home() -> str:
        missing = 0
        try:
            connection = manager.connection(g.user)
            if connection.state == "onboarding":
                missing = len(manager.account_status(g.user).currently_due)
                connection = manager.connection(g.user)
        except NotConnectedError:
            connection = None
        return pages.home(g.session, connection, missing=missing, onboarding=True)

    @app.get("/stripe/connect")
    def connect() -> Response:
        return redirect(manager.authorize_url(g.user, session=g.session), 303)

    @app.get("/stripe/callback")
    def callback() -> Response:
        # A reload of this, or the same redirect twice, is harmless.
        came = request.args
        manager.callback(came.get("code"), came.get("state"), session=g.session, error=came.get("error"))
        return redirect("/", 303)

    @app.route("/stripe/onboard", methods=["GET", "POST"])
    def onboard() -> Response:
        # Only a click makes an account. Stripe's pages come back here, by GET, for another link to it.
        if request.method == "GET" and manager.connection(g.user).state != "onboarding":
            return redirect("/", 303)
        refresh, home = url_for("onboard", _external=True), url_for("home", _external=True)
        return redirect(manager.account_link(g.user, return_url=home, refresh_url=refresh).url, 303)

    @app.post("/charge")
    def charge() -> str:
        payment = stripe.for_user(g.user).payment_intents.create(
            amount=pages.PRICE,
            currency="usd",
            payment_method="pm_card_visa",
            confirm=True,
            automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
            **pages.share(settings.profile),
            idempotency_key=f"{g.user}-{request.form.get('order', '')}",
        )
        return pages.paid(payment)

    @app.post("/disconnect")
    def disconnect() -> Response:
        manager.disconnect(g.user)
        return redirect("/", 303)

    @app.post("/webhooks")
    def webhooks() -> str:
        # What fails otherwise is a 503, and Stripe sends it again.
        try:
            event = verifier.verify(request.get_data(), request.headers.get("stripe-signature"))
        except WebhookError:
            abort(400, "this is not from Stripe")
        manager.handle_event(event)
        return ""

    @app.errorhandler(AtomStripeError)
    def failed(error: AtomStripeError) -> tuple[str, int]:
        LOG.warning("%s: %s", request.endpoint, error)
        status, words = pages.explained(error)
        return pages.problem(words), status

    return app


def main() -> None:
    """Run the service with a Stripe of its own."""
    # The URLs that Stripe sends browsers back to hold codes, and this server logs URLs.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with demonstration() as (stripe, listener):
        app = create_app(stripe.config, stripe.database)
        with app.extensions["opened"], listener, make_server("127.0.0.1", 0, app, threaded=True, fd=listener.fileno()) as server:
            # In a thread, so that the signal that ends the program interrupts no request.
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            try:
                # A signal is heard by this thread, and not before it wakes up.
                while serving.is_alive():
                    serving.join(0.2)
            finally:
                # Stripe first: what it is delivering is still answered.
                stripe.sandbox.close()
                server.shutdown()
                serving.join()


if __name__ == "__main__":
    main()
