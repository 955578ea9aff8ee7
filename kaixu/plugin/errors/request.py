"""Errors of the request itself: it cannot be read, names nothing that exists, or contradicts what is stored."""

from __future__ import annotations

from kaixu.plugin.errors.base import KaixuError


class Invalid(KaixuError):
    """The request cannot be read, or names something that does not exist."""

    status = 400
    code = "BAD_REQUEST"


class BadSignature(Invalid):
    """The signature of a webhook is missing, wrong or too old."""

    code = "BAD_SIGNATURE"


class UnknownModel(Invalid):
    """No lane serves this provider or model."""

    code = "UNKNOWN_MODEL"


class InstallIdRequired(Invalid):
    """The key works only with a device's install id."""

    code = "INSTALL_ID_REQUIRED"


class Unsupported(Invalid):
    """The model cannot do what `field` asks for. Fields are refused, never dropped in silence."""

    code = "UNSUPPORTED_FIELD"

    def __init__(self, field: str, why: str = "this model cannot do it", *, hint: str | None = None) -> None:
        hint = hint or f"Leave `{field}` out, or choose another model."
        super().__init__(f"`{field}`: {why}", hint=hint, field=field)
        self.why = why


class Unprocessable(Invalid):
    """The request is well-formed, but the value of a field cannot be served."""

    status = 422
    code = "INVALID_FIELD"


class FilterTooLarge(Unprocessable):
    """A search filter is too complex: it needs more comparisons than one search may make."""

    code = "FILTER_TOO_LARGE"


class SearchTooSlow(Unprocessable):
    """The database did not finish a search within its time limit."""

    code = "SEARCH_TOO_SLOW"


class TooLarge(Invalid):
    """The body, or a part of it, is over its limit."""

    status = 413
    code = "TOO_LARGE"


class BlobQuota(TooLarge):
    """The customer's stored files leave no room for this one."""

    code = "BLOB_QUOTA"


class LengthRequired(Invalid):
    """An upload must announce its length."""

    status = 411
    code = "LENGTH_REQUIRED"


class DigestMismatch(Invalid):
    """The body's digest is not the one that the client has named."""

    code = "DIGEST_MISMATCH"

    def __init__(self, expected: str, got: str) -> None:
        super().__init__("the digest of the body is not the one that was announced", hint="Send it again.")
        self.figures = {"expected": expected, "got": got}


class UnsupportedEncoding(Invalid):
    """The `content-encoding` of the body is not supported."""

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


class KeyExpired(Unauthenticated):
    """The key's `expires_at` has passed."""

    code = "KEY_EXPIRED"

    def __init__(self) -> None:
        super().__init__("this key has expired", hint="Ask your operator for a new key, or for a later expiry.")


class NotFound(KaixuError):
    """Nothing exists under this name, id or path."""

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
    """The request contradicts the current state."""

    status = 409
    code = "CONFLICT"


class ModelMismatch(Conflict):
    """A collection holds vectors of one model and one length only."""

    code = "MODEL_MISMATCH"


class CollectionBusy(Conflict):
    """The collection is being re-embedded with another model."""

    code = "COLLECTION_BUSY"


class UnpricedModel(Conflict):
    """The model has no price, so calls to it are refused."""

    code = "UNPRICED_MODEL"
