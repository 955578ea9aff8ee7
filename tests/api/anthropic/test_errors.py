"""Errors in Anthropic's format."""

from __future__ import annotations

import pytest

from kaixu.edge.anthropic_errors import anthropic_error

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}


@pytest.mark.parametrize(("status", "kind"), TYPES.items(), ids=map(str, TYPES))
def test_the_type_follows_the_status(status: int, kind: str) -> None:
    body, kept = anthropic_error({"error": "no", "code": "NO", "request_id": "r"}, status)
    assert (body["error"]["type"], kept) == (kind, status)


def test_other_fields_of_the_error_body_stay() -> None:
    envelope = {"error": "no", "code": "CAP_REACHED", "request_id": "r", "hint": "Wait.", "month": {"spent": 1}}
    assert anthropic_error(envelope, 402)[0] == {
        "type": "error",
        "error": {"type": "billing_error", "message": "no. Wait.", "details": {"error_code": "cap_reached"}},
        "code": "CAP_REACHED",
        "request_id": "r",
        "hint": "Wait.",
        "month": {"spent": 1},
    }


def test_a_wrong_field_is_a_bad_request() -> None:
    body, status = anthropic_error({"error": "no", "code": "INVALID_FIELD", "request_id": "r", "field": "top_p"}, 422)
    assert (status, body["error"]["type"], body["field"]) == (400, "invalid_request_error", "top_p")
