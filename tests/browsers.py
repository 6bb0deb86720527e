"""
A pytest plugin: browsers for the tests, and what a merchant does in them.

A test that asks for ``open_browser`` runs once with a plain browser, which is Python alone, and once with a real Chromium, if this machine has one:
where ``CHROMIUM`` says, or on ``PATH``. If it has none, pytest's summary says so. As a program, this file installs Chromium: ``make browser``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urljoin

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

NAMES = ("chromium", "chromium-browser", "google-chrome")
APT = (("apt-get", "update"), ("apt-get", "install", "-y", "--no-install-recommends", "chromium"))
# Seconds for each step of the installation, and for a page: far more than either takes.
INSTALLATION, PATIENCE = 540, 30.0
# This machine and no other, not even for Chromium's own errands.
FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
)
UNAVAILABLE = "no Chromium was found: set CHROMIUM to one, or run `make browser` as root on Debian"


class Browser(Protocol):
    """
    A browser with one window.

    *visited*: the URL of every page that it asked for, redirects too.
    """

    visited: list[str]

    def open(self, url: str) -> None:
        """Go to *url*, as if it were typed in."""
        ...

    def click(self, id: str) -> None:
        """Click on a link or a button, and wait for what it leads to."""
        ...

    def choose(self, id: str, value: str) -> None:
        """Choose an option of a list."""
        ...

    def fill(self, id: str, value: str) -> None:
        """Write into a field."""
        ...

    def back(self) -> None:
        """Press the back button."""
        ...

    def has(self, id: str) -> bool:
        """Return whether there is such an element."""
        ...

    def text(self) -> str:
        """Return what the page says."""
        ...

    def url(self) -> str:
        """Return where it is."""
        ...

    def cookies(self) -> list[dict[str, Any]]:
        """Return what it keeps: ``name``, ``value``, ``httpOnly``, ``sameSite`` and ``secure`` of each cookie."""
        ...


# The plain one.


class Document(HTMLParser):
    """A page: its words, links, forms and lists."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: dict[str, dict[str, Any]] = {}
        self._form: dict[str, Any] | None = None
        self._select: dict[str, Any] | None = None
        self._hidden = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found: dict[str, Any] = {"tag": tag, "form": self._form, **{name: value or "" for name, value in attrs}}
        if tag == "form":
            self._form = {"action": "", "method": "get", **found, "fields": {}}
        elif tag == "input" and self._form and "name" in found:
            self._form["fields"][found["name"]] = found.get("value", "")
        elif tag == "select":
            self._select = {**found, "options": []}
            found = self._select
        elif tag == "option" and self._select:
            self._select["options"].append(found["value"])
            if self._form and ("selected" in found or len(self._select["options"]) == 1):
                self._form["fields"][self._select["name"]] = found["value"]
        self._hidden += tag in {"style", "title"}
        if "id" in found:
            self.elements[found["id"]] = found

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "title"}
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


class PlainBrowser:
    """Links, forms, redirects and cookies, and nothing else: a browser without scripts."""

    def __init__(self) -> None:
        self.visited: list[str] = []
        self._client = httpx.Client(
            follow_redirects=True,
            timeout=PATIENCE,
            trust_env=False,
            event_hooks={"request": [self._asked], "response": [self._got]},
        )
        self._set: dict[str, dict[str, Any]] = {}
        self._history: list[httpx.URL] = []
        self._at = httpx.URL("about:blank")
        self._document = Document("")

    def close(self) -> None:
        self._client.close()

    def open(self, url: str) -> None:
        self._go("GET", url)

    def click(self, id: str) -> None:
        element = self._document.elements[id]
        if element["tag"] == "a":
            self._go("GET", urljoin(str(self._at), element["href"]))
            return
        assert element["tag"] == "button", element["tag"]
        form = element["form"]
        fields = {**form["fields"], **({element["name"]: element.get("value", "")} if "name" in element else {})}
        # A form without an action goes to where its page came from.
        self._go(form["method"].upper(), urljoin(str(self._at), form["action"]), fields)

    def choose(self, id: str, value: str) -> None:
        element = self._document.elements[id]
        assert value in element["options"]
        element["form"]["fields"][element["name"]] = value

    def fill(self, id: str, value: str) -> None:
        element = self._document.elements[id]
        element["form"]["fields"][element["name"]] = value

    def back(self) -> None:
        self._history.pop()
        self._go("GET", str(self._history.pop()))

    def has(self, id: str) -> bool:
        return id in self._document.elements

    def text(self) -> str:
        return " ".join(" ".join(self._document.words).split())

    def url(self) -> str:
        return str(self._at)

    def cookies(self) -> list[dict[str, Any]]:
        return list(self._set.values())

    def _go(self, method: str, url: str, fields: dict[str, str] | None = None) -> None:
        response = self._client.request(method, url, data=fields)
        self._at = response.url
        self._history.append(response.url)
        html = response.headers.get("content-type", "").startswith("text/html")
        self._document = Document(response.text if html else "")
        if not html:
            self._document.words.append(response.text)

    def _asked(self, request: httpx.Request) -> None:
        self.visited.append(str(request.url))

    def _got(self, response: httpx.Response) -> None:
        for header in response.headers.get_list("set-cookie"):
            (name, _, value), *rest = (part.strip().partition("=") for part in header.split(";"))
            flags = {flag.lower(): value for flag, _, value in rest}
            self._set[name] = {
                "name": name,
                "value": value,
                "httpOnly": "httponly" in flags,
                "sameSite": flags.get("samesite", "").capitalize(),
                "secure": "secure" in flags,
            }


# Chromium.


