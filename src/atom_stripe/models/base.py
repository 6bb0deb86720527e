"""
What every object that Stripe sends has in common.

Rule 1: an object is a read-only view of exactly what Stripe sent. Nothing is validated, renamed, coerced or dropped while
reading, so no answer of Stripe's, old, new or wrong, can fail to parse or lose a field.
Rule 2: nested objects are built when they are first looked at. A page of a hundred payments costs one JSON parse.
Rule 3: nothing here sends a request. Behaviour lives in the client.
"""

from __future__ import annotations

import copy
import inspect
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import import_module
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict
from pydantic_core import SchemaSerializer, SchemaValidator, core_schema

from atom_stripe.models.registry import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import GetCoreSchemaHandler

    from atom_stripe.models.answer import Answer

T = TypeVar("T")


class View:
    """Attribute access to the fields of one JSON object. The two bases below say where the fields are kept."""

    __slots__ = ()

    # How a field is read where JSON does not say it: the class of a part, Decimal or int for numbers that Stripe sends as
    # strings, dict for maps whose keys are the caller's own (metadata), dict[str, Part] for maps of parts (currency_options).
    # Metadata is such a map wherever it appears, in untyped objects too: one of its keys may be "object".
    _shapes: ClassVar[Mapping[str, Any]] = {"metadata": dict}

    if TYPE_CHECKING:
        _raw: dict[str, Any]

        @classmethod
        def from_stripe(cls, raw: dict[str, Any], answer: Answer | None = None) -> Self:
            """Return *raw*, a JSON object as Stripe sends it, as this type. The object keeps *raw*: do not change it afterwards."""
            ...

    else:
        # Hidden from type checkers, so that a misspelled field of a typed object is a type error. StripeObject shows it again.
        def __getattr__(self, name: str) -> Any:
            if name[:2] == "__" or name == "_raw":
                raise AttributeError(name)
            try:
                value = self._raw[name]
            except KeyError:
                if name in declared(type(self)):
                    return None
                msg = f"Stripe sent no field {name!r} in this {type(self).__name__}"
                raise AttributeError(msg, name=name, obj=self) from None
            kind = type(value)
            if kind is dict or kind is list or name in self._shapes:
                value = read(value, self._shapes.get(name))
            # The instance's own dict is the cache: the next access does not come here.
            self.__dict__[name] = value
            return value

    def __getitem__(self, name: str) -> Any:
        """Return the field *name*, also one that cannot be an attribute (a Python keyword, the name of a method)."""
        return read(self._raw[name], self._shapes.get(name))

    def __contains__(self, name: object) -> bool:
        """Return whether Stripe sent the field *name*."""
        return name in self._raw

    def to_dict(self) -> dict[str, Any]:
        """Return exactly what Stripe sent, as plain dicts and lists that are the caller's own."""
        return copy.deepcopy(self._raw)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        msg = f"{type(self).__name__} is what Stripe sent and cannot be changed; to_dict() gives a copy that can"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View) and type(self) is type(other) and self._raw == other._raw

    def __hash__(self) -> int:
        identity = self._raw.get("id")
        return hash((type(self), identity if isinstance(identity, str) else None))

    def __repr__(self) -> str:
        # Only the id: any other field may be personal data or a secret, and reprs end up in logs.
        identity = self._raw.get("id")
        return f"{type(self).__name__}({f'id={identity!r}' if isinstance(identity, str) and len(identity) < _ID else ''})"

    __str__ = __repr__

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._raw})

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object = None) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_stripe, (self._raw,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler | None) -> core_schema.CoreSchema:
        # The inner schema is only what documentation sees; reading is ours.
        return core_schema.no_info_wrap_validator_function(
            cls._accept,
            core_schema.dict_schema(core_schema.str_schema()),
            serialization=core_schema.plain_serializer_function_ser_schema(View.to_dict, return_schema=core_schema.dict_schema()),
        )

    @classmethod
    def _accept(cls, value: object, _handler: object = None) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, dict):
            return cls.from_stripe(cast("dict[str, Any]", value))
        msg = f"{cls.__name__} is made from a JSON object"
        raise ValueError(msg)


class StripePart(View):
    """An object inside another that has no name of its own at Stripe, such as a customer's address."""

    __slots__ = ("__dict__", "_raw")

    if not TYPE_CHECKING:

        @classmethod
        def from_stripe(cls, raw: dict[str, Any], answer: Answer | None = None) -> Self:  # noqa: ARG003 - parts come with no answer
            """Return *raw* as this type."""
            self = _new(cls)
            _set_part(self, raw)
            return self


