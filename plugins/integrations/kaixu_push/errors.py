"""The errors of pushes, as their clients know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.plugin import BookFacts, Failure


def bad(message: str, code: str = "BAD_REQUEST") -> Failure:
    """A request that cannot be done as it is."""
    return Failure(400, code, message)


def no_push(message: str = "Push not found") -> Failure:
    """There is no such push of this customer; another customer's is none, too."""
    return Failure(404, "PUSH_NOT_FOUND", message)


def refused_file(outcome: str, path: str, sha1: str, expected: str | None, parts: int | None = None) -> Failure:
    """Why a file of a push is not taken."""
    match outcome:
        case "NO_PUSH":
            return no_push()
        case "PATH_NOT_IN_MANIFEST":
            return conflict(outcome, "Path is not in the manifest of this push", {"path": path})
        case "SHA1_NOT_MATCHING_MANIFEST":
            return conflict(
                outcome,
                "The manifest has another SHA1 for this path",
                {"path": path, "expected": expected, "got": sha1},
            )
        case "NOT_REQUIRED":
            return conflict(outcome, "Netlify does not require this file", {"sha1": sha1, "path": path})
        case "NOT_PREPARED":
            return conflict(
                outcome, "Netlify has not said yet which files it requires", hint="Ask push-status until it has."
            )
        case "BUSY":
            return conflict(
                "FILE_BUSY",
                "This file is being sent to Netlify",
                {"sha1": sha1, "path": path},
                hint="push-file-status tells when it is done.",
                retry_after_s=2,
            )
        case "PARTS_CHANGED":
            return conflict(
                outcome,
                "The first part of this file named another number of parts",
                {"expected_parts": parts},
                hint="Send all parts with the same number.",
            )
    return conflict("PUSH_ENDED", "This push has ended", hint="Begin a new one.")


def conflict(
    code: str,
    message: str,
    fields: Mapping[str, Any] | None = None,
    *,
    hint: str | None = None,
    retry_after_s: int | None = None,
) -> Failure:
    """The state of the push does not allow it."""
    return Failure(409, code, message, hint=hint, retry_after_s=retry_after_s, fields=fields)


def cap_reached(facts: BookFacts) -> Failure:
    """The book's own refusal, with what was spent and is held."""
    month = facts.month
    deploys = next((one for one in month.lines if one.charge == "deploy"), None)
    gigabytes = next((one for one in month.lines if one.charge == "gib"), None)
    ready, held = (deploys.count, deploys.held_count) if deploys else (0, 0)
    projected = month.spent_nusd + month.held_nusd + facts.asked_nusd
    return Failure(
        402,
        "PUSH_CAP_REACHED",
        "The monthly cap for pushes is reached",
        hint="Ask your operator for a higher cap, or wait for the next month (UTC).",
        fields={
            "month": f"{month.month:%Y-%m}",
            "pricing_version": version_number(month.pricing_version),
            "monthly_cap_cents": cents(facts.cap_nusd),
            "projected_total_cents": -(-projected // 10**7),
            "current": {
                "deploys_init": ready + held,
                "deploys_ready": ready,
                "deploys_reserved": held,
                "bytes_uploaded": gigabytes.units if gigabytes else 0,
                "bytes_staged": gigabytes.held_units if gigabytes else 0,
            },
            "proposed": {
                "extra_deploys": 1 if facts.charge == "deploy" else 0,
                "extra_bytes": facts.units if facts.charge == "gib" else 0,
            },
        },
    )


def version_number(name: str) -> int | str:
    """A price list as clients know it: the first one is 1, and a name of digits is a number."""
    if name == "default":
        return 1
    return int(name) if name.isascii() and name.isdigit() and len(name) < 10 else name


def cents(nusd: int) -> int:
    """Whole cents, rounded half up."""
    return (nusd + 5 * 10**6) // 10**7
