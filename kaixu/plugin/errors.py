"""The error tree: the class is the status and the code, the message names the thing, the hint the next step.

    KaixuError
    ├── Invalid 400                    what was sent cannot be read or names nothing we have
    │   ├── UnknownModel               no lane has this provider or model
    │   ├── InstallIdRequired          this key works only with a device
    │   ├── Unsupported                the lane cannot do what a field asks for
    │   ├── Unprocessable 422          well-formed, but a field says something impossible
    │   │                              FilterTooLarge, SearchTooSlow
    │   ├── TooLarge 413
    │   ├── UnsupportedEncoding 415
    │   └── BodyTimeout 408
    ├── Unauthenticated 401
    ├── Refused                        admission said no; nothing was spent
    │   ├── CapReached 402             VectorsFull, CollectionsFull
    │   ├── Forbidden 403              CustomerDisabled, ProviderNotAllowed, ModelNotAllowed,
    │   │                              RoleTooLow, DeviceRevoked, SeatsFull, CollectionNotAllowed
    │   └── RateLimited 429
    ├── NotFound 404                   UnknownCollection, UnknownDocument
    ├── MethodNotAllowed 405
    ├── Conflict 409                   UnpricedModel, ModelMismatch, CollectionBusy
    ├── Unavailable 503                LaneOff, PluginFailed, DatabaseAway (DatabaseBusy, StatementTooSlow),
    │                                  Overloaded, Stopping
    ├── UpstreamError 502              the vendor failed us
    │   ├── UpstreamRejected 422       the vendor calls the request itself wrong: ContextTooLong, ContentRefused,
    │   │   │                          ParameterRefused, ImageRefused
    │   │   └── ModelGone 404          the vendor no longer has the model
    │   ├── UpstreamBusy 503           overloaded; 429 where it is the vendor's rate limit; retry later
    │   └── UpstreamTimeout 504
    ├── TicketClosed                   a plugin used a wire after its call had been settled (a bug of the plugin)
    └── PluginError                    a plugin cannot be loaded (start only)

Vendor text, SQL, secrets and other people's ids never reach a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class KaixuError(Exception):
    """Anything a client may be told, with its HTTP status and its code; `field` is the one that is wrong, if one is."""

    status = 500
    code = "INTERNAL"

    #: Numbers that belong to it, shown beside the message under these names.
    figures: Mapping[str, int] = {}

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retry_after_s: int | None = None,
        code: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.field = field


class Invalid(KaixuError):
    """The request cannot be read, or names something that does not exist."""

    status = 400
    code = "BAD_REQUEST"


class UnknownModel(Invalid):
    """No lane answers for this provider or model."""

    code = "UNKNOWN_MODEL"


class InstallIdRequired(Invalid):
    """The key works only together with a device's install id."""

    code = "INSTALL_ID_REQUIRED"


class Unsupported(Invalid):
    """The model's lane cannot do what `field` asks for; nothing is dropped in silence."""

    code = "UNSUPPORTED_FIELD"

    def __init__(self, field: str, why: str = "this model cannot do it", *, hint: str | None = None) -> None:
        hint = hint or f"Leave `{field}` out, or choose another model."
        super().__init__(f"`{field}`: {why}", hint=hint, field=field)
        self.why = why


class Unprocessable(Invalid):
    """Well-formed, but a field holds a value that cannot be served."""

    status = 422
    code = "INVALID_FIELD"


class FilterTooLarge(Unprocessable):
    """A filter would have to compare more than a search may."""

    code = "FILTER_TOO_LARGE"


class SearchTooSlow(Unprocessable):
    """The database did not finish a search in the time that one may take."""

    code = "SEARCH_TOO_SLOW"


class TooLarge(Invalid):
    """The body, or a part of it, is over its limit."""

    status = 413
    code = "TOO_LARGE"


class UnsupportedEncoding(Invalid):
    """The body comes in a `content-encoding` that is not taken."""

    status = 415
    code = "UNSUPPORTED_ENCODING"


class BodyTimeout(Invalid):
    """The body did not arrive in time."""

    status = 408
    code = "BODY_TIMEOUT"

    def __init__(self) -> None:
        super().__init__("the body did not arrive in time", hint="Send it again.")


class Unauthenticated(KaixuError):
    """No credential, an unknown one, or one that has been revoked."""

    status = 401
    code = "UNAUTHENTICATED"


class Refused(KaixuError):
    """Admission said no. Nothing was spent and nothing was counted."""


class CapReached(Refused):
    """The call could cost more than what is left this month."""

    status = 402
    code = "CAP_REACHED"


class Forbidden(Refused):
    """The credential is known, but may not do this."""

    status = 403
    code = "FORBIDDEN"


class CustomerDisabled(Forbidden):
    """The operator has switched the customer off."""

    code = "CUSTOMER_DISABLED"


class ProviderNotAllowed(Forbidden):
    """The allowlist of the key or of its customer leaves this provider out."""

    code = "PROVIDER_NOT_ALLOWED"


class ModelNotAllowed(Forbidden):
    """The allowlist of the key or of its customer leaves this model out."""

    code = "MODEL_NOT_ALLOWED"


