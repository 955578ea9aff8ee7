"""The client's error for each refusal code of admission."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from kaixu.config.price import usd
from kaixu.plugin import errors
from kaixu.plugin.errors import KaixuError
from kaixu.store.admission import Ask, Verdict

from .month import Figures, figures_of

#: Characters of an end user's name in a message.
MOST_SHOWN = 80


class Refusal(Exception):
    """Admission refused: the client's error, with the month's figures and the rate for the reply."""

    def __init__(self, error: KaixuError, verdict: Verdict, figures: Figures | None) -> None:
        super().__init__(error.message)
        self.error = error
        self.verdict = verdict
        self.figures = figures


def refusal_of(verdict: Verdict, ask: Ask) -> Refusal:
    """The refusal for a verdict."""
    code = verdict.refused or ""
    figures = None if verdict.customer_cap_nusd is None else figures_of(verdict)
    return Refusal(ERRORS[code](verdict, ask), verdict, figures)


def cap_reached(verdict: Verdict, ask: Ask) -> KaixuError:
    """Names the cap, what is spent, held and left of it, and what the call could have cost."""
    if verdict.bound_limit is not None:
        return further_cap_reached(verdict, ask)
    figures = figures_of(verdict)
    if verdict.scope == "key":
        who, cap = f"key …{verdict.key_last4}", figures.key_cap_nusd or 0
        spent, held = figures.key_spent_nusd, figures.key_held_nusd
    elif verdict.scope == "debt":
        return debt_refusal(verdict)
    elif verdict.scope == "end_user":
        return end_user_cap_reached(verdict, ask)
    else:
        who, cap = f"the account of key …{verdict.key_last4}", figures.customer_cap_nusd
        spent, held = figures.customer_spent_nusd, figures.customer_held_nusd
    left = max(0, cap - spent - held)
    return errors.CapReached(
        f"Monthly cap reached: {who} has ${usd(left)} left of ${usd(cap)} "
        f"(${usd(spent)} spent, ${usd(held)} held by calls in flight), this call could cost ${usd(ask.least_nusd)}",
        hint=hint_for_cap(left, held, ask.least_nusd, figures.month),
    )


def debt_refusal(verdict: Verdict) -> KaixuError:
    """Credit that the account has used was taken back, and not paid since."""
    return errors.CapReached(
        f"The account of key …{verdict.key_last4} owes credit that was taken back: only free calls are possible",
        hint="Top up the account, or ask your operator.",
    )


def end_user_cap_reached(verdict: Verdict, ask: Ask) -> KaixuError:
    """Names the end user of the request, and the figures of its month."""
    cap, spent = verdict.end_user_cap_nusd or 0, verdict.end_user_spent_nusd or 0
    held = verdict.end_user_held_nusd or 0
    left = max(0, cap - spent - held)
    shown = (ask.end_user or "")[:MOST_SHOWN]
    return errors.CapReached(
        f"Monthly cap reached: end user `{shown}` has ${usd(left)} left of ${usd(cap)} "
        f"(${usd(spent)} spent, ${usd(held)} held by calls in flight), this call could cost ${usd(ask.least_nusd)}",
        hint=hint_for_cap(left, held, ask.least_nusd, verdict.month),
    )


def further_cap_reached(verdict: Verdict, ask: Ask) -> KaixuError:
    """A day's cap, or the month's cap of a group: see schema/functions/check_limits.sql."""
    cap, spent, held = verdict.bound_limit or 0, verdict.bound_used or 0, verdict.bound_held or 0
    left = max(0, cap - spent - held)
    is_day = verdict.retry_after_s is not None
    hint = hint_for_cap(left, held, ask.least_nusd, verdict.month)
    if is_day:
        hint = hint.rpartition(". ")[0] + ". The next day begins at 00:00 UTC."
    return errors.CapReached(
        f"{'Daily' if is_day else 'Monthly'} cap reached: {subject_of(verdict, ask)} has ${usd(left)} left "
        f"of ${usd(cap)} "
        f"(${usd(spent)} spent, ${usd(held)} held by calls in flight), this call could cost ${usd(ask.least_nusd)}",
        hint=hint,
        retry_after_s=verdict.retry_after_s,
    )


def subject_of(verdict: Verdict, ask: Ask) -> str:
    """Whose limit it is, by the scope's prefix."""
    key = f"key …{verdict.key_last4}"
    match (verdict.scope or "").split("_")[0]:
        case "key":
            return key
        case "model":
            return f"model `{ask.model}` of {key}"
        case "group":
            return f"the group of {key}"
        case "book":
            return f"the book `{ask.book}` of the account of {key}"
        case _:
            return f"the account of {key}"


