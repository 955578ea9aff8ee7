"""A customer's account at GitHub, for one call: the stored token, and requests of the REST API with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import httpx
import msgspec

from kaixu.plugin import Caller, IntegrationWire, Secrets, Tries, UpstreamError

from .options import GitHubOptions
from .refusals import failure_of, no_token, unauthorized, unavailable, unreadable

TOKEN = "token"  # noqa: S105 - the name of the secret

#: Statuses that come as answers.
ACCEPTED = frozenset({301, 302, 307, 308, 400, 401, 403, 404, 409, 422, 429})
REDIRECTS = frozenset({301, 302, 307, 308})
MOST_REDIRECTS = 3

READING = Tries(5, on={502, 503, 504})
ONCE = Tries(1)

#: Pages of a list, of 100 each.
MOST_PAGES = 50


class Answer(msgspec.Struct, frozen=True):
    """What GitHub has answered: `data` is its JSON, or None where it is none."""

    status: int
    headers: Mapping[str, str]
    data: Any
    next_url: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    def text(self, *names: str) -> str:
        """A text somewhere in the answer. Raises `UpstreamError`."""
        value = self.data
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, str):
            raise unreadable()
        return value


class AccountCall(Protocol):
    """What is used of a call."""

    @property
    def options(self) -> GitHubOptions: ...
    @property
    def caller(self) -> Caller: ...
    @property
    def wire(self) -> IntegrationWire: ...
    @property
    def secrets(self) -> Secrets: ...


class Account:
    """Requests with a token. A token that GitHub does not accept any more is removed, if it is the stored one."""

    def __init__(self, call: AccountCall, token: str, *, version: str | None = None) -> None:
        self.call = call
        self.token = token
        self.version = version  # of the stored one
        self.base = call.options.api_base.rstrip("/")

    @classmethod
    async def of(cls, call: AccountCall, *, missing_status: int = 404) -> Account:
        """That of the call's customer. Raises `Failure` without a token."""
        stored = await call.secrets.read(TOKEN)
        if stored is None:
            raise no_token(missing_status)
        return cls(call, stored.value, version=stored.version)

    async def get(self, path: str, query: Mapping[str, str | int] | None = None, *, what: str) -> Answer:
        """A GET that must succeed. `what` is its subject, for the error."""
        answer = await self.send("GET", path, query=query)
        return await self.require(answer, what)

    async def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str | int] | None = None,
        tries: Tries = READING,
    ) -> Answer:
        """Any request, and any answer. `path` may be a URL that GitHub has named. Raises `Failure`."""
        url = httpx.URL(path if path.startswith("http") else self.base + path)
        if query:
            url = url.copy_merge_params(dict(query))
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self.exchange(method, url, body, tries)
            location = answer.headers.get("location")
            if answer.status not in REDIRECTS or location is None:
                return answer
            url = url.join(location)
            if not self.is_own(url):
                break
        raise unreadable()

    async def exchange(self, method: str, url: httpx.URL, body: Mapping[str, Any] | None, tries: Tries) -> Answer:
        """One request."""
        headers = {
            "authorization": f"Bearer {self.token}",
            "accept": "application/vnd.github+json",
            "user-agent": "kaixu",
            "x-github-api-version": self.call.options.api_version,
        }
        request = httpx.Request(method, url, headers=headers, json=None if body is None else dict(body))
        try:
            async with self.call.wire.send(request, accept=ACCEPTED, tries=tries) as answer:
                content = await answer.aread()
                return Answer(answer.status_code, answer.headers, json_of(content), self.next_of(answer))
        except UpstreamError as error:
            raise unavailable(error) from error

    async def require(self, answer: Answer, what: str) -> Answer:
        """The answer, if it is a success. Raises `Failure`; after a 401 the token is removed."""
        if answer.is_good:
            return answer
        if answer.status == 401:
            await self.forget()
            raise unauthorized(for_operator=self.call.caller.kind == "operator")
        raise failure_of(answer.status, answer.headers, message_of(answer.data), what)

    async def forget(self) -> None:
        """Remove the token, if nobody has stored another one meanwhile."""
        if self.version is not None:
            await self.call.secrets.clear(TOKEN, version=self.version)

    async def pages(self, path: str, query: Mapping[str, str | int] | None = None, *, what: str) -> AsyncIterator[Any]:
        """The items of all pages of a list, as GitHub links them."""
        answer = await self.get(path, {**(query or {}), "per_page": 100}, what=what)
        for _ in range(MOST_PAGES):
            if not isinstance(answer.data, list):
                raise unreadable()
            for item in answer.data:
                yield item
            if answer.next_url is None:
                return
            answer = await self.get(answer.next_url, what=what)

    def next_of(self, answer: httpx.Response) -> str | None:
        """The next page, if it is at the same server."""
        link = answer.links.get("next", {}).get("url")
        try:
            return link if link and self.is_own(httpx.URL(link)) else None
        except httpx.InvalidURL:
            return None

    def is_own(self, url: httpx.URL) -> bool:
        """Whether the token may go there."""
        own = httpx.URL(self.base)
        return (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)


def json_of(content: bytes) -> Any:
    """The JSON of an answer; None where it is none."""
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def message_of(data: Any) -> str:
    """GitHub's own words, for decisions and not to be shown."""
    words = data.get("message") if isinstance(data, dict) else None
    return words if isinstance(words, str) else ""