class StripeModel(View, BaseModel):
    """
    An object of Stripe's: a pydantic model that is read without validation.

    Every field that Stripe sent is an attribute; a field that the type declares and Stripe left out is ``None``; any other name
    raises ``AttributeError``. ``model["name"]`` and ``"name" in model`` work for every field. Objects are immutable, compare by
    content, pickle, and serve as fields of pydantic models and as answers of FastAPI.

    Source: https://docs.stripe.com/api
    """

    __slots__ = ("_answer", "_raw")
    model_config = ConfigDict(frozen=True, defer_build=True, protected_namespaces=())

    if TYPE_CHECKING:
        _answer: Answer | None
    else:

        @classmethod
        def from_stripe(cls, raw: dict[str, Any], answer: Answer | None = None) -> Self:
            """Return *raw* as this type."""
            self = _new(cls)
            _set_model(self, raw)
            _set_answer(self, answer)
            return self

        def __new__(cls, /, **fields: Any) -> Self:
            """Return an object with these *fields*."""
            # As unchecked as Stripe's own answers, so that a test can write Customer(id="cus_1").
            return cls.from_stripe(fields)

        def __init__(self, /, **fields: Any) -> None:
            pass

    @classmethod
    def model_rebuild(cls, **_options: Any) -> bool:
        """Prepare pydantic's own entrances (``model_validate``, ``model_dump``). pydantic calls this at their first use."""
        # pydantic would resolve every annotation, and so import every model that this one can contain, to validate nothing.
        cls.__pydantic_core_schema__ = schema = cls.__get_pydantic_core_schema__(cls, None)
        cls.__pydantic_validator__ = SchemaValidator(schema)
        cls.__pydantic_serializer__ = SchemaSerializer(schema)
        cls.__pydantic_complete__ = True
        return True

    @property
    def last_response(self) -> Answer | None:
        """The HTTP answer that brought this object; ``None`` for nested objects and for what webhooks bring."""
        return self._answer

    @property
    def request_id(self) -> str | None:
        """Stripe's id of the request that brought this object, which Stripe's support asks for."""
        return cast("str | None", self._raw.get("request_id") or (self._answer and self._answer.request_id))

    @property
    def idempotent_replayed(self) -> bool:
        """Whether this is the stored answer of an earlier request under the same idempotency key."""
        return self._answer is not None and self._answer.idempotent_replayed

    @property
    def api_version(self) -> str | None:
        """The API version in which Stripe wrote this object; ``None`` when Stripe did not say."""
        # An endpoint has a version of its own, and null there says that it has none.
        if "api_version" in self._raw:
            return cast("str | None", self._raw["api_version"])
        return self._answer.api_version if self._answer else None

    @property
    def model_fields_set(self) -> set[str]:
        """The fields that Stripe sent."""
        return set(self._raw)

    @property
    def model_extra(self) -> dict[str, Any]:
        """The fields that Stripe sent and the type does not declare."""
        return {name: self[name] for name in self._raw if name not in declared(type(self))}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002 - what cannot change need not be copied deeply
        """Return a copy with the fields of *update* in place of these."""
        return type(self).from_stripe({**self.to_dict(), **(update or {})}, self._answer)

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        return ((name, self[name]) for name in self._raw)


class StripeObject(StripeModel):
    """An object of Stripe's that this package does not type: any field is an attribute."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class ListObject(StripeModel, Generic[T]):
    """
    A list inside an object, such as a subscription's items: the part of it that Stripe put there.

    Iterating goes over ``data``, and refuses with ``ValueError`` when Stripe says that there is more than that: read such a list
    through its own resource, which follows the pages.
    """

    object: str
    data: list[T]
    has_more: bool
    url: str
    total_count: int | None

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        if self._raw.get("has_more"):
            msg = f"only {len(self)} entries of this list came with the object; list {self.url} to read all of them"
            raise ValueError(msg)
        return iter(self.data if len(self) else ())

    def __len__(self) -> int:
        """Return how many entries are here."""
        data = self._raw.get("data")
        return len(data) if type(data) is list else 0


def read(value: Any, shape: Any = None) -> Any:
    """Return a JSON *value* as attributes return it: objects as models, numbers in strings as numbers."""
    kind = type(value)
    if kind is dict:
        return _read_object(value, shape)
    if kind is list:
        return [read(entry, shape) for entry in value]
    if kind is str and (shape is Decimal or shape is int):
        try:
            return shape(value)
        except (ValueError, InvalidOperation):
            return value
    return value


def _read_object(value: dict[str, Any], shape: Any) -> Any:
    if shape is dict:
        return dict(value)
    if type(shape) is GenericAlias:
        return {key: read(entry, shape.__args__[1]) for key, entry in value.items()}
    name = value.get("object")
    model: type[View] | None = model_for(name) if type(name) is str else None
    if model is None:
        model = shape if isinstance(shape, type) and issubclass(shape, View) else StripeObject
    return model.from_stripe(value)


@cache
def declared(cls: type) -> frozenset[str]:
    """Return the fields that the type of an object names, its own and its bases'."""
    return frozenset(
        name for base in cls.__mro__ if issubclass(base, View) for name in inspect.get_annotations(base) if name[0] != "_"
    )


def model_for(name: str) -> type[StripeModel] | None:
    """Return the model of Stripe's object *name* (``"payment_intent"``), ``None`` if there is none."""
    model = _LOADED.get(name)
    if model is None and name in MODULES:
        module, _, attribute = MODULES[name].partition(":")
        model = _LOADED[name] = getattr(import_module(module), attribute)
    return model


_LOADED: dict[str, type[StripeModel]] = {"list": ListObject, "search_result": ListObject}


_ID = 256
_new = object.__new__
# The descriptors of the slots: writing through them is several times faster than through object.__setattr__.
_set_part = StripePart.__dict__["_raw"].__set__
_set_model = StripeModel.__dict__["_raw"].__set__
_set_answer = StripeModel.__dict__["_answer"].__set__
