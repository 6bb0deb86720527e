"""``atom-stripe sandbox``, as a program of its own."""

from __future__ import annotations

import signal
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import stripe as official

from atom_stripe.testing import StripeSandbox
from atom_stripe.webhooks import WebhookVerifier
from tests.cli.running import run, started

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sandbox") as path:
        yield Path(path)


def test_any_program_may_ask(folder: Path) -> None:
    """What it prints is all that curl and stripe-python need; SIGTERM ends it with 0."""
    with started(folder, "sandbox", "--port", "0", "--json") as program:
        told = program.wait_for_output()
        made = httpx.post(f"{told['url']}/v1/customers", auth=(told["secret_key"], ""), data={"email": "jenny@example.com"})
        client = official.StripeClient(told["secret_key"], base_addresses={"api": told["url"]})
        assert client.v1.customers.retrieve(made.json()["id"]).email == "jenny@example.com"
        program.tell()
        assert program.ended()[0] == 0


def test_its_webhooks(folder: Path) -> None:
    """Webhooks go where they are wanted, signed with the secret that it prints; Ctrl-C ends it with 0."""
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        receiver.settimeout(60)
        url = f"http://127.0.0.1:{receiver.getsockname()[1]}/hooks"
        with started(folder, "sandbox", "--port", "0", "--json", "--deliver-to", url) as program:
            told = program.wait_for_output()
            assert told["delivers_to"] == [url]
            httpx.post(f"{told['url']}/v1/customers", auth=(told["secret_key"], ""))
            connection, _ = receiver.accept()
            with connection, connection.makefile("rb") as lines:
                headers = dict[str, str]()
                assert lines.readline() == b"POST /hooks HTTP/1.1\r\n"
                while (line := lines.readline()) != b"\r\n":
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = lines.read(int(headers["content-length"]))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            event = WebhookVerifier(told["webhook_secret"]).verify(body, headers["stripe-signature"])
            assert event.type == "customer.created"
            program.tell(signal.SIGINT)
            assert program.ended()[0] == 0


def test_settings_that_mean_it(folder: Path) -> None:
    """With settings that name its address, it has their key, their signing secret and their redirect URI, and prints how to use it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    back = "http://127.0.0.1:8000/back"
    (folder / ".env").write_text(
        f"STRIPE_API_BASE=http://127.0.0.1:{port}\nSTRIPE_SECRET_KEY=sk_test_ours1234\n"
        f"STRIPE_WEBHOOK_SECRET=whsec_ours1234567890\nSTRIPE_REDIRECT_URI={back}\n",
        encoding="utf-8",
    )
    (folder / ".env").chmod(0o600)
    with StripeSandbox() as same:
        client_id = same.oauth.client_id
    with started(folder, "sandbox", "--port", str(port)) as program:
        page = f"http://127.0.0.1:{port}/oauth/authorize?response_type=code&client_id={client_id}&redirect_uri={back}"
        with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as browser:
            assert browser.get(page, timeout=60).status_code == 200
        program.tell()
        status, printed = program.ended()
    assert status == 0
    assert "sk_test_ours1234" in printed
    assert "whsec_ours1234567890" in printed
    assert f"curl http://127.0.0.1:{port}/v1/customers" in printed


def test_settings_that_mean_another(folder: Path) -> None:
    """Settings for another Stripe, which may be real ones, are not taken and not shown."""
    (folder / ".env").write_text(
        "STRIPE_SECRET_KEY=sk_test_theirs12\nSTRIPE_WEBHOOK_SECRET=whsec_theirs1234567\n", encoding="utf-8"
    )
    (folder / ".env").chmod(0o600)
    with started(folder, "sandbox", "--port", "0", "--json") as program:
        assert "theirs" not in str(program.wait_for_output())
        program.tell()
        assert program.ended()[0] == 0


def test_what_it_does_not_do(folder: Path) -> None:
    """A port that is taken and a target that is no URL are said in one line."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(folder, "sandbox", "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot listen at 127.0.0.1, port {port}: ")
    done = run(folder, "sandbox", "--port", "0", "--deliver-to", "localhost")
    assert (done.returncode, "--deliver-to takes a complete URL" in done.stderr) == (2, True)
