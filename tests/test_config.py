"""Settings: what is allowed, what is refused and how, and that no secret is ever shown."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import traceback
from typing import Any

import pytest
from pydantic import SecretStr

from atom_stripe.config import (
    API_VERSION,
    OPTIONS,
    RateLimits,
    RequestOptions,
    RetryPolicy,
    StripeConfig,
    check_api_key,
    check_header,
    is_live,
    secret,
)
from atom_stripe.errors import AtomStripeError, ConfigurationError
from tests.canary import API_KEY, LIVE_KEY, MARK, RESTRICTED_KEY, WEBHOOK_SECRET

NAN, INFINITY = float("nan"), float("inf")


def config(**settings: Any) -> StripeConfig:
    """Return a configuration with our key."""
    return StripeConfig(**{"api_key": SecretStr(API_KEY), **settings})


def refused(call: Any, *arguments: Any, **settings: Any) -> str:
    """Return the message with which *call* refuses *arguments* and *settings*."""
    with pytest.raises(ConfigurationError) as caught:
        call(*arguments, **settings)
    shown = str(caught.value) + repr(caught.value) + repr(vars(caught.value)) + "".join(traceback.format_exception(caught.value))
    # The traceback repeats lines of this file, but never a value.
    assert MARK not in shown
    return str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        API_KEY,
        LIVE_KEY,
        RESTRICTED_KEY,
        "sk_test_12345678",
        "sk_live_" + "a" * 400,
        "rk_live_12345678",
        "ek_test_12345678",
        "sk_org_12345678",
        "sk_acct_12345678",
    ],
)
def test_keys_pass(key: str) -> None:
    """Secret, restricted and ephemeral keys pass, of accounts and of organizations."""
    check_api_key(key)
    assert config(api_key=SecretStr(key)).api_key.get_secret_value() == key


MALFORMED_KEYS: list[tuple[object, str]] = [
    ("", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (MARK, "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"sk_{MARK[:3]}", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"sk-test-{MARK}", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"SK_TEST_{MARK}", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"sk_test_{MARK} {MARK}", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"sk_test_{MARK}\r\nX: y", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"sk_test_{MARK}é", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"sk_test_{MARK}\x00", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"sk_test_{MARK}\ud800", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"sk_test_{MARK}" * 40, "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"Bearer sk_test_{MARK}", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f'"sk_test_{MARK}"', "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"STRIPE_SECRET_KEY=sk_test_{MARK}", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"ca_{MARK}", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (f"acct_{MARK}", "this is not an API key: Stripe's secret keys look like sk_test_… or rk_live_…"),
    (
        f"pk_test_{MARK}",
        "this is a publishable key (pk_…), for browsers; the API needs the secret key (sk_…) or a restricted one (rk_…)",
    ),
    (
        f"pk_live_{MARK}",
        "this is a publishable key (pk_…), for browsers; the API needs the secret key (sk_…) or a restricted one (rk_…)",
    ),
    (f"whsec_{MARK}", "this is a webhook's signing secret (whsec_…), not an API key (sk_… or rk_…)"),
    (f" sk_test_{MARK}", "the API key has white space around it; was a line break copied with it?"),
    (f"sk_test_{MARK}\n", "the API key has white space around it; was a line break copied with it?"),
    (f"\tsk_test_{MARK}\r\n", "the API key has white space around it; was a line break copied with it?"),
    (f"\u3000pk_test_{MARK}", "the API key has white space around it; was a line break copied with it?"),
    (None, "the API key is a NoneType, not a string"),
    (f"sk_test_{MARK}".encode(), "the API key is a bytes, not a string"),
    (5, "the API key is a int, not a string"),
    ([f"sk_test_{MARK}"], "the API key is a list, not a string"),
]


@pytest.mark.parametrize(("key", "message"), MALFORMED_KEYS, ids=range(len(MALFORMED_KEYS)))
def test_malformed_keys(key: object, message: str) -> None:
    """What cannot be a secret key is refused with what it probably is, and never shown."""
    assert refused(check_api_key, key) == message


@pytest.mark.parametrize(("key", "message"), MALFORMED_KEYS, ids=range(len(MALFORMED_KEYS)))
def test_malformed_keys_make_no_config(key: Any, message: str) -> None:
    """A configuration refuses a malformed key in the same words, bare or wrapped, passed to it or to from_env."""
    assert refused(config, api_key=key) == message
    assert refused(config, api_key=SecretStr(key)) == message
    assert refused(StripeConfig.from_env, {}, api_key=SecretStr(key)) == message


@pytest.mark.parametrize("length", [8, 500])
def test_the_length_of_keys(length: int) -> None:
    """What follows the prefix has 8 to 500 characters."""
    check_api_key("sk_" + "a" * length)
    refused(check_api_key, "sk_" + "a" * (length - 1 if length == 8 else length + 1))


def test_a_bare_key_is_wrapped() -> None:
    """A key that is passed as a plain string is a secret from then on."""
    made = config(api_key=API_KEY)
    assert isinstance(made.api_key, SecretStr)
    assert made == config()
    assert MARK not in repr(made)


@pytest.mark.parametrize(
    "secrets",
    [WEBHOOK_SECRET, SecretStr(WEBHOOK_SECRET), (WEBHOOK_SECRET,), [WEBHOOK_SECRET], [SecretStr(WEBHOOK_SECRET)]],
    ids=["str", "secret", "tuple", "list", "secrets"],
)
def test_bare_webhook_secrets_are_wrapped(secrets: Any) -> None:
    """Signing secrets are secrets however they are passed, one or many."""
    made = config(webhook_secrets=secrets)
    assert made.webhook_secrets == (SecretStr(WEBHOOK_SECRET),)
    assert MARK not in repr(made)


@pytest.mark.parametrize("secrets", [None, 5, [5], [None], [WEBHOOK_SECRET.encode()], WEBHOOK_SECRET.encode()], ids=range(6))
def test_webhook_secrets_are_texts(secrets: Any) -> None:
    """What is no text is no signing secret."""
    assert "webhook_secrets" in refused(config, webhook_secrets=secrets)


def test_no_repr_shows_a_secret() -> None:
    """Neither a configuration nor what it is part of shows a key or a signing secret."""
    made = config(webhook_secrets=(SecretStr(WEBHOOK_SECRET),))
    shown = repr(made) + str(made) + f"{made}" + repr([made]) + repr(dataclasses.asdict(made))
    assert MARK not in shown
    assert "stripe_version=" in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_config_is_not_pickled(protocol: int) -> None:
    """A configuration does not go into a pickle, which would hold its secrets in clear."""
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(config(), protocol)


def test_a_config_is_copied() -> None:
    """Copies of a configuration, which cannot change, are the configuration."""
    made = config(webhook_secrets=(SecretStr(WEBHOOK_SECRET),))
    assert copy.copy(made) == made
    assert copy.deepcopy(made) == made
    assert copy.deepcopy({"config": made}) == {"config": made}


@pytest.mark.parametrize("frozen", [config(), RetryPolicy.DEFAULT, RateLimits.DEFAULT])
def test_settings_are_frozen(frozen: Any) -> None:
    """No setting can be changed once it was checked, and none be added."""
    for field in dataclasses.fields(frozen):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(frozen, field.name, None)
    with pytest.raises((AttributeError, TypeError)):
        frozen.brand_new = 1
    assert not hasattr(frozen, "__dict__")


def test_settings_have_names() -> None:
    """Every setting is passed by name."""
    for cls in (StripeConfig, RetryPolicy, RateLimits):
        assert {parameter.kind for parameter in inspect.signature(cls).parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_defaults() -> None:
    """Everything but the key has a default, and the defaults are Stripe's."""
    made = config()
    assert made.stripe_version == API_VERSION
    assert (made.api_base, made.connect_base) == ("https://api.stripe.com", "https://connect.stripe.com")
    assert (made.files_base, made.meter_events_base) == ("https://files.stripe.com", "https://meter-events.stripe.com")
    assert (made.stripe_account, made.stripe_context, made.webhook_secrets, made.transport) == (None, None, (), "auto")
    assert (made.retry, made.rate_limits) == (RetryPolicy.DEFAULT, RateLimits.DEFAULT)
    assert (made.timeout, made.connect_timeout, made.max_connections, made.max_response_bytes) == (
        80.0,
        10.0,
        100,
        64 * 1024 * 1024,
    )


