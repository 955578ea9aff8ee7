"""Commands of `kaixu` that packages bring: clients of a gateway's URL and a key, on a customer's machine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

import httpx
import msgspec


class CommandError(Exception):
    """Ends a command: the message and the hint are printed, and the exit code is 1.

    `status` and `code`: of the gateway's answer, where one was the reason.
    """

    def __init__(self, message: str, *, hint: str | None = None, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status
        self.code = code


class GatewayClient(Protocol):
    """What a command gets first: a gateway, as the customer whose key it is. It sends to no other host."""

    @property
    def url(self) -> str:
        """The gateway's address, without a slash at its end."""
        ...

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
        """Send a request with the key to a path of the gateway (`/v1/push/…`), and read the answer.

        `body` is sent as JSON, `content` as it is. Raises `CommandError` for a status besides 2xx and `accept`, with
        what the gateway says, and where it cannot be reached; `ValueError` for what is not a path. Redirects are not
        followed.
        """
        ...

    def json(self, method: str, path: str, body: Any = None, **query: str | int) -> Any:
        """The JSON of an answer. Raises as `send`."""
        ...


def json_object(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer of the gateway. Raises `CommandError` for anything else."""
    try:
        return msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise CommandError("the answer is not JSON", hint="Is it a kAIxU Gateway?") from None
