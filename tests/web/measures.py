"""How a page loads, as the browser itself measures it."""

from __future__ import annotations

from typing import Any

import msgspec
from playwright.sync_api import Browser

from .browser import DESKTOP, Visitor, new_context
from .gateway import Gateway
from .pages import PageState
from .visiting import log_in, open_page

#: Shifts that no press of a key or click has caused, added up; the entries from before are included.
TIMES = """
() => new Promise((resolve) => {
  let shift = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) shift += entry.value;
  });
  observer.observe({ type: 'layout-shift', buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => {
    for (const entry of observer.takeRecords()) if (!entry.hadRecentInput) shift += entry.value;
    const page = performance.getEntriesByType('navigation')[0];
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    resolve({
      server_ms: page.responseStart - page.requestStart,
      painted_ms: paint ? paint.startTime : page.domContentLoadedEventEnd,
      usable_ms: page.loadEventEnd,
      shift,
    });
  }));
})
"""


class Loading(msgspec.Struct, frozen=True):
    """One visit. `server_ms`: from the request to the first byte; `usable_ms`: until everything is loaded and run.

    `transferred_bytes`: of all replies, compressed and with their headers.
    """

    server_ms: float
    painted_ms: float
    usable_ms: float
    shift: float
    transferred_bytes: int
    requests: int


def loading_of(browser: Browser, gateway: Gateway, page: PageState, *, width: int = DESKTOP) -> Loading:
    """A first visit: nothing is in the browser's cache. Fails on anything that the browser complains about."""
    context = new_context(browser, width=width, scheme="light", scripts=True)
    try:
        log_in(context, gateway, page.role)
        visitor = Visitor(context, gateway.url)
        sizes: list[int] = []
        network = context.new_cdp_session(visitor.page)
        network.send("Network.enable")
        network.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
        open_page(visitor, gateway, page)
        times: dict[str, Any] = visitor.page.evaluate(TIMES)
        visitor.assert_clean()
        return Loading(**times, transferred_bytes=sum(sizes), requests=len(sizes))
    finally:
        context.close()