def test_the_api_version_is_that_of_the_official_package() -> None:
    """The version is the one that the installed stripe package speaks."""
    from stripe import _api_version

    assert _api_version._ApiVersion.CURRENT == API_VERSION


@pytest.mark.parametrize(
    ("key", "live"),
    [
        ("sk_live_12345678", True),
        ("rk_live_12345678", True),
        ("sk_test_12345678", False),
        ("rk_test_12345678", False),
        ("sk_org_12345678", True),
        ("sk_12345678", True),
        (API_KEY, False),
        (LIVE_KEY, True),
    ],
)
def test_the_mode_of_a_key(key: str, live: bool) -> None:
    """A key that does not say that it is for testing counts as live."""
    assert is_live(key) is live
    assert config(api_key=SecretStr(key)).livemode is live


def test_secret() -> None:
    """A text becomes a secret, and a secret stays the one it is."""
    wrapped = SecretStr(API_KEY)
    assert secret(wrapped) is wrapped
    assert secret(API_KEY).get_secret_value() == API_KEY


HEADERS = ["stripe_account", "stripe_context", "stripe_version"]


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("value", ["acct_123", "org_1/acct_2", "2026-10-28.endive; beta=v1".replace(" ", ""), "~", "!", "a" * 500])
def test_headers_pass(name: str, value: str) -> None:
    """Visible ASCII of up to 500 characters can be sent as a header."""
    assert getattr(config(**{name: value}), name) == value
    assert check_header(name, value) == value


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize(
    "value", ["", " ", "a b", "a\nb", "a\r\nX-Evil: 1", "a\n", "a\x7f", "é", "\ud800", "a" * 501, 5, b"acct_1", ["acct_1"]]
)
def test_headers_are_refused(name: str, value: Any) -> None:
    """What would smuggle a header in, or cannot be sent as one, is refused by name and not shown."""
    assert refused(config, **{name: value}) == f"{name} must be a short text of visible ASCII characters, without spaces"


