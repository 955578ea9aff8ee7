"""Serves the gallery under the pages' own policy, for tests of scripts and of the look."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import msgspec

from kaixu.web.components import Notice, Page
from kaixu.web.rendering import render_page
from kaixu.web.site import POLICY
from kaixu.web.static_files import PREFIX, static_files

from .gallery import pages

FOUND = {"group": "Customers", "title": "<b>acme-labs</b>", "detail": "starter", "href": "/gateway/customers/1"}
ELSEWHERE = {"group": "Customers", "title": "elsewhere", "detail": "", "href": "https://example.com/"}


class Handler(BaseHTTPRequestHandler):
    """Answers like a gateway: pages by their name, others show everything; `/broken` is out of order."""

    asked: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        self.asked.append(self.path)
        if address.path.startswith(f"{PREFIX}/"):
            file = static_files()[address.path.removeprefix(f"{PREFIX}/").split("/", 1)[1]]
            self.answer(200, file.content_type, file.plain)
        elif address.path == "/gateway/search.json":
            is_found = "acme" in parse_qs(address.query)["q"][0]
            self.answer(
                200, "application/json", json.dumps({"results": [FOUND, ELSEWHERE] if is_found else []}).encode()
            )
        else:
            self.page(address.path)

    def page(self, path: str) -> None:
        """A page, with its nonce in its policy."""
        all_pages = pages()
        page, frame = all_pages.get(path.strip("/"), all_pages["everything"])
        status = 503 if path == "/gateway/jobs/7" else 200
        if status != 200:
            page = Page(title="Out of order", parts=[Notice("bad", "Out of order.")])
        nonce = secrets.token_urlsafe(16)
        html = render_page(page, msgspec.structs.replace(frame, nonce=nonce))
        self.answer(status, "text/html; charset=utf-8", html.encode(), POLICY.format(nonce=nonce))

    def answer(self, status: int, content_type: str, body: bytes, policy: str = "") -> None:
        """Send a reply."""
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        if policy:
            self.send_header("content-security-policy", policy)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def gallery_server() -> Iterator[str]:
    """The server, on a port of its own; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
