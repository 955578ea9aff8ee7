"""Errors as OpenAI's clients read them: `{"error": {message, type, param, code}}`."""

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

#: OpenAI's codes for the errors that its clients act on; any other code is ours, in lower case.
CODES = {
    "CONTEXT_TOO_LONG": "context_length_exceeded",
    "CONTENT_REFUSED": "content_filter",
    "PARAMETER_REFUSED": "unsupported_parameter",
    "IMAGE_REFUSED": "invalid_image",
    "MODEL_GONE": "model_not_found",
}
#: The envelope's fields that OpenAI's shape replaces; the others are kept.
REPLACED = frozenset({"error", "code", "field"})


def openai_error(body: dict[str, Any], status: int) -> tuple[dict[str, Any], int]:
    """The envelope in OpenAI's shape; fields that only the envelope has (`hint`, `month`, …) stay beside it.

    OpenAI answers 400 to a field that is wrong, where the native routes answer 422.
    """
    status = 400 if status == 422 else status
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    message = body["error"]
    if hint := body.get("hint"):
        message = f"{message}. {hint}"
    if kind == "not_found_error" and body["code"] == "MODEL_GONE":
        kind = "invalid_request_error"  # OpenAI's own type beside its `model_not_found`
    error = {
        "message": message,
        "type": kind,
        "param": body.get("field"),
        "code": CODES.get(body["code"], body["code"].lower()),
    }
    rest = {name: value for name, value in body.items() if name not in REPLACED}
    return {"error": error} | rest, status
