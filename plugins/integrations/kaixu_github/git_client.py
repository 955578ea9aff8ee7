"""git's smart HTTP protocol over the wire: dulwich speaks it, the gateway sends it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from dulwich.client import AbstractHttpGitClient

from kaixu.plugin import BlockingWire, Tries, UpstreamError

from .refusals import GitUnreachable, failure_of, unavailable, unreadable

#: Statuses that come as answers: GitHub's refusals, and where a repository went that was renamed.
ACCEPTED = frozenset({301, 302, 307, 308, 400, 401, 403, 404, 409, 422, 429})
REDIRECTS = frozenset({301, 302, 307, 308})
MOST_REDIRECTS = 3

READING = Tries(5, on={502, 503, 504})
FETCHING = Tries(3, on={502, 503, 504})
ONCE = Tries(1)

PIECE_BYTES = 1 << 18


class GitAnswer:
    """What dulwich asks of an answer, whose body is in memory or in a file."""

    def __init__(self, content_type: str | None, redirect_location: str, body: BinaryIO) -> None:
        self.content_type = content_type
        self.redirect_location = redirect_location
        self.body = body

    def close(self) -> None:
        """It is read, or not wanted any more."""
        self.body.close()


class FileBody(httpx.AsyncByteStream):
    """A request's body that lies in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self.path.open("rb") as stream:
            while piece := await asyncio.to_thread(stream.read, PIECE_BYTES):
                yield piece


class WireGitClient(AbstractHttpGitClient):
    """A client of one git server, for a thread of a call. `folder`: where bodies wait whose length must be known."""

    def __init__(self, web_base: str, wire: BlockingWire, token: str, folder: Path) -> None:
        super().__init__(web_base, thin_packs=False, quiet=True)
        self._wire = wire
        self._origin = httpx.URL(web_base)
        self._folder = folder
        self._authorization = "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,
    ) -> tuple[Any, Callable[[int], bytes]]:
        """Send one request. Raises `Failure` for what GitHub refuses, `GitUnreachable`."""
        is_push = "git-receive-pack" in url
        tries = READING if data is None else ONCE if is_push else FETCHING
        saved = self._folder / "answer" if data is not None and not is_push else None
        content = self._content(data)
        first = url
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._exchange(url, headers or {}, content, tries, saved)
            if answer.status_code not in REDIRECTS or data is not None:
                break
            url = str(httpx.URL(url).join(answer.headers.get("location", "")))
            if not self._is_own(httpx.URL(url)):
                raise GitUnreachable("the git server leads to another host")
        if answer.status_code in REDIRECTS:
            raise unreadable()
        if answer.status_code != 200:
            words = answer.text[:2000] if saved is None else read_words(saved)
            raise failure_of(answer.status_code, answer.headers, words, "this repository")
        body: BinaryIO = BytesIO(answer.content) if saved is None else saved.open("rb")
        found = GitAnswer(answer.headers.get("content-type"), url if url != first else "", body)
        if data is None and not (found.content_type or "").startswith("application/x-git-"):
            raise GitUnreachable("there is no git server at the web address")
        return found, body.read

    def _exchange(
        self,
        url: str,
        headers: dict[str, str],
        content: bytes | tuple[FileBody, int] | None,
        tries: Tries,
        saved: Path | None,
    ) -> httpx.Response:
        sent = {**headers, "authorization": self._authorization, "user-agent": "git/kaixu"}
        if isinstance(content, tuple):
            body, size = content
            sent.pop("Content-Length", None)
            request = httpx.Request("POST", url, headers={**sent, "content-length": str(size)}, stream=body)
        else:
            request = httpx.Request("GET" if content is None else "POST", url, headers=sent, content=content)
        try:
            return self._wire.send(request, accept=ACCEPTED, tries=tries, save_to=saved)
        except UpstreamError as error:
            if content is None and error.upstream_status is None:
                raise GitUnreachable("the git server cannot be reached") from error
            raise unavailable(error) from error

    def _content(self, data: bytes | Iterator[bytes] | None) -> bytes | tuple[FileBody, int] | None:
        """A long body is written to a file first: GitHub wants to know its length, and memory stays small."""
        if data is None or isinstance(data, bytes):
            return data
        path, size = self._folder / "request", 0
        with path.open("wb") as stream:
            for piece in data:
                size += stream.write(piece)
        return FileBody(path), size

    def _is_own(self, url: httpx.URL) -> bool:
        """Whether the token may go there."""
        own = self._origin
        return (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)


def read_words(path: Path) -> str:
    """The beginning of an answer that lies in a file."""
    with path.open("rb") as stream:
        return stream.read(2000).decode("utf-8", "replace")