def chromium() -> str | None:
    """Return where Chromium is, ``None`` if this machine has none."""
    named = os.environ.get("CHROMIUM")
    return next((path for path in map(shutil.which, [named] if named else NAMES) if path), None)


class Chromium:
    """
    One Chromium for all tests; each of their browsers has cookies of its own.

    It lives in a thread of its own, because playwright runs an event loop where it is started, and no test could run one there any more.
    """

    def __init__(self, executable: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chromium")
        self._opened = ExitStack()
        self._chromium: Any = self.do(lambda: self._start(executable))

    def do(self, work: Callable[[], T]) -> T:
        """Return what *work* returns in Chromium's thread."""
        return self._thread.submit(work).result(4 * PATIENCE)

    def new(self) -> ChromiumBrowser:
        return ChromiumBrowser(self, self.do(self._chromium.new_context))

    def close(self) -> None:
        self.do(self._opened.close)
        self._thread.shutdown()

    def _start(self, executable: str) -> Any:
        from playwright.sync_api import sync_playwright

        playwright = self._opened.enter_context(sync_playwright())
        # Chromium does not start its sandbox for root.
        started = playwright.chromium.launch(
            executable_path=executable, args=list(FLAGS), chromium_sandbox=not _is_root(), timeout=PATIENCE * 1000
        )
        self._opened.callback(started.close)
        return started


class ChromiumBrowser:
    """A window of Chromium's, with cookies of its own."""

    def __init__(self, chromium: Chromium, context: Any) -> None:
        self.visited: list[str] = []
        self._do = chromium.do
        self._context = context
        self._page: Any = self._do(self._new_page)

    def _new_page(self) -> Any:
        page = self._context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("request", lambda request: self.visited.append(request.url) if request.is_navigation_request() else None)
        return page

    def close(self) -> None:
        self._do(self._context.close)

    def open(self, url: str) -> None:
        self._do(lambda: self._page.goto(url))

    def click(self, id: str) -> None:
        def click() -> None:
            with self._page.expect_navigation(wait_until="load"):
                self._page.click(f"#{id}")

        self._do(click)

    def choose(self, id: str, value: str) -> None:
        self._do(lambda: self._page.select_option(f"#{id}", value))

    def fill(self, id: str, value: str) -> None:
        self._do(lambda: self._page.fill(f"#{id}", value))

    def back(self) -> None:
        self._do(self._page.go_back)

    def has(self, id: str) -> bool:
        return self._do(lambda: bool(self._page.locator(f"#{id}").count()))

    def text(self) -> str:
        return " ".join(self._do(lambda: self._page.inner_text("body")).split())

    def url(self) -> str:
        return self._do(lambda: str(self._page.url))

    def cookies(self) -> list[dict[str, Any]]:
        return self._do(self._context.cookies)

    def screenshot(self, path: str) -> None:
        """Write what the page looks like to *path*, as a PNG."""
        self._do(lambda: self._page.screenshot(path=path))


# The plugin.


_NOT_RUN = pytest.StashKey[int]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a browser in each kind that this machine has."""
    if "open_browser" in metafunc.fixturenames:
        kinds = ["plain", "chromium"]
        if not chromium():
            kinds.pop()
            stash = metafunc.config.stash
            stash[_NOT_RUN] = stash.get(_NOT_RUN, 0) + 1
        metafunc.parametrize("open_browser", kinds, indirect=True)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was not run."""
    if scenarios := config.stash.get(_NOT_RUN, 0):
        terminalreporter.section("browsers", sep="=", yellow=True)
        terminalreporter.line(
            f"not run: no Chromium ({scenarios} tests ran in the plain browser alone; {UNAVAILABLE})", yellow=True
        )


@pytest.fixture(scope="session")
def real_chromium() -> Generator[Callable[[], Chromium]]:
    """Start Chromium when it is first asked for."""
    started: list[Chromium] = []

    def start() -> Chromium:
        if not started:
            executable = chromium()
            assert executable, UNAVAILABLE
            started.append(Chromium(executable))
        return started[0]

    yield start
    for running in started:
        running.close()


@pytest.fixture
def open_browser(request: pytest.FixtureRequest, real_chromium: Callable[[], Chromium]) -> Generator[Callable[[], Browser]]:
    """Return what opens a browser. Each is somebody else's: they share no cookies."""
    with ExitStack() as opened:

        def new() -> Browser:
            browser = PlainBrowser() if request.param == "plain" else real_chromium().new()
            opened.callback(browser.close)
            return browser

        yield new


def _plain() -> Generator[PlainBrowser]:
    browser = PlainBrowser()
    yield browser
    browser.close()


plain_browser = pytest.fixture(_plain, name="plain_browser")
"""A plain browser, for what is not a matter of browsers."""

another_browser = pytest.fixture(_plain, name="another_browser")
"""That of somebody else."""


# The installation.


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def install(run: Callable[..., Any] = subprocess.run) -> int:
    """See that this machine has a Chromium, and say what was done. Returns 0 if it has one."""
    if found := chromium():
        return _say(f"Chromium is at {found}")
    if not (_is_root() and shutil.which("apt-get")):
        return _say(f"Not installed, because that takes root and apt-get: {UNAVAILABLE}", 1)
    _say("Installing Debian's package chromium")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in APT:
            run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=INSTALLATION, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return _say(f"It could not be installed: {error}", 1)
    installed = chromium()
    return _say(f"Chromium is at {installed}") if installed else _say(f"It was installed, and still {UNAVAILABLE}", 1)


def _say(line: str, status: int = 0) -> int:
    print(line, file=sys.stderr if status else sys.stdout, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(install())
