"""A gateway's client for the commands of packages: its URL and a key, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import httpx
import msgspec

from kaixu.plugin.command import CommandError

#: Some operations wait for a vendor for two minutes.
TIMEOUT = httpx.Timeout(180, connect=10)


class GatewayClient:
    """See `kaixu.plugin.GatewayClient`. Raises `CommandError` for a URL that is none."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._http: httpx.Client | None = None
        try:
            self._base = httpx.URL(self.url)
        except httpx.InvalidURL:
            raise wrong_url() from None
        if self._base.scheme not in ("http", "https") or not self._base.host or self._base.userinfo:
            raise wrong_url()
        if not key.isascii() or not key.isprintable():
            raise CommandError("the key has characters that no key has")

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: bytes | Iterable[bytes] | None = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> httpx.Response:
        """See `kaixu.plugin.GatewayClient.send`."""
        sent = {**(headers or {})}
        if body is not None:
            content = msgspec.json.encode(body)
            sent["content-type"] = "application/json"
        sent["authorization"] = f"Bearer {self._key}"
        try:
            if self._http is None:  # kept: a command may send thousands of requests, from threads
                self._http = httpx.Client(timeout=TIMEOUT, follow_redirects=False)
            response = self._http.request(
                method,
                self.address_of(path),
                content=content,
                params=None if query is None else dict(query),
                headers=sent,
            )
        except httpx.HTTPError as error:
            raise CommandError(
                f"the gateway at {self.url} does not answer: {type(error).__name__}",
                hint="Is the address right? It is in KAIXU_URL or --url.",
            ) from None
        if not response.is_success and response.status_code not in accept:
            raise refused(response)
        return response

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()

    def json(self, method: str, path: str, body: Any = None, **query: str | int) -> Any:
        """See `kaixu.plugin.GatewayClient.json`."""
        response = self.send(method, path, body=body, query=query or None)
        try:
            return msgspec.json.decode(response.content)
        except msgspec.DecodeError:
            raise CommandError(f"the answer of {self.url} is not JSON", hint="Is it a kAIxU Gateway?") from None

    def address_of(self, path: str) -> httpx.URL:
        """A path below the gateway's address. Raises `ValueError` for what leads elsewhere."""
        if not path.startswith("/") or path.startswith("//") or "\\" in path:
            raise ValueError(f"{path!r:.80} is not a path of the gateway: it begins with one slash")
        try:
            address = httpx.URL(self.url + path)
        except httpx.InvalidURL:
            raise ValueError(f"{path!r:.80} is not a path of the gateway") from None
        if (address.scheme, address.host, address.port) != (self._base.scheme, self._base.host, self._base.port):
            raise ValueError(f"{path!r:.80} is not a path of the gateway")
        return address


def wrong_url() -> CommandError:
    """The error for a URL that no gateway has."""
    return CommandError("the gateway's address is not a URL", hint="It is like https://gateway.example.com.")


def refused(response: httpx.Response) -> CommandError:
    """What the gateway says about a refused request."""
    try:
        told = msgspec.json.decode(response.content, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError):
        told = {}
    message, hint = told.get("error"), told.get("hint")
    request_id = response.headers.get("x-kaixu-request-id") or told.get("request_id") or ""
    words = message if isinstance(message, str) and message else f"the gateway answered {response.status_code}"
    return CommandError(
        words + (f" (request {request_id})" if request_id else ""),
        hint=hint if isinstance(hint, str) and hint else None,
        status=response.status_code,
        code=str(told.get("code") or ""),
    )
