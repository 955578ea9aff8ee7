"""The error tree. The class sets the HTTP status and the code; the message names the thing; the hint says what to do.

    KaixuError
    ├── Invalid 400                    the request cannot be read, or names something unknown
    │   ├── BadSignature               the signature of a webhook is missing or wrong
    │   ├── UnknownModel               no lane serves this provider or model
    │   ├── InstallIdRequired          the key needs a device's install id
    │   ├── Unsupported                the model cannot do what a field asks for
    │   ├── Unprocessable 422          well-formed, but the value of a field is not possible
    │   │                              FilterTooLarge, SearchTooSlow
    │   ├── TooLarge 413          BlobQuota
    │   ├── LengthRequired 411
    │   ├── DigestMismatch
    │   ├── UnsupportedEncoding 415
    │   └── BodyTimeout 408
    ├── Unauthenticated 401            KeyExpired
    ├── Refused                        admission refused the call; nothing was spent
    │   ├── CapReached 402             VectorsFull, CollectionsFull
    │   ├── Forbidden 403              CustomerDisabled, ProviderNotAllowed, ModelNotAllowed,
    │   │                              RoleTooLow, DeviceRevoked, SeatsFull, CollectionNotAllowed
    │   └── RateLimited 429
    ├── NotFound 404                   UnknownCollection, UnknownDocument
    ├── MethodNotAllowed 405
    ├── Conflict 409                   UnpricedModel, ModelMismatch, CollectionBusy
    ├── Unavailable 503                LaneOff, PluginFailed, DatabaseAway (DatabaseBusy, StatementTooSlow),
    │                                  Overloaded, Stopping, NotConfigured 501
    ├── UpstreamError 502              the vendor failed
    │   ├── UpstreamRejected 422       the vendor refuses the request itself: ContextTooLong, ContentRefused,
    │   │   │                          ParameterRefused, ImageRefused
    │   │   └── ModelGone 404          the vendor does not have the model
    │   ├── UpstreamBusy 503           overloaded; 429 for the vendor's rate limit; retry later
    │   ├── UpstreamTimeout 504
    │   └── HostNotDeclared            an integration may not send there; nothing was sent
    ├── Failure                        an integration's own error, with a status and a code of its own
    ├── TicketClosed                   a plugin used its wire after the call was settled (a bug in the plugin)
    └── PluginError                    a plugin cannot be loaded or registered (at start only)

One file for each family: `request`, `refused`, `unavailable`, `upstream`; the root is in `base`.
A message never contains a vendor's text, SQL, a secret or another customer's id.
"""

from __future__ import annotations

from kaixu.plugin.errors.base import KaixuError, PluginError, TicketClosed
from kaixu.plugin.errors.failure import Failure
from kaixu.plugin.errors.refused import (
    CapReached,
    CollectionNotAllowed,
    CollectionsFull,
    CustomerDisabled,
    DeviceRevoked,
    Forbidden,
    ModelNotAllowed,
    ProviderNotAllowed,
    RateLimited,
    Refused,
    RoleTooLow,
    SeatsFull,
    VectorsFull,
)
from kaixu.plugin.errors.request import (
    BadSignature,
    BlobQuota,
    BodyTimeout,
    CollectionBusy,
    Conflict,
    DigestMismatch,
    FilterTooLarge,
    InstallIdRequired,
    Invalid,
    KeyExpired,
    LengthRequired,
    MethodNotAllowed,
    ModelMismatch,
    NotFound,
    SearchTooSlow,
    TooLarge,
    Unauthenticated,
    UnknownCollection,
    UnknownDocument,
    UnknownModel,
    UnpricedModel,
    Unprocessable,
    Unsupported,
    UnsupportedEncoding,
)
from kaixu.plugin.errors.unavailable import (
    DatabaseAway,
    DatabaseBusy,
    LaneOff,
    NotConfigured,
    Overloaded,
    PluginFailed,
    StatementTooSlow,
    Stopping,
    Unavailable,
)
from kaixu.plugin.errors.upstream import (
    ContentRefused,
    ContextTooLong,
    HostNotDeclared,
    ImageRefused,
    ModelGone,
    ParameterRefused,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)

__all__ = [
    "BadSignature",
    "BlobQuota",
    "BodyTimeout",
    "CapReached",
    "CollectionBusy",
    "CollectionNotAllowed",
    "CollectionsFull",
    "Conflict",
    "ContentRefused",
    "ContextTooLong",
    "CustomerDisabled",
    "DatabaseAway",
    "DatabaseBusy",
    "DeviceRevoked",
    "DigestMismatch",
    "Failure",
    "FilterTooLarge",
    "Forbidden",
    "HostNotDeclared",
    "ImageRefused",
    "InstallIdRequired",
    "Invalid",
    "KaixuError",
    "KeyExpired",
    "LaneOff",
    "LengthRequired",
    "MethodNotAllowed",
    "ModelGone",
    "ModelMismatch",
    "ModelNotAllowed",
    "NotConfigured",
    "NotFound",
    "Overloaded",
    "ParameterRefused",
    "PluginError",
    "PluginFailed",
    "ProviderNotAllowed",
    "RateLimited",
    "Refused",
    "RoleTooLow",
    "SearchTooSlow",
    "SeatsFull",
    "StatementTooSlow",
    "Stopping",
    "TicketClosed",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownCollection",
    "UnknownDocument",
    "UnknownModel",
    "UnpricedModel",
    "Unprocessable",
    "Unsupported",
    "UnsupportedEncoding",
    "UpstreamBusy",
    "UpstreamError",
    "UpstreamRejected",
    "UpstreamTimeout",
    "VectorsFull",
]
