"""Netlify's API: the requests of pushes, and what becomes of its refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from kaixu.plugin import Blob, Call, Failure, Tries, UpstreamBusy, UpstreamError, retry_after

Answer = TypeVar("Answer")

#: Refusals that sending again does not change.
FINAL = frozenset({400, 401, 403, 404, 409, 410, 413, 422})

#: The most of an answer that is read: a deploy that requires 54,000 files has some 2.3 MB.
MOST_ANSWER_BYTES = 16 * 2**20

#: States in which Netlify has not compared the files yet.
PENDING = frozenset({"", "new", "pending_review", "accepted", "enqueued", "preparing"})

LOOK = Tries(5, first_wait_s=0.3, most_wait_s=15)
ONCE = Tries(1)

#: What may be shown of a deploy; the rest concerns the owner of the site, who may be the operator.
SHOWN = ("id", "state", "url", "ssl_url", "deploy_url", "deploy_ssl_url", "title", "branch", "context", "draft",
         "error_message", "created_at", "updated_at", "published_at")  # fmt: skip


class Deploy(msgspec.Struct):
    """What is read of a deploy."""

    id: str = ""
    state: str = ""
    required: list[str] | None = None
    url: str | None = None
    ssl_url: str | None = None
    title: str | None = None
    error_message: str | None = None
    published_at: str | None = None

    @property
    def address(self) -> str | None:
        """Where it is."""
        return self.ssl_url or self.url

    @property
    def is_prepared(self) -> bool:
        """Whether it says which files it requires."""
        return bool(self.required) or self.state not in PENDING

    @property
    def is_over(self) -> bool:
        """Whether it is published, or never will be."""
        return self.state in ("ready", "error", "rejected")


def refused(status: int, retry_after_s: int | None = None) -> Failure:
    """Netlify refuses a request: its own status is passed on, its words are not."""
    hints = {
        401: "Netlify does not accept the token: set another one.",
        403: "The token may not do this.",
        404: "Netlify does not know this site or deploy, or the token may not see it.",
        429: "Netlify's rate limit is reached: try again later.",
    }
    return Failure(
        status, "NETLIFY_API", f"Netlify API error {status}", hint=hints.get(status), retry_after_s=retry_after_s
    )


def unreachable(error: UpstreamError) -> Failure:
    """Netlify has not answered, or not so that it can be understood."""
    if isinstance(error, UpstreamBusy) and error.status == 429:
        return refused(429, error.retry_after_s)
    return Failure(
        502,
        "NETLIFY_FETCH",
        "Netlify could not be reached",
        hint="Try again in a moment.",
        retry_after_s=error.retry_after_s if error.retry_after_s is None else min(error.retry_after_s, 86_400),
    )


class Netlify:
    """Netlify, with one token, for one call. Raises `Failure`: `NETLIFY_API` for refusals, else `NETLIFY_FETCH`."""

    def __init__(self, call: Call[Any], token: str) -> None:
        self.wire = call.wire
        self.base = call.options.api_url.rstrip("/")
        self.headers = {"authorization": f"Bearer {token}", "user-agent": "kaixu-gateway", "accept": "application/json"}

    async def user(self) -> dict[str, Any]:
        """Whose token it is."""
        found: dict[str, Any] = await self.get("/user", dict)
        return found

    async def has_site(self, site: str) -> bool:
        """Whether the token reaches a site."""
        async with self.asking("GET", f"/sites/{quote(site, safe='')}", accept={401, 403, 404}, tries=LOOK) as answer:
            return answer.status_code == 200

    async def create(self, site: str, title: str, branch: str, files: dict[str, str]) -> Deploy:
        """Begin a deploy; sent once, because nobody knows whether it has arrived if there is no answer."""
        body = {
            "files": {path.removeprefix("/"): sha1 for path, sha1 in files.items()},
            "async": True,
            "draft": False,
            "branch": branch,
        }
        path = f"/sites/{quote(site, safe='')}/deploys?title={quote(title, safe='')}"
        async with self.asking("POST", path, json=body, tries=ONCE) as answer:
            return await read(answer, Deploy)

    async def deploy(self, site: str, deploy_id: str) -> tuple[Deploy, dict[str, Any]]:
        """A deploy, and what may be shown of it."""
        path = f"/sites/{quote(site, safe='')}/deploys/{quote(deploy_id, safe='')}"
        async with self.asking("GET", path, tries=LOOK) as answer:
            data = await whole(answer)
            shown, deploy = decoded(data, dict), decoded(data, Deploy)
            if not deploy.state:
                raise UpstreamError("Netlify's answer has no state")
        return deploy, {name: shown.get(name) for name in SHOWN}

    async def find(self, site: str, push_id: str) -> Deploy | None:
        """The deploy whose title ends in a push's id, among the newest hundred of a site."""
        listed: list[Deploy] = await self.get(f"/sites/{quote(site, safe='')}/deploys?per_page=100", list[Deploy])
        return next((one for one in listed if (one.title or "").endswith(f"({push_id})")), None)

    async def cancel(self, deploy_id: str) -> bool:
        """Cancel a deploy; False for one that cannot be cancelled any more, which stays as it is."""
        path = f"/deploys/{quote(deploy_id, safe='')}/cancel"
        async with self.asking("POST", path, accept={404, 422}, tries=LOOK) as answer:
            return answer.is_success

    async def put(self, deploy_id: str, path: str, blobs: list[Blob], tries: Tries) -> None:
        """Send a file; its bytes are read again for each try."""
        size = sum(blob.size for blob in blobs)
        address = f"/deploys/{quote(deploy_id, safe='')}/files{quote(path, safe='/')}?size={size}"
        headers = {"content-type": "application/octet-stream"}
        async with self.asking("PUT", address, stream=self.wire.body(blobs), headers=headers, tries=tries) as answer:
            await whole(answer)

    async def get(self, path: str, kind: type[Answer]) -> Answer:
        """What a GET answers."""
        async with self.asking("GET", path, tries=LOOK) as answer:
            return await read(answer, kind)

    @asynccontextmanager
    async def asking(
        self,
        method: str,
        path: str,
        *,
        tries: Tries,
        accept: Collection[int] = (),
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> AsyncIterator[httpx.Response]:
        """One exchange. Statuses besides 2xx and `accept` raise."""
        request = httpx.Request(method, self.base + path, headers=self.headers | (headers or {}), **body)
        try:
            async with self.wire.send(request, accept=FINAL | {429}, tries=tries) as answer:
                if answer.status_code >= 300 and answer.status_code not in accept:
                    raise refused(
                        answer.status_code, retry_after(answer.headers) if answer.status_code == 429 else None
                    )
                yield answer
        except UpstreamError as error:
            raise unreachable(error) from None


async def read(answer: httpx.Response, kind: type[Answer]) -> Answer:
    """An answer as `kind`."""
    return decoded(await whole(answer), kind)


async def whole(answer: httpx.Response) -> bytes:
    """The bytes of an answer, up to a limit. Raises `UpstreamError`."""
    data = bytearray()
    async for piece in answer.aiter_raw():
        data += piece
        if len(data) > MOST_ANSWER_BYTES:
            raise UpstreamError("Netlify's answer is too long")
    return bytes(data)


def decoded(data: bytes, kind: type[Answer]) -> Answer:
    """JSON as `kind`. Raises `UpstreamError`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise UpstreamError("Netlify's answer cannot be read") from None
