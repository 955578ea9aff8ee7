"""Remove the secrets that a call has used from what its handler raises."""

from __future__ import annotations

import traceback
from collections.abc import Collection

from kaixu.plugin.errors import KaixuError, UpstreamError
from kaixu.plugin.vendor_words import LEAST_SECRET

REMOVED = "…"


def without(text: str, secrets: Collection[str]) -> str:
    """A text without these secrets; very short ones are not looked for, since that would only spoil the text."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= LEAST_SECRET:
            text = text.replace(secret, REMOVED).replace(repr(secret)[1:-1], REMOVED)
    return text


def without_secrets(error: KaixuError, secrets: Collection[str]) -> None:
    """Remove secrets from an error's message, hint, field and vendor's text; forget its cause, which may have them."""
    if not secrets:
        return
    error.message = without(error.message, secrets)
    error.args = tuple(without(one, secrets) if isinstance(one, str) else one for one in error.args)
    if error.hint is not None:
        error.hint = without(error.hint, secrets)
    if error.field is not None:
        error.field = without(error.field, secrets)
    if isinstance(error, UpstreamError) and error.vendor_words is not None:
        error.vendor_words = without(error.vendor_words, secrets)
    error.__cause__ = None
    error.__suppress_context__ = True


def logged_failure(error: BaseException, secrets: Collection[str]) -> str:
    """An exception with its traceback, for the log."""
    return without("".join(traceback.format_exception(error)), secrets).rstrip()