def test_a_version_is_needed() -> None:
    """Without an account or context there is none; a version there always is."""
    assert config(stripe_account=None, stripe_context=None).stripe_account is None
    refused(config, stripe_version=None)


BASES = ["api_base", "connect_base", "files_base", "meter_events_base"]


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize(
    "base",
    [
        "https://api.stripe.com",
        "https://proxy.example:8443",
        "https://10.0.0.1",
        "https://[2001:db8::1]:443",
        "https://stripe_proxy",
        "https://Proxy.Example-1",
        "https://[2001:DB8::A]",
        "http://localhost",
        "http://localhost:12111",
        "http://127.0.0.1:8000",
        "http://127.1.2.3",
        "http://[::1]:8000",
        "http://[::1]",
    ],
)
def test_bases_pass(name: str, base: str) -> None:
    """Any host by https, and this machine by http, can stand for Stripe."""
    assert getattr(config(**{name: base}), name) == base


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize(
    "base",
    [
        "http://api.stripe.com",
        "http://10.0.0.1",
        "http://192.168.0.1:8000",
        "http://0.0.0.0",
        "http://localhost.evil.example",
        "http://localhostx",
        "http://xlocalhost",
        "http://127.0.0.1.evil.example",
        "http://1270.0.0.1",
        "http://128.0.0.1",
        "http://[::2]",
        "http://[2001:db8::1]",
    ],
)
def test_plain_http_stays_on_this_machine(name: str, base: str) -> None:
    """A key is never sent in clear to another machine."""
    assert refused(config, **{name: base}) == f"{name} must use https, except on this machine (127.0.0.1, localhost)"


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize(
    "base",
    [
        "",
        "api.stripe.com",
        "//api.stripe.com",
        "https://",
        "https://:",
        "https://[",
        "https://a:b:c",
        "https://api.stripe.com:port",
        "http://localhost:x.evil.example",
        "https://api.stripe.com/",
        "https://api.stripe.com/v1",
        "https://api.stripe.com?x=y",
        "https://api.stripe.com#x",
        f"https://{MARK}@api.stripe.com",
        f"https://user:{MARK}@api.stripe.com",
        "https://api.stripe.com\\@evil.example",
        "https://api stripe.com",
        "https://api.stripe.com\n",
        "https://api.stripe.com\r\nX: y",
        "https://\u0430pi.stripe.com",
        "ftp://api.stripe.com",
        "HTTPS://api.stripe.com",
        "file:///etc/passwd",
        None,
        5,
        b"https://api.stripe.com",
    ],
)
def test_bases_are_refused(name: str, base: Any) -> None:
    """A base is a scheme, a host and perhaps a port: what could send the key elsewhere, or is no address, is refused."""
    assert (
        refused(config, **{name: base})
        == f"{name} must look like https://api.stripe.com: no path, no slash at the end, no user name"
    )


@pytest.mark.parametrize("name", ["timeout", "connect_timeout", "max_connections", "max_response_bytes"])
@pytest.mark.parametrize("value", [0, -1, -0.5, NAN, None, "80", [1], True])
def test_bounds_are_numbers_above_zero(name: str, value: Any) -> None:
    """A bound that is no number above 0 is refused by name: nothing may wait or grow for ever by mistake."""
    assert name in refused(config, **{name: value})


