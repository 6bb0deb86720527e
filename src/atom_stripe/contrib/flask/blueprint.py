"""``create_blueprint``: Flask's requests and responses on one side, ``atom_stripe.service`` on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from atom_stripe import service

if TYPE_CHECKING:
    from collections.abc import Callable

    from atom_stripe.client import StripeClient
    from atom_stripe.inbox import WebhookInbox
    from atom_stripe.metrics import Metrics
    from atom_stripe.oauth import OAuthManager
    from atom_stripe.service import Operation, Service


def create_blueprint(
    *,
    client: StripeClient | None = None,
    oauth: OAuthManager | None = None,
    inbox: WebhookInbox | None = None,
    authorize: Callable[[], Any] | None = None,
    authorize_operator: Callable[[], Any] | None = None,
    metrics: Metrics | None = None,
    config: service.ServiceConfig | None = None,
    name: str = "stripe",
) -> Blueprint:
    """
    Return the routes of the given parts: ``app.register_blueprint(create_blueprint(…), url_prefix="/api/v1/stripe")``.

    The routes of a part that is not given are not there. ``document`` of ``atom_stripe.service`` lists them all.

    Args:
        client: What the routes of payments, customers, subscriptions and the like ask Stripe with. It stays yours to close, as all parts do.
        oauth: The manager behind ``/oauth/…``. With it, a caller's requests go to the Stripe account which that caller connected; make the client
            with the same manager.
        inbox: What ``/webhooks`` puts deliveries into. Its worker is yours to run.
        authorize: Who calls: a function that looks at ``flask.request`` and returns a ``Caller``, a user's id, or ``None`` for nobody, which is
            answered with 401. What it raises as a ``Problem`` of ``atom_stripe.service`` is the answer.
        authorize_operator: The same for ``/health/detailed`` and ``/metrics``; left out, *authorize*.
        metrics: Where numbers go; with a ``PrometheusMetrics``, ``/metrics`` shows them.
        config: All other settings.
        name: What Flask calls the blueprint.

    Raises:
        ConfigurationError: Money or tokens would be open to everybody, or the parts do not fit together.
        MissingExtraError: ``pip install "atom-stripe[flask]"`` was not done.
    """
    parts = service.Parts(
        client=client,
        oauth=oauth,
        inbox=inbox,
        authorize=authorize,
        authorize_operator=authorize_operator,
        metrics=metrics,
    )
    face = service.Service(parts, config, asynchronous=False, extra="flask")
    blueprint = Blueprint(name, __name__)
    for operation in face.operations:
        blueprint.add_url_rule(
            operation.path.replace("{", "<").replace("}", ">"),
            endpoint=operation.name,
            view_func=_view(face, operation),
            methods=[operation.method],
        )
    return blueprint


def _view(face: Service, operation: Operation) -> Callable[..., Response]:
    authorize = face.authorize(operation)

    def view(**path: str) -> Response:
        try:
            who = authorize() if authorize else None
        except service.Problem as problem:
            return _response(problem.answer())
        body = _body(face.body_limit(operation)) if operation.method == "POST" else b""
        if body is None:
            return _response(face.too_large(operation))
        return _response(face.answer_now(operation, _request(operation, path, body), who))

    return view


def _body(limit: int) -> bytes | None:
    """Return the body, or ``None`` when it is longer than *limit*: no more than that is read."""
    request.max_content_length = limit
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        return None


def _request(operation: Operation, path: dict[str, str], body: bytes) -> service.Request:
    return service.Request(
        path=path,
        query=request.args.to_dict(flat=False),
        headers={name.lower(): value for name, value in request.headers},
        cookies=request.cookies,
        body=body,
        address=request.remote_addr,
        host=request.host,
        secure=request.is_secure,
        root=(request.script_root + request.path).removesuffix(operation.path.format_map(path)),
    )


def _response(answer: service.Answer) -> Response:
    response = Response(answer.body, answer.status, answer.all_headers, content_type=answer.media_type)
    if answer.cookie is not None:
        cookie = answer.cookie
        response.set_cookie(
            cookie.name, cookie.value, max_age=cookie.max_age, path="/", secure=cookie.secure, httponly=True, samesite="Lax"
        )
    return response
