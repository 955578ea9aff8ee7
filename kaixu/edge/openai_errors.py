"""Errors in OpenAI's format: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from typing import Any

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}

#: OpenAI's codes for errors that its clients handle; all other codes are ours, in lower case.
CODES = {
    "CONTEXT_TOO_LONG": "context_length_exceeded",
    "CONTENT_REFUSED": "content_filter",
    "PARAMETER_REFUSED": "unsupported_parameter",
    "IMAGE_REFUSED": "invalid_image",
    "MODEL_GONE": "model_not_found",
}
#: Fields of the error body that OpenAI's format replaces; the others stay.
REPLACED = frozenset({"error", "code", "field"})


def openai_error(body: dict[str, Any], status: int) -> tuple[dict[str, Any], int]:
    """Convert an error body to OpenAI's format; other fields of the body (`hint`, `month`, …) stay.

    OpenAI answers 400 to an invalid field; the native routes answer 422.
    """
    status = 400 if status == 422 else status
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    message = body["error"]
    if hint := body.get("hint"):
        message = f"{message}. {hint}"
    if kind == "not_found_error" and body["code"] == "MODEL_GONE":
        kind = "invalid_request_error"  # the type that OpenAI uses with `model_not_found`
    error = {
        "message": message,
        "type": kind,
        "param": body.get("field"),
        "code": CODES.get(body["code"], body["code"].lower()),
    }
    rest = {name: value for name, value in body.items() if name not in REPLACED}
    return {"error": error} | rest, status