@pytest.mark.parametrize("name", ["timeout", "connect_timeout"])
@pytest.mark.parametrize("value", [0.001, 1, 3600.0])
def test_timeouts(name: str, value: float) -> None:
    """A timeout is any number of seconds above 0, fractions too."""
    assert getattr(config(**{name: value}), name) == value


@pytest.mark.parametrize("value", ["", "requests", "HTTPX", None, 5])
def test_transports_are_known(value: Any) -> None:
    """A transport that there is not is refused when it is set, not when it is first used."""
    assert "transport" in refused(config, transport=value)


@pytest.mark.parametrize("value", ["auto", "httpx", "fast"])
def test_transports(value: Any) -> None:
    """The three transports can be named without being installed."""
    assert config(transport=value).transport == value


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attempts": 1},
        {"attempts": 1000},
        {"initial_delay": 0},
        {"max_delay": 0.0},
        {"deadline": 0.001},
        {"initial_delay": 5.0, "max_delay": 1.0},
    ],
)
def test_retry_policies(settings: dict[str, Any]) -> None:
    """A policy is any number of attempts, delays from 0 on and a deadline."""
    made = RetryPolicy(**settings)
    assert {name: getattr(made, name) for name in settings} == settings


@pytest.mark.parametrize(
    "settings",
    [
        *({"attempts": value} for value in (0, -1, 2.5, NAN, None, "3", True)),
        *({"initial_delay": value} for value in (-0.1, NAN, None, "1")),
        *({"max_delay": value} for value in (-0.1, NAN, None, "1")),
        *({"deadline": value} for value in (0, -1, NAN, None, "1")),
    ],
)
def test_retry_policies_are_checked(settings: dict[str, Any]) -> None:
    """A policy that could not be kept is refused when it is made."""
    assert "RetryPolicy" in refused(RetryPolicy, **settings)


def test_the_two_retry_policies() -> None:
    """The default sends a call three times at most within two minutes; the other sends it once."""
    assert RetryPolicy() == RetryPolicy.DEFAULT == RetryPolicy(attempts=3, initial_delay=0.5, max_delay=8.0, deadline=120.0)
    assert RetryPolicy(attempts=1) == RetryPolicy.NONE


@pytest.mark.parametrize("settings", [{}, {"account": None}, {"account": 0.5}, {"endpoint": 1}, {"max_wait": 0}])
def test_rate_limits(settings: dict[str, Any]) -> None:
    """A limit is any rate above 0, and a line may be of no length."""
    made = RateLimits(**settings)
    assert {name: getattr(made, name) for name in settings} == settings


@pytest.mark.parametrize(
    "settings",
    [
        *({name: value} for name in ("endpoint", "search", "files") for value in (0, -1, NAN, None, "5")),
        *({"account": value} for value in (0, 0.0, -1, NAN, "5")),
        *({"max_wait": value} for value in (-1, NAN, None, "5")),
    ],
)
def test_rate_limits_are_checked(settings: dict[str, Any]) -> None:
    """A rate that lets nothing through, or is no number, is refused; what turns the limits off is said."""
    assert refused(RateLimits, **settings) == "rate limits are numbers above 0; RateLimits.NONE turns them off"


def test_the_two_rate_limits() -> None:
    """The default has Stripe's limits; the other has none."""
    assert (
        RateLimits()
        == RateLimits.DEFAULT
        == RateLimits(account=None, endpoint=25.0, search=20.0, files=20.0, max_wait=30.0, enabled=True)
    )
    assert RateLimits(enabled=False) == RateLimits.NONE


ENVIRONMENT = {
    "STRIPE_SECRET_KEY": API_KEY,
    "STRIPE_ACCOUNT": "acct_1",
    "STRIPE_API_VERSION": "2025-03-31.basil",
    "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    "STRIPE_API_BASE": "http://127.0.0.1:12111",
    "PATH": "/bin",
}


def test_from_a_given_environment() -> None:
    """Each variable sets what it is named after."""
    assert StripeConfig.from_env(ENVIRONMENT) == config(
        stripe_account="acct_1",
        stripe_version="2025-03-31.basil",
        webhook_secrets=(SecretStr(WEBHOOK_SECRET),),
        api_base="http://127.0.0.1:12111",
    )


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping the process's own environment is read, at each call."""
    for name in ENVIRONMENT:
        if name.startswith("STRIPE_"):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STRIPE_SECRET_KEY", API_KEY)
    assert StripeConfig.from_env() == config()
    monkeypatch.setenv("STRIPE_SECRET_KEY", LIVE_KEY)
    assert StripeConfig.from_env().livemode


