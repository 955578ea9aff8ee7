"""The interface of the wire of an integration's call: the hosts that it declares, answers of every status, retries."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import httpx

from kaixu.plugin.blob import Blob, BlobBody
from kaixu.plugin.lane import Wire
from kaixu.plugin.tries import Accept, Tries


class BlockingWire(Protocol):
    """The wire for a library that blocks, inside `call.in_thread` only."""

    def send(
        self,
        request: httpx.Request,
        *,
        accept: Accept = ...,
        tries: Tries = ...,
        timeout_s: float | None = ...,
        most_bytes: int | None = ...,
        save_to: Path | None = ...,
    ) -> httpx.Response:
        """As `IntegrationWire.send`; the request's body and the response's are read as a whole (at most 160 MiB).

        A request's body that is an `httpx.AsyncByteStream` is read in the event loop, piece by piece and of any length.

        `save_to`: the response's body is written into this file, piece by piece and of any length, and is empty here.

        Raises `TicketClosed` too if the call is given up meanwhile.
        """
        ...


class IntegrationWire(Wire, Protocol):
    """The connection to vendors for one call of an integration. It closes when the call is settled."""

    def send(
        self,
        request: httpx.Request,
        *,
        accept: Accept = ...,
        tries: Tries = ...,
        timeout_s: float | None = ...,
        most_bytes: int | None = ...,
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """Send `request` to a host that the integration declares, or that its options name.

        `accept`: statuses besides 2xx that come as a response and not as an error, redirects too, which are not
        followed; "all": every status. `tries`: how often it is sent, and when again; once by default. The waits between
        fit into the handler's time limit, else the last answer counts; a body that is a stream is sent once.
        `timeout_s`: how long one try may take until its answer begins, if less than the handler's limit. `most_bytes`:
        the most of a response's body; reading beyond it raises `UpstreamError`. As a whole (`aread`) it has at most
        160 MiB; in pieces (`aiter_raw`) as many as `most_bytes` says, or any number.

        Raises `HostNotDeclared` before anything is sent, `TicketClosed`, `TooLarge` where more `bytes_sent` would be
        billed than the charge's `most`; else as `Wire.send`.
        """
        ...

    def body(self, blobs: Blob | Sequence[Blob]) -> BlobBody:
        """The body of a request, made of blobs one after another: `httpx.Request("PUT", url, stream=wire.body(blob))`.

        It is read and decrypted while it is sent, and again for each try; its length is announced.
        """
        ...

    def may_send_to(self, url: str) -> bool:
        """Whether the integration may send to `url`, for a refusal in its own words; False for what is not a URL."""
        ...

    def blocking(self) -> BlockingWire:
        """The same wire for a thread of `call.in_thread`."""
        ...