class RoleTooLow(Forbidden):
    """The operation asks for a higher role than the key has."""

    code = "ROLE_TOO_LOW"


class DeviceRevoked(Forbidden):
    """This device has been shut out."""

    code = "DEVICE_REVOKED"


class CollectionNotAllowed(Forbidden):
    """The key is limited to other collections."""

    code = "COLLECTION_NOT_ALLOWED"


class SeatsFull(Forbidden):
    """Every device seat of the key is taken."""

    code = "SEATS_FULL"


class VectorsFull(CapReached):
    """The customer's collections hold as many vectors as they may."""

    code = "VECTORS_FULL"


class CollectionsFull(CapReached):
    """The customer has as many collections as it may."""

    code = "COLLECTIONS_FULL"


class RateLimited(Refused):
    """Too many requests in the last minute or day."""

    status = 429
    code = "RATE_LIMITED"


class NotFound(KaixuError):
    """There is nothing under this name or id."""

    status = 404
    code = "NOT_FOUND"


class UnknownCollection(NotFound):
    """The customer has no collection of this name, or none that this key may see."""

    code = "UNKNOWN_COLLECTION"


class UnknownDocument(NotFound):
    """The collection has no document of this id."""

    code = "UNKNOWN_DOCUMENT"


class MethodNotAllowed(KaixuError):
    """The path exists, but not with this method."""

    status = 405
    code = "METHOD_NOT_ALLOWED"


class Conflict(KaixuError):
    """The request contradicts what is there."""

    status = 409
    code = "CONFLICT"


class ModelMismatch(Conflict):
    """A collection holds vectors of one model and of one length only."""

    code = "MODEL_MISMATCH"


class CollectionBusy(Conflict):
    """The collection is on its way to another model."""

    code = "COLLECTION_BUSY"


class UnpricedModel(Conflict):
    """The model has no price, so nothing may be spent on it."""

    code = "UNPRICED_MODEL"


class Unavailable(KaixuError):
    """Not now: a part of the gateway is away."""

    status = 503
    code = "UNAVAILABLE"


class LaneOff(Unavailable):
    """The lane is declared but switched off, for example because its credential is missing."""

    code = "LANE_OFF"


class PluginFailed(Unavailable):
    """The plugin behind this lane or operation did not load."""

    code = "PLUGIN_FAILED"


class DatabaseAway(Unavailable):
    """The database does not answer; calls in flight finish, new ones wait outside."""

    code = "DATABASE_AWAY"


class DatabaseBusy(DatabaseAway):
    """The database is there, but somebody holds the account's lock for too long."""

    code = "DATABASE_BUSY"


class StatementTooSlow(DatabaseAway):
    """The database is there, but gave a statement up that took too long."""

    code = "DATABASE_TOO_SLOW"


class Overloaded(Unavailable):
    """As many calls are in flight as the gateway takes."""

    code = "OVERLOADED"


class Stopping(Unavailable):
    """The gateway is shutting down."""

    code = "STOPPING"


class UpstreamError(KaixuError):
    """The vendor failed: refused the connection, broke off, or answered nonsense."""

    status = 502
    code = "UPSTREAM_ERROR"

    #: What the vendor said, for the operator only: its status, what that means (see `refusal_reasons.Reason`), and its
    #: own words, bounded and without secrets.
    upstream_status: int | None = None
    reason: str | None = None
    vendor_words: str | None = None

    #: Whether the lane has another key that may be accepted where this one was not.
    another_key: bool = False


class UpstreamRejected(UpstreamError):
    """The vendor calls the request itself wrong; sending it again will not help."""

    status = 422
    code = "UPSTREAM_REJECTED"


class ContextTooLong(UpstreamRejected):
    """The request, or it and the answer that it asks for, is longer than the model can read.

    `figures` holds those of `limit_tokens`, `input_tokens` and `max_tokens` that are known.
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
    """The vendor's rules on content refuse the request."""

    code = "CONTENT_REFUSED"


class ParameterRefused(UpstreamRejected):
    """The vendor's model does not know a field of the request, or not with this value."""

    code = "PARAMETER_REFUSED"


class ImageRefused(UpstreamRejected):
    """The vendor cannot read an image of the request, or finds it too large."""

    code = "IMAGE_REFUSED"


class ModelGone(UpstreamRejected):
    """The vendor does not have the model: it was switched off, or never was there."""

    status = 404
    code = "MODEL_GONE"


class UpstreamBusy(UpstreamError):
    """The vendor is overloaded, or over its own limit; an instance of the latter has status 429.

    `wait_told`: whether `retry_after_s` is the vendor's own figure.
    """

    status = 503
    code = "UPSTREAM_BUSY"
    wait_told: bool = True


class UpstreamTimeout(UpstreamError):
    """The vendor did not answer in time."""

    status = 504
    code = "UPSTREAM_TIMEOUT"


class TicketClosed(KaixuError):
    """The call had been settled; what it lent is no longer there."""

    code = "TICKET_CLOSED"


class PluginError(Exception):
    """A plugin cannot be loaded or registered. Raised at start only; names the plugin."""