def test_an_empty_environment_given_is_not_the_process_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty mapping is an environment without variables."""
    monkeypatch.setenv("STRIPE_SECRET_KEY", API_KEY)
    assert refused(StripeConfig.from_env, {}) == "there is no API key: set STRIPE_SECRET_KEY, or pass api_key="


@pytest.mark.parametrize("environment", [{}, {"STRIPE_SECRET_KEY": ""}, {"STRIPE_SECRET_KEY": " \n"}, {"STRIPE_API_KEY": API_KEY}])
def test_no_key_in_the_environment(environment: dict[str, str]) -> None:
    """Without a key the message says how to give one."""
    assert refused(StripeConfig.from_env, environment) == "there is no API key: set STRIPE_SECRET_KEY, or pass api_key="


def test_white_space_in_the_environment() -> None:
    """White space around variables, as files of secrets have at their end, does not matter, and empty ones are not set."""
    spaced = {name: f" {value}\n" for name, value in ENVIRONMENT.items()}
    assert StripeConfig.from_env(spaced) == StripeConfig.from_env(ENVIRONMENT)
    empty = dict.fromkeys(ENVIRONMENT, " ") | {"STRIPE_SECRET_KEY": API_KEY}
    assert StripeConfig.from_env(empty) == config()


def test_several_webhook_secrets_in_the_environment() -> None:
    """Several signing secrets are separated by commas; empty pieces are none."""
    environment = {"STRIPE_SECRET_KEY": API_KEY, "STRIPE_WEBHOOK_SECRET": f" whsec_first1234 ,{WEBHOOK_SECRET},, "}
    assert StripeConfig.from_env(environment).webhook_secrets == (SecretStr("whsec_first1234"), SecretStr(WEBHOOK_SECRET))


def test_settings_are_above_the_environment() -> None:
    """What the program passes comes first, and the environment's value is then not looked at."""
    made = StripeConfig.from_env(
        {**ENVIRONMENT, "STRIPE_ACCOUNT": "acct 1"}, stripe_account="acct_2", timeout=5.0, api_key=SecretStr(LIVE_KEY)
    )
    assert (made.stripe_account, made.timeout, made.livemode, made.stripe_version) == ("acct_2", 5.0, True, "2025-03-31.basil")
    assert StripeConfig.from_env({}, api_key=API_KEY) == config()


@pytest.mark.parametrize(
    ("variable", "name"),
    [("STRIPE_ACCOUNT", "stripe_account"), ("STRIPE_API_VERSION", "stripe_version"), ("STRIPE_API_BASE", "api_base")],
)
def test_malformed_variables(variable: str, name: str) -> None:
    """A malformed variable is refused under the name of its setting, without its value."""
    assert refused(StripeConfig.from_env, {**ENVIRONMENT, variable: f"a b {MARK}"}).startswith(f"{name} must ")


def test_with_settings() -> None:
    """A copy with other settings leaves the first as it was, and is checked as the first was."""
    made = config(timeout=5.0)
    changed = made.with_settings(stripe_account="acct_1", max_connections=7)
    assert (changed.stripe_account, changed.max_connections, changed.timeout, changed.api_key) == ("acct_1", 7, 5.0, made.api_key)
    assert (made.stripe_account, made.max_connections) == (None, 100)
    assert made.with_settings() == made
    refused(made.with_settings, timeout=0)
    refused(made.with_settings, api_key=SecretStr(f"pk_test_{MARK}"))


@pytest.mark.parametrize(
    "call", [config, config().with_settings, lambda **settings: StripeConfig.from_env(ENVIRONMENT, **settings)]
)
def test_unknown_settings(call: Any) -> None:
    """A setting that there is not is a TypeError, as everywhere in Python."""
    with pytest.raises(TypeError, match="brand_new"):
        call(brand_new=1)


def test_options() -> None:
    """The options of a call are those of the typed dict, and none of them is a parameter of Stripe's."""
    assert (
        frozenset(RequestOptions.__annotations__)
        == OPTIONS
        == {"idempotency_key", "stripe_account", "stripe_context", "stripe_version", "timeout", "max_retries"}
    )
    assert issubclass(ConfigurationError, AtomStripeError)
