"""The generator of ``resources/``: what it writes, what it refuses, and that the tree is what it writes now."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tools import generate, resources
from tools.service_definitions import UnknownDefinitionError

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = """
_subservices = {"things": ["stripe._thing_service", "ThingService"]}

class V1Services(StripeService):
    things: "ThingService"
"""
THINGS = '''
from stripe._list_object import ListObject
from stripe._customer import Customer
from stripe._card import Card
from stripe.params._thing_create_params import ThingCreateParams

class ThingService(StripeService):
    def create(
        self,
        thing: str,
        /,
        params: Optional["ThingCreateParams"] = None,
        options: Optional["RequestOptions"] = None,
    ) -> "Customer":
        """Stripe's description."""
        return cast(
            "Customer",
            self._request(
                "post",
                "/v1/things/{thing}".format(thing=sanitize_id(thing)),
                base_address="api",
                params=params,
                options=options,
            ),
        )
'''
PARAMS = '''
from stripe._request_options import RequestOptions
from stripe._stripe_object import UntypedStripeObject

class ThingCreateParams(RequestOptions):
    currency: str
    """Stripe's description."""
    address: NotRequired["Literal['']|ThingCreateParamsAddress"]
    metadata: NotRequired["Dict[str, str]|UntypedStripeObject[str]"]
