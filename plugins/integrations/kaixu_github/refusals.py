"""Why a push or a call of GitHub fails, as errors for clients."""

from __future__ import annotations

import time
from collections.abc import Mapping

from kaixu.plugin import Failure, UpstreamError, retry_after

#: The pause where GitHub names none, and the longest that a client is told.
UNTOLD_WAIT_S = 60
LONGEST_WAIT_S = 24 * 3600

NO_TOKEN_HINT = "Connect GitHub, or store a token with github-token."  # noqa: S105


class BadArchive(Failure):
    """A ZIP that is not pushed."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(422, code, message, hint=hint)


class BranchMoved(Exception):
    """The branch is not where it was read any more."""


class GitUnreachable(Exception):
    """There is no git server at the web address, or it cannot be reached; REST may work."""


class RateLimited(Failure):
    """GitHub wants to be left alone for `retry_after_s` seconds."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(
            429,
            "GITHUB_RATE_LIMIT",
            "GitHub's limit for this account is reached",
            hint="Try again later.",
            retry_after_s=wait_s,
        )


def no_token(status: int) -> Failure:
    """There is no token."""
    return Failure(status, "NO_GITHUB_TOKEN", "No GitHub token is stored for this account", hint=NO_TOKEN_HINT)


def unauthorized(*, for_operator: bool = False) -> Failure:
    """GitHub does not take the token any more. Operators' pages log out at a 401, so for them it is another status."""
    return Failure(
        502 if for_operator else 401,
        "GITHUB_UNAUTHORIZED",
        "GitHub does not accept the stored token any more: it was revoked or has expired, and is removed here",
        hint=NO_TOKEN_HINT,
    )


def unreadable() -> UpstreamError:
    """GitHub's answer is not what its description says."""
    return UpstreamError("GitHub's answer cannot be read", hint="Try again later.")


def unavailable(error: UpstreamError) -> Failure:
    """GitHub was not reached, or fails itself."""
    if error.upstream_status is None:
        return Failure(502, "GITHUB_NETWORK", "GitHub cannot be reached", hint="Try again later.")
    return Failure(
        502,
        "GITHUB_TRANSIENT",
        f"GitHub fails at the moment (status {error.upstream_status})",
        hint="Try again later.",
        retry_after_s=wait_of(error.told_wait_s) if error.told_wait_s else None,
    )


def failure_of(status: int, headers: Mapping[str, str], message: str, what: str) -> Failure:
    """The error for an answer that is no success. `message`: GitHub's own words, which decide but are not shown."""
    if (wait_s := limit_of(status, headers, message)) is not None:
        return RateLimited(wait_s)
    if status == 401:
        return unauthorized()
    if status == 404:
        return Failure(
            404,
            "GITHUB_NOT_FOUND",
            f"GitHub does not find {what}, or the token may not see it",
            hint="A private repository needs the scope `repo`; a fine-grained token must list the repository.",
        )
    if status == 409:
        return Failure(409, "GITHUB_CONFLICT", f"GitHub reports a conflict at {what}")
    if status == 403:
        return forbidden(headers, what)
    return Failure(
        status if 400 <= status < 500 else 502,
        "GITHUB_ERROR",
        f"GitHub refuses the request for {what} (status {status})",
    )


def forbidden(headers: Mapping[str, str], what: str) -> Failure:
    """The token may not do this. Of a fine-grained one, GitHub names what is missing."""
    needs = headers.get("x-accepted-github-permissions", "")
    known = needs if needs and all(one.isalnum() or one in "_=,; " for one in needs) else ""
    return Failure(
        403,
        "GITHUB_ERROR",
        f"GitHub forbids the token to use {what}",
        hint=f"It needs the permission {known[:200]}." if known else "Use a token with more permissions.",
    )


def limit_of(status: int, headers: Mapping[str, str], message: str) -> int | None:
    """How many seconds GitHub wants to be left alone, by its primary or a secondary limit; None: it is no limit."""
    if status not in (403, 429):
        return None
    if (told_s := retry_after(headers)) is not None:
        return wait_of(told_s)
    if headers.get("x-ratelimit-remaining", "").strip() == "0":
        reset = headers.get("x-ratelimit-reset", "").strip()
        return wait_of(int(reset) - time.time() if reset.isdecimal() and len(reset) < 12 else UNTOLD_WAIT_S)
    words = message.lower()
    if status == 429 or "rate limit" in words or "abuse detection" in words:
        return UNTOLD_WAIT_S
    return None


def wait_of(seconds: float) -> int:
    """Whole seconds that can be told."""
    return int(min(max(seconds, 1), LONGEST_WAIT_S))


def workflow_scope() -> Failure:
    """The token may not change workflows."""
    return Failure(
        403,
        "GITHUB_WORKFLOW_SCOPE",
        "The token may not change workflows in .github/workflows",
        hint="Use a token with the scope `workflow`, or leave these files out.",
    )
