"""Errors in Anthropic's format: `{"type": "error", "error": {type, message, details}, "request_id"}`."""

from __future__ import annotations

from typing import Any

TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def anthropic_error(body: dict[str, Any], status: int) -> tuple[dict[str, Any], int]:
    """Convert an error body to Anthropic's format; other fields of the body (`code`, `hint`, `month`, …) stay.

    Anthropic answers 400 to an invalid field; the native routes answer 422.
    """
    status = 400 if status == 422 else status
    kind = TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    message = body["error"]
    if body["code"] == "CONTEXT_TOO_LONG":
        message = too_long_message(body)
    elif hint := body.get("hint"):
        message = f"{message}. {hint}"
    # The SDK's `error_code`.
    error = {"type": kind, "message": message, "details": {"error_code": body["code"].lower()}}
    return {"type": "error"} | body | {"error": error}, status


def too_long_message(body: dict[str, Any]) -> str:
    """Anthropic's own message for a request that is too long: clients parse its numbers, then compact."""
    limit, inputs, output = (body.get(name) for name in ("limit_tokens", "input_tokens", "max_tokens"))
    if limit and inputs and output and inputs <= limit:
        return (
            f"input length and `max_tokens` exceed context limit: {inputs} + {output} > {limit}, "
            "decrease input length or `max_tokens` and try again"
        )
    if limit and inputs:
        return f"prompt is too long: {inputs} tokens > {limit} maximum"
    return "prompt is too long" + (
        f": more than the model's {limit} tokens" if limit else ": more than the model accepts"
    )