'''
STRIPE = {
    "__init__.py": "",
    "_v1_services.py": SERVICES,
    "_v2_services.py": "class V2Services(StripeService):\n    pass\n",
    "_thing_service.py": THINGS,
    "_customer.py": 'class Customer:\n    OBJECT_NAME: ClassVar[Literal["customer"]] = "customer"\n',
    "_card.py": 'class Card:\n    OBJECT_NAME: ClassVar[Literal["card"]] = "card"\n',
    "params/__init__.py": "from stripe.params._thing_create_params import ThingCreateParamsAddress as ThingCreateParamsAddress\n",
    "params/_thing_create_params.py": PARAMS,
}


def generated(folder: Path, **changes: tuple[str, str]) -> dict[str, str]:
    """Return what is generated from a small stripe package, in whose *named* modules an old text is replaced by a new one."""
    texts = dict(STRIPE)
    for module, (old, new) in changes.items():
        name = {"params": "params/_thing_create_params.py", "exports": "params/__init__.py"}.get(module, f"_{module}.py")
        assert old in texts[name]
        texts[name] = texts[name].replace(old, new)
    for name, text in texts.items():
        path = folder / "stripe" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return generate.formatted(resources.generate(folder / "stripe", generate.PACKAGE))


def test_the_tree_is_what_the_generator_writes(capsys: pytest.CaptureFixture[str]) -> None:
    """Regenerating from the installed stripe would change nothing."""
    status = generate.main(["--check"])
    assert (status, capsys.readouterr().out) == (0, "")


def test_a_service_has_its_operations_in_both_colours(tmp_path: Path) -> None:
    """A method takes the ids by position and the parameters by name, and asks its client for the operation."""
    text = generated(tmp_path)["resources/things.py"]
    assert '_CREATE = Operation("POST", "/v1/things/{thing}")' in text
    assert "    def create(self, thing: str, /, **params: Unpack[ThingCreateParams]) -> Customer:\n" in text
    assert "        return self._calls.object(_CREATE, params, thing)\n" in text
    assert "    async def create(self, thing: str, /, **params: Unpack[ThingCreateParams]) -> Customer:\n" in text
    assert "        return await self._calls.object(_CREATE, params, thing)\n" in text


def test_parameters_are_stripes_without_stripes_options_and_descriptions(tmp_path: Path) -> None:
    """A parameter type has Stripe's fields in today's spelling, those that Stripe demands marked, over our own request options."""
    text = generated(tmp_path)["resources/params/things.py"]
    definition = ast.parse(text).body[-1]
    assert isinstance(definition, ast.ClassDef)
    assert [ast.unparse(line) for line in definition.body[1:]] == [
        "currency: Required[str]",
        "address: Literal[''] | ThingCreateParamsAddress",
        "metadata: dict[str, str]",
    ]
    assert [base.id for base in definition.bases if isinstance(base, ast.Name)] == ["RequestOptions"]
    assert "from stripe.params import ThingCreateParamsAddress" in text
    assert "Stripe's description" not in text


def test_a_list_is_a_page_and_a_union_of_types_is_generic(tmp_path: Path) -> None:
    """Lists give pages in both colours; objects of several types, of which one is not ours, are generic."""
    things = ('-> "Customer"', '-> "ListObject[Union[Customer, Card]]"')
    text = generated(tmp_path, thing_service=things)["resources/things.py"]
    assert text.count("-> Page[StripeObject]:\n") == 1
    assert text.count("    def create(") == 2
    assert "-> AsyncPages[StripeObject]:\n" in text


def test_keywords_become_parameters_too(tmp_path: Path) -> None:
    """A parameter whose name Python keeps for itself is typed, and the docstring says how to pass it."""
    base = '_Base = TypedDict("ThingCreateParams", {"from": NotRequired["str"]})\n\nclass ThingCreateParams(_Base):'
    text = generated(tmp_path, params=("class ThingCreateParams(RequestOptions):", base))["resources/params/things.py"]
    assert '_ThingCreateParamsKeywords = TypedDict("_ThingCreateParamsKeywords", {"from": "str"}, total=False)' in text
    assert "class ThingCreateParams(_ThingCreateParamsKeywords, RequestOptions, total=False):" in text
    assert "``**params``" in text


@pytest.mark.parametrize("option", ["timeout", "stripe_account", "self"])
def test_a_parameter_named_like_an_option_is_refused(tmp_path: Path, option: str) -> None:
    """The generator stops when a call could not tell a parameter of Stripe's from an option of ours."""
    with pytest.raises(UnknownDefinitionError, match=option):
        generated(tmp_path, params=("currency: str", f"{option}: str"))


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("thing_service", '"post"', '"patch"'),
        ("thing_service", 'base_address="api"', 'base_address="elsewhere"'),
        ("thing_service", "params=params,", "params=params, encrypted=True,"),
        ("thing_service", "params=params,", "params=coerce(params),"),
        ("thing_service", "options=options,", "options={},"),
        ("thing_service", "        thing: str,\n", "        thing: str,\n        other: str,\n"),
        ("thing_service", "sanitize_id(thing)", "thing"),
        ("thing_service", "{thing}", "{thing}/{other}"),
        ("thing_service", "/,", "/, force: bool,"),
        ("thing_service", 'Optional["ThingCreateParams"]', "dict[str, str]"),
        ("thing_service", '-> "Customer"', '-> "Iterator[Customer]"'),
        ("thing_service", '-> "Customer"', '-> "ListObject[Optional[Customer]]"'),
        ("thing_service", ') -> "Customer"', ")"),
        ("thing_service", "        return cast(", "        params = params or {}\n        return cast("),
        ("thing_service", "return cast", "return check"),
        ("thing_service", "class ThingService", "class Renamed"),
        ("v1_services", '"things"', '"options"'),
        ("params", "(RequestOptions)", "(Shared)"),
        ("params", "    currency: str", "    currency: str = 'usd'"),
        ("params", "    currency: str", "    currency: Required[str]"),
        ("params", "Dict[str, str]|", "Mapping[str, str]|"),
        ("exports", "ThingCreateParamsAddress", "Other"),
    ],
)
def test_a_definition_of_an_unknown_shape_is_refused(tmp_path: Path, module: str, old: str, new: str) -> None:
    """The generator stops at anything in the stripe package that it does not know, and guesses nothing."""
    with pytest.raises(UnknownDefinitionError):
        generated(tmp_path, **{module: (old, new)})


def test_check_names_what_differs_is_missing_or_is_extra(tmp_path: Path) -> None:
    """Whole files are compared: a line too many at the end is a difference. Files written by hand are nobody's business."""
    header = generate.HEADER
    wanted = {"same.py": f"{header}A = 1\n", "longer.py": f"{header}B = 1\n", "absent.py": header, "bare.py": header}
    found = {**wanted, "longer.py": f"{header}B = 1\nC = 1\n", "old/extra.py": header, "bare.py": "", "mine.py": "D = 1\n"}
    for name, text in found.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name != "absent.py":
            (tmp_path / name).write_text(text, encoding="utf-8")
    assert generate.compare(wanted, tmp_path) == [
        "differs: bare.py",
        "differs: longer.py",
        "extra: old/extra.py",
        "missing: absent.py",
    ]


def test_writing_leaves_what_is_wanted_and_what_was_written_by_hand(tmp_path: Path) -> None:
    """After writing there is nothing left to compare: old generated files and their empty folders are gone, other files stay."""
    wanted = {"new/module.py": f"{generate.HEADER}A = 1\n", "kept.py": f"{generate.HEADER}B = 1\n"}
    for name, text in {"old/extra.py": generate.HEADER, "kept.py": generate.HEADER, "mine.py": "C = 1\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    generate.write(wanted, tmp_path)
    assert generate.compare(wanted, tmp_path) == []
    assert not (tmp_path / "old").exists()
    assert (tmp_path / "mine.py").read_text(encoding="utf-8") == "C = 1\n"
