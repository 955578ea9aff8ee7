"""Errors of the vendor: it cannot be reached, refuses the request, or answers with nonsense."""

from __future__ import annotations

from kaixu.plugin.errors.base import KaixuError


class UpstreamError(KaixuError):
    """The vendor failed: no connection, a broken connection, or an unreadable response."""

    status = 502
    code = "UPSTREAM_ERROR"

    #: For the operator only: the vendor's status, what it means (see `refusal_reasons.Reason`), and the vendor's own
    #: text, shortened and without secrets.
    upstream_status: int | None = None
    reason: str | None = None
    vendor_words: str | None = None

    #: Whether the lane has another key to try: the vendor refused only this one.
    another_key: bool = False

    #: The seconds in the vendor's `retry-after`, whatever its status was.
    told_wait_s: int | None = None


class UpstreamRejected(UpstreamError):
    """The vendor refuses the request itself; sending it again will not help."""

    status = 422
    code = "UPSTREAM_REJECTED"


class ContextTooLong(UpstreamRejected):
    """The request, or the request and its `max_tokens` together, exceeds the model's context length.

    `figures` holds `limit_tokens`, `input_tokens` and `max_tokens`, as far as they are known.
    """

    code = "CONTEXT_TOO_LONG"

    def __init__(
        self, *, limit_tokens: int | None = None, input_tokens: int | None = None, max_tokens: int | None = None
    ) -> None:
        known = {"limit_tokens": limit_tokens, "input_tokens": input_tokens, "max_tokens": max_tokens}
        message = "the request is longer than the model's maximum context length"
        if limit_tokens is not None:
            message += f" of {limit_tokens} tokens"
            if input_tokens is not None:
                message += f": it has {input_tokens}"
                if max_tokens is not None:
                    message += f", and asks for up to {max_tokens} more"
        super().__init__(message, hint="Shorten the messages, or lower `max_tokens`.")
        self.figures = {name: number for name, number in known.items() if number is not None}


class ContentRefused(UpstreamRejected):
    """The vendor's content policy refuses the request."""

    code = "CONTENT_REFUSED"


class ParameterRefused(UpstreamRejected):
    """The vendor's model does not accept a field of the request, or not with this value."""

    code = "PARAMETER_REFUSED"


class ImageRefused(UpstreamRejected):
    """The vendor cannot read an image of the request, or finds it too large."""

    code = "IMAGE_REFUSED"


class ModelGone(UpstreamRejected):
    """The vendor does not have the model: it was retired or never existed."""

    status = 404
    code = "MODEL_GONE"


class UpstreamBusy(UpstreamError):
    """The vendor is overloaded (503), or its rate limit is reached (an instance with status 429).

    `wait_told`: `retry_after_s` comes from the vendor.
    """

    status = 503
    code = "UPSTREAM_BUSY"
    wait_told: bool = True


class UpstreamTimeout(UpstreamError):
    """The vendor did not answer in time."""

    status = 504
    code = "UPSTREAM_TIMEOUT"


class HostNotDeclared(UpstreamError):
    """An integration wants to send to a host that neither it nor its options name. Nothing was sent."""

    code = "HOST_NOT_DECLARED"
