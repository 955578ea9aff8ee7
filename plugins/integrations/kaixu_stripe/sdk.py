"""Stripe's own library over the wire of a call. Importing it takes a third of a second: see `opened`."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import httpx
import msgspec
import stripe

from kaixu.plugin import BlockingWire, KaixuError, UpstreamBusy, UpstreamError, UpstreamTimeout, retry_after

from .client import GONE, REFUSED, REPEATED, Declined
from .options import StripeOptions

StripeError = stripe.StripeError

#: How often the library tries a request again by itself: all requests that change something have an idempotency key.
RETRIES = 2

#: The largest answer of Stripe that is read: a page of a hundred events has about a megabyte.
MOST_ANSWER_BYTES = 16 << 20


class ErrorBody(msgspec.Struct):
    """Stripe's error."""

    error: dict[str, Any]


class WireClient(stripe.HTTPClient):
    """The library's HTTP client: it sends what it is given over the wire of the call."""

    name = "kaixu"

    def __init__(self, wire: BlockingWire) -> None:
        super().__init__()
        self._wire = wire

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[str, int, Mapping[str, str]]:
        """Send one request."""
        content = post_data.encode() if isinstance(post_data, str) else post_data
        outgoing = httpx.Request(method.upper(), url, headers=dict(headers or {}), content=content)
        try:
            # Every status is an answer: the library reads the error in it.
            answer = self._wire.send(outgoing, accept="all", most_bytes=MOST_ANSWER_BYTES)
        except UpstreamError as error:
            may_again = not isinstance(error, UpstreamTimeout)
            raise stripe.APIConnectionError(error.message, should_retry=may_again) from error  # type: ignore[no-untyped-call]
        return text_of(answer), answer.status_code, answer.headers

    def close(self) -> None:
        """The wire ends with its call."""


def text_of(answer: httpx.Response) -> str:
    """The body of an answer; "" for an error that is not in Stripe's form, on which the library would stumble."""
    if answer.is_success:
        return answer.text
    try:
        error = msgspec.json.decode(answer.content, type=ErrorBody).error
    except msgspec.MsgspecError:
        return ""
    return answer.text if error else ""


def client_for(wire: BlockingWire, options: StripeOptions) -> stripe.StripeClient:
    """Stripe's client for one call."""
    return stripe.StripeClient(
        options.secret_key.get_secret_value(),
        base_addresses={"api": str(options.api_base).rstrip("/")},
        http_client=WireClient(wire),
        max_network_retries=RETRIES,
        stripe_version=options.api_version,
    )


def plain(answer: Any) -> Any:
    """An object of the library as plain values."""
    return answer.to_dict() if isinstance(answer, stripe.StripeObject) else answer


def error_of(error: stripe.StripeError) -> Exception:
    """The error of a call that Stripe has refused. It says nothing of Stripe's own text, which may name keys."""
    if isinstance(error, stripe.APIConnectionError):
        cause = error.__cause__
        return cause if isinstance(cause, KaixuError) else UpstreamError("Stripe could not be reached")
    if isinstance(error, stripe.CardError):
        return Declined(error.code or "card_declined", intent_of(error))
    if error.http_status == 429:
        wait_s = retry_after(httpx.Headers(dict(error.headers or {})))
        busy = UpstreamBusy("Stripe takes no more requests now", retry_after_s=ceil(wait_s or 5))
        busy.status = 429
        return busy
    if error.http_status in (401, 403):
        return UpstreamError("Stripe refuses the gateway's key", hint="Your operator has to set another one.")
    if isinstance(error, stripe.InvalidRequestError):
        if error.code == "resource_missing":
            return UpstreamError("Stripe does not know this object", code=GONE)
        return UpstreamError("Stripe refuses this request", code=REFUSED)
    if isinstance(error, stripe.IdempotencyError):
        return UpstreamError("Stripe has seen this request with other values", code=REPEATED)
    if (error.http_status or 500) >= 500:
        return UpstreamBusy("Stripe does not work now", retry_after_s=30)
    return UpstreamError("Stripe's answer cannot be read")


def intent_of(error: stripe.CardError) -> str | None:
    """The payment intent that a card error is about."""
    body = error.json_body
    intent = body.get("error", {}).get("payment_intent") if isinstance(body, dict) else None
    found = intent.get("id") if isinstance(intent, dict) else None
    return found if isinstance(found, str) else None
