"""The static files of the pages: read once, compressed once, kept by browsers for a year.

Their address has a hash of all of them: a module finds the others beside it, and a new release has new addresses.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import brotli

from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route, no_such_endpoint

FOLDER = Path(__file__).parent / "static"
PREFIX = "/gateway/static"

#: The files that are served, by suffix. Others in the folder (licences, SOURCES) are not.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
A_YEAR = "public, max-age=31536000, immutable"
#: For an address with another release's hash: the file of this one, but not kept.
ANOTHER_RELEASE = "no-cache"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file, as it is and compressed."""

    content_type: str
    plain: bytes
    gzip: bytes
    brotli: bytes

    def body_for(self, accept_encoding: str) -> tuple[str, bytes]:
        """The smallest body that the client takes, and its content-encoding ("" for none)."""
        accepted = accepted_encodings(accept_encoding)
        if "br" in accepted:
            return "br", self.brotli
        return ("gzip", self.gzip) if "gzip" in accepted else ("", self.plain)


def accepted_encodings(header: str) -> set[str]:
    """The encodings that a client takes (RFC 9110 §12.5.3)."""
    accepted = set()
    for item in header.lower().split(","):
        name, *parameters = (piece.strip() for piece in item.split(";"))
        if not any(one.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for one in parameters):
            accepted.add(name)
    return accepted


@cache
def static_files() -> dict[str, StaticFile]:
    """All files, by their path below the folder."""
    return {
        path.relative_to(FOLDER).as_posix(): read_file(path)
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }


def read_file(path: Path) -> StaticFile:
    """Read and compress a file."""
    plain = path.read_bytes()
    return StaticFile(
        TYPES[path.suffix], plain, gzip.compress(plain, 9, mtime=0), brotli.compress(plain, brotli.MODE_TEXT)
    )


@cache
def version() -> str:
    """The hash of all files."""
    hashed = sha256()
    for name, file in static_files().items():
        hashed.update(f"{name}\0{len(file.plain)}\0".encode() + file.plain)
    return hashed.hexdigest()[:12]


def static_url(name: str) -> str:
    """The address of a file. Raises `KeyError` if there is none."""
    static_files()[name]
    return f"{PREFIX}/{version()}/{name}"


def static_reply(request: IncomingRequest, name: str, cache_control: str) -> Reply:
    """A file as a reply."""
    file = static_files().get(name)
    if file is None:
        raise no_such_endpoint(request)
    encoding, body = file.body_for(request.headers.get("accept-encoding", ""))
    headers = {
        "content-type": file.content_type,
        "cache-control": cache_control,
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }
    if encoding:
        headers["content-encoding"] = encoding
    return Reply(200, headers, body)


def static_routes() -> list[Route]:
    """The routes of the static files."""

    async def static_file(request: IncomingRequest) -> Reply:
        is_current = request.parameters["version"] == version()
        return static_reply(request, request.parameters["name"], A_YEAR if is_current else ANOTHER_RELEASE)

    async def favicon(request: IncomingRequest) -> Reply:
        return static_reply(request, "favicon.svg", "public, max-age=86400")

    return [
        Route(
            "GET",
            (f"{PREFIX}/<version>/<path:name>",),
            static_file,
            auth="public",
            rate="open",
            max_body_bytes=SMALL_BODY_BYTES,
        ),
        Route("GET", ("/favicon.ico",), favicon, auth="public", rate="open", max_body_bytes=SMALL_BODY_BYTES),
    ]