def hint_for_cap(left_nusd: int, held_nusd: int, least_nusd: int, month: date) -> str:
    """What the client can do about a reached cap; only what would help."""
    ways = []
    if left_nusd > 0:
        ways.append("shorten the request or lower max_tokens")
    if held_nusd > 0 and left_nusd + held_nusd >= least_nusd:
        ways.append("wait for calls in flight to end")
    ways.append("ask your operator for a higher cap")
    after = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    text = ", or ".join(ways)
    return f"{text[0].upper()}{text[1:]}. The next month begins on {after} (UTC)."


def rate_limited(verdict: Verdict, ask: Ask) -> KaixuError:
    """Names the window that is full."""
    if verdict.bound_limit is not None:
        return further_rate_limited(verdict, ask)
    return errors.RateLimited(
        f"rate limit reached: {verdict.rate_limit} requests a {verdict.scope}",
        hint=f"Try again in {verdict.retry_after_s} s.",
        retry_after_s=verdict.retry_after_s,
    )


def further_rate_limited(verdict: Verdict, ask: Ask) -> KaixuError:
    """Tokens a minute, or the requests a minute of a model or a group: see schema/functions/check_limits.sql."""
    limit, used, held = verdict.bound_limit or 0, verdict.bound_used or 0, verdict.bound_held or 0
    whose = subject_of(verdict, ask)
    if (verdict.scope or "").endswith("minute"):
        message = f"rate limit reached: {limit} requests a minute of {whose}"
    else:
        message = (
            f"rate limit reached: {limit} tokens a minute of {whose} ({used} used, {held} held by calls in flight), "
            f"this call could use {ask.most_tokens}"
        )
    if verdict.retry_after_s is not None:
        hint = f"Try again in {verdict.retry_after_s} s."
    else:
        hint = "The request alone is larger than the limit: shorten it, or ask your operator for a higher limit."
    return errors.RateLimited(message, hint=hint, retry_after_s=verdict.retry_after_s)


ERRORS: dict[str, Callable[[Verdict, Ask], KaixuError]] = {
    "UNAUTHENTICATED": lambda verdict, ask: errors.Unauthenticated("Invalid or revoked key"),
    "KEY_REVOKED": lambda verdict, ask: errors.Unauthenticated("Invalid or revoked key"),
    "KEY_EXPIRED": lambda verdict, ask: errors.KeyExpired(),
    "CUSTOMER_DISABLED": lambda verdict, ask: errors.CustomerDisabled(
        "this account is disabled", hint="Ask your operator."
    ),
    "ROLE_TOO_LOW": lambda verdict, ask: errors.RoleTooLow(f"key …{verdict.key_last4} may not do this"),
    "PROVIDER_NOT_ALLOWED": lambda verdict, ask: errors.ProviderNotAllowed(
        f"provider `{ask.provider}` is not allowed for key …{verdict.key_last4}"
    ),
    "MODEL_NOT_ALLOWED": lambda verdict, ask: errors.ModelNotAllowed(
        f"model `{ask.model}` of provider `{ask.provider}` is not allowed for key …{verdict.key_last4}"
    ),
    "INSTALL_ID_REQUIRED": lambda verdict, ask: errors.InstallIdRequired(
        "this key needs an install id", hint="Send the header x-kaixu-install-id."
    ),
    "DEVICE_REVOKED": lambda verdict, ask: errors.DeviceRevoked("this device has been revoked"),
    "SEATS_FULL": lambda verdict, ask: errors.SeatsFull(
        f"all {verdict.scope} device seats of key …{verdict.key_last4} are taken",
        hint="Revoke a device that is no longer used.",
    ),
    "RATE_LIMITED": rate_limited,
    "CAP_REACHED": cap_reached,
}
