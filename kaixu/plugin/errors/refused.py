"""Refusals of admission. The caller is known; a limit or a permission stops the call before anything is spent."""

from __future__ import annotations

from kaixu.plugin.errors.base import KaixuError


class Refused(KaixuError):
    """Admission refused the call. Nothing was spent and nothing was counted."""


class CapReached(Refused):
    """The call could cost more than what is left of a month's or a day's cap."""

    status = 402
    code = "CAP_REACHED"


class HoldRefused(CapReached):
    """A cap has no room for what a transaction of an integration wants to hold; the transaction was rolled back.

    `needs_nusd`: what would be held more, in the book `needs_book`. An integration's book can give it a status, a code
    and a message of its own.
    """

    code = "HOLD_REFUSED"
    needs_nusd = 0
    needs_book: str | None = None


class Forbidden(Refused):
    """The credential is known, but may not do this."""

    status = 403
    code = "FORBIDDEN"


class CustomerDisabled(Forbidden):
    """The operator has switched the customer off."""

    code = "CUSTOMER_DISABLED"


class ProviderNotAllowed(Forbidden):
    """The allowlist of the key or of its customer does not contain this provider."""

    code = "PROVIDER_NOT_ALLOWED"


class ModelNotAllowed(Forbidden):
    """The allowlist of the key or of its customer does not contain this model."""

    code = "MODEL_NOT_ALLOWED"


class RoleTooLow(Forbidden):
    """The operation requires a higher role than the key has."""

    code = "ROLE_TOO_LOW"


class DeviceRevoked(Forbidden):
    """This device was revoked."""

    code = "DEVICE_REVOKED"


class CollectionNotAllowed(Forbidden):
    """The key is limited to other collections."""

    code = "COLLECTION_NOT_ALLOWED"


class SeatsFull(Forbidden):
    """All device seats of the key are taken."""

    code = "SEATS_FULL"


class VectorsFull(CapReached):
    """The customer's collections hold the maximum number of vectors."""

    code = "VECTORS_FULL"


class CollectionsFull(CapReached):
    """The customer has the maximum number of collections."""

    code = "COLLECTIONS_FULL"


class RateLimited(Refused):
    """Too many requests in the last minute or day, or too many tokens in the last minute."""

    status = 429
    code = "RATE_LIMITED"
