"""``create_router``: FastAPI's requests and responses on one side, ``atom_stripe.service`` on the other."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match

from atom_stripe import service
from atom_stripe.service.document import described

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from starlette.types import Scope

    from atom_stripe.client import AsyncStripeClient
    from atom_stripe.inbox import AsyncWebhookInbox
    from atom_stripe.metrics import Metrics
    from atom_stripe.oauth import AsyncOAuthManager
    from atom_stripe.service import Operation, Service


def create_router(
    *,
    client: AsyncStripeClient | None = None,
    oauth: AsyncOAuthManager | None = None,
    inbox: AsyncWebhookInbox | None = None,
    authorize: Callable[..., Any] | None = None,
    authorize_operator: Callable[..., Any] | None = None,
    metrics: Metrics | None = None,
    config: service.ServiceConfig | None = None,
) -> APIRouter:
    """
    Return the routes of the given parts: ``app.include_router(create_router(…), prefix="/api/v1/stripe")``.

    The routes of a part that is not given are not there. ``document`` of ``atom_stripe.service`` lists them all.

    Args:
        client: What the routes of payments, customers, subscriptions and the like ask Stripe with. It stays yours to close, as all parts do.
        oauth: The manager behind ``/oauth/…``. With it, a caller's requests go to the Stripe account which that caller connected; make the client
            with the same manager.
        inbox: What ``/webhooks`` puts deliveries into. Its worker is yours to run.
        authorize: Who calls: a dependency of FastAPI's that returns a ``Caller``, a user's id, or ``None`` for nobody, which is answered with 401.
            What it raises as a ``Problem`` of ``atom_stripe.service`` is the answer.
        authorize_operator: The same for ``/health/detailed`` and ``/metrics``; left out, *authorize*.
        metrics: Where numbers go; with a ``PrometheusMetrics``, ``/metrics`` shows them.
        config: All other settings.

    Raises:
        ConfigurationError: Money or tokens would be open to everybody, or the parts do not fit together.
        MissingExtraError: ``pip install "atom-stripe[fastapi]"`` was not done.
    """
    parts = service.Parts(
        client=client,
        oauth=oauth,
        inbox=inbox,
        authorize=authorize,
        authorize_operator=authorize_operator,
        metrics=metrics,
    )
    face = service.Service(parts, config, asynchronous=True, extra="fastapi")

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncGenerator[None]:
        yield
        await face.close()

    router = APIRouter(lifespan=lifespan, route_class=_Route)
    for operation in face.operations:
        router.add_api_route(
            operation.path,
            _endpoint(face, operation),
            methods=[operation.method],
            name=operation.name,
            operation_id=operation.name,
            status_code=operation.status,
            response_class=Response,
            openapi_extra=described(operation, face.operations),
        )
    return router


class _Route(APIRoute):
    """A route whose dependencies may raise a ``Problem``: ``authorize``, above all."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # There are many routes, and each is asked for each request, twice: most can say no without their pattern.
        if self._fixed not in scope["path"]:
            return Match.NONE, {}
        return super().matches(scope)

    @cached_property
    def _fixed(self) -> str:
        """What stands in every path of this route."""
        return self.path.partition("{")[0]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except service.Problem as problem:
                return _response(problem.answer())

        return handled


def _endpoint(face: Service, operation: Operation) -> Callable[..., Any]:
    async def answered(request: Request, who: object) -> Response:
        # Webhooks are the busiest route, and need nothing of what the others do.
        body = await _body(request, face.body_limit(operation)) if operation.method == "POST" else b""
        if body is None:
            return _response(face.too_large(operation))
        return _response(await face.answer(operation, _request(request, operation, body), who))

    authorize = face.authorize(operation)
    if authorize is None:

        async def public(request: Request) -> Response:
            return await answered(request, None)

        return public

    async def guarded(request: Request, who: Any = Depends(authorize)) -> Response:  # noqa: B008 - FastAPI's way
        return await answered(request, who)

    return guarded


async def _body(request: Request, limit: int) -> bytes | None:
    """Return the body, or ``None`` when it is longer than *limit*: no more than that is read."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        return None
    chunks, size = list[bytes](), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _request(request: Request, operation: Operation, body: bytes) -> service.Request:
    scope = request.scope
    query: dict[str, list[str]] = {}
    if scope["query_string"]:
        for name, value in request.query_params.multi_items():
            query.setdefault(name, []).append(value)
    return service.Request(
        path=request.path_params,
        query=query,
        headers=request.headers,
        cookies=request.cookies,
        body=body,
        address=request.client.host if request.client else None,
        host=request.headers.get("host", ""),
        secure=scope["scheme"] == "https",
        root=scope["path"].removesuffix(operation.path.format_map(request.path_params)),
    )


def _response(answer: service.Answer) -> Response:
    response = Response(answer.body, answer.status, answer.all_headers, answer.media_type)
    if answer.cookie is not None:
        cookie = answer.cookie
        response.set_cookie(
            cookie.name, cookie.value, max_age=cookie.max_age, path="/", secure=cookie.secure, httponly=True, samesite="lax"
        )
    return response
