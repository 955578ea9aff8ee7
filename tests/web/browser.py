"""Chromium, and visitors of pages: each fails its test on any error that its browser saw."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    sync_playwright,
)
from playwright.sync_api import Error as PlaywrightError

from tests.support.chromium import CHROMIUM, MISSING

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",  # nothing is loaded from elsewhere
]

DESKTOP, PHONE = 1280, 390
HEIGHTS = {DESKTOP: 900, PHONE: 844}

Scheme = Literal["light", "dark"]

#: The longest wait for anything, in milliseconds: it only matters when something is broken.
PATIENCE_MS = 15_000

#: Chromium's own line about a reply with an error status: what counts is the reply itself.
ABOUT_A_REPLY = "Failed to load resource: the server responded with a status of"

REPORT_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', (event) => console.error(
    'content security policy: ' + event.violatedDirective + ' blocked ' + (event.blockedURI || 'inline') +
    ' at ' + event.sourceFile + ':' + event.lineNumber + ' ' + event.sample));
"""


class Chromium:
    """The browser of one test process.

    While Playwright's synchronous interface is in use, the thread counts as running its event loop, and no coroutine
    can be run. So the loop is marked as running only inside `in_use`: tests of coroutines in the same process go on
    as if there were no browser.
    """

    def __init__(self) -> None:
        assert CHROMIUM, MISSING
        self.playwright = sync_playwright().start()
        self.loop = asyncio.get_running_loop()
        self.browser: Browser = self.playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        asyncio._set_running_loop(None)

    @contextmanager
    def in_use(self) -> Iterator[Browser]:
        """The browser, inside this block."""
        asyncio._set_running_loop(self.loop)
        try:
            yield self.browser
        finally:
            asyncio._set_running_loop(None)

    def stop(self) -> None:
        """Close it."""
        with self.in_use():
            self.browser.close()
            self.playwright.stop()


class Visitor:
    """A person at a page, in a browser of their own: cookies, size and colours are theirs alone.

    `complaints` collects what went wrong: errors in the console or of scripts, reports of the content security
    policy, requests that failed or left this gateway, and replies with an error status that was not expected.
    """

    def __init__(self, context: BrowserContext, url: str, *, scripts: bool = True) -> None:
        self.context = context
        self.url = url
        self.scripts = scripts
        self.complaints: list[str] = []
        self.expected: set[int] = set()
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("console", self.hear)
        context.on("weberror", lambda error: self.complain(f"error in a script: {error.error}"))
        context.on("requestfailed", self.note_failure)
        context.on("request", self.note_request)
        context.on("response", self.note_response)
        self.current_page: Page = context.new_page()

    def complain(self, text: str) -> None:
        """Remember something that fails the test at its end."""
        self.complaints.append(text)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(ABOUT_A_REPLY):
            self.complain(f"console: {message.text}")

    def note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https") and parts.netloc != urlsplit(self.url).netloc:
            self.complain(f"request to elsewhere: {request.url}")

    def note_failure(self, request: Request) -> None:
        # Leaving a page ends what it still loads, and a download ends the navigation to it. Without scripts the
        # browser refuses to load any.
        is_unwanted = not self.scripts and request.resource_type == "script"
        if request.failure != "net::ERR_ABORTED" and not is_unwanted:
            self.complain(f"request failed: {request.method} {request.url}: {request.failure}")

    def note_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.complain(f"{response.status} for {response.request.method} {response.url}")

    @contextmanager
    def expecting(self, *statuses: int) -> Iterator[None]:
        """Replies with these error statuses are what the test is about, inside this block."""
        before = self.expected
        self.expected = before | set(statuses)
        try:
            yield
        finally:
            self.flush()
            self.expected = before

    def flush(self) -> None:
        """Wait until everything that the browser has reported so far has arrived."""
        for page in self.context.pages:
            try:
                page.evaluate("1")
            except PlaywrightError as error:
                # A page that is being left answers too, and after what came before.
                if "Execution context was destroyed" not in str(error):
                    raise

    def assert_clean(self) -> None:
        """Nothing went wrong."""
        self.flush()
        assert not self.complaints, "the browser saw errors:\n" + "\n".join(self.complaints)

    def go(self, path: str, *, status: int = 200) -> Self:
        """Open a page of the gateway, and wait until it is settled; `status` is what it must answer."""
        with self.expecting(*([status] if status >= 400 else [])):
            response = self.page.goto(self.url + path, wait_until="load")
            assert response is not None
            assert response.status == status, f"{response.status} for {path}: {response.text()[:2000]}"
            self.settle()
        return self

    def settle(self) -> None:
        """Wait until no part of the page is being read anew. Scripts have run when a page is loaded."""
        self.page.locator("body:not([data-busy])").wait_for(state="attached")

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Wait at the end of this block until what was done in it has replaced a part of the page."""
        count = int(self.page.locator("body").get_attribute("data-settled") or 0)
        yield
        self.page.wait_for_function("(count) => Number(document.body.dataset.settled ?? 0) > count", arg=count)
        self.settle()

    def press(self, *keys: str) -> Self:
        """Press keys one after the other, like `press("Tab", "Tab", "Enter")`; first a page that comes has its scripts."""
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def focused(self) -> tuple[str, str]:
        """Role and name of the focused element, as a screen reader is told them; ("", "") for none."""
        session = self.context.new_cdp_session(self.page)
        try:
            # Found through open dialogs and popovers alike; an element that is only the body has no focus.
            element = session.send("Runtime.evaluate", {"expression": "document.activeElement"})["result"]
            if element.get("className") == "HTMLBodyElement" or "objectId" not in element:
                return "", ""
            tree = session.send(
                "Accessibility.getPartialAXTree", {"objectId": element["objectId"], "fetchRelatives": False}
            )
        finally:
            session.detach()
        node: dict[str, Any] = tree["nodes"][0]
        return node.get("role", {}).get("value", ""), node.get("name", {}).get("value", "")

    def focused_name(self) -> str:
        """The name of the focused element."""
        return self.focused()[1]

    def tab_to(self, name: str, *, most: int = 200, back: bool = False) -> Self:
        """Press Tab until the element with this name has the focus. Fails after `most` presses."""
        seen = []
        for _ in range(most):
            self.press("Shift+Tab" if back else "Tab")
            seen.append(self.focused_name())
            if seen[-1] == name:
                return self
        raise AssertionError(f"Tab never reaches {name!r}, but: {seen}")

    @property
    def page(self) -> Page:
        """The page, once it is loaded: after a click that opens another one, counting its rows must not meet half of it."""
        self.current_page.wait_for_load_state()
        return self.current_page

    @property
    def main(self) -> Locator:
        """The page without its head and navigation."""
        return self.page.locator("main")

    @property
    def path(self) -> str:
        """The path and query of the page's address."""
        return self.page.url.removeprefix(self.url)


def new_context(browser: Browser, *, width: int, scheme: Scheme, scripts: bool) -> BrowserContext:
    """A browser without cookies, in a fixed language and time zone, without motion."""
    return browser.new_context(
        viewport={"width": width, "height": HEIGHTS.get(width, 900)},
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="Europe/Berlin",
        java_script_enabled=scripts,
        has_touch=width < 600,
        accept_downloads=True,
    )
