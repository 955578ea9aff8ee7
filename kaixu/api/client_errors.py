"""`client-error-report`: store a client's error as a monitor event. It needs no key, so sizes are limited."""

from __future__ import annotations

import hmac
from typing import Any

import msgspec

from kaixu.config.tags import printable
from kaixu.edge.fields import json_object
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.throttle import Throttle
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.errors import Forbidden, TooLarge

MAX_CHARACTERS = 250_000
MAX_MESSAGE, MAX_STACK, MAX_NAME, MAX_EXTRA = 8000, 20_000, 200, 20_000
ENCODER = msgspec.json.Encoder()


def client_error_routes(services: Services) -> list[Route]:
    """The route of clients' error reports."""
    throttle = Throttle(per_address=30, in_all=600, window_s=60)

    async def report(request: IncomingRequest) -> Reply:
        token = services.settings.client_error_token
        if token is not None:
            given = request.headers.get("x-kaixu-error-token", "")
            if not hmac.compare_digest(given.encode(), token.get_secret_value().encode()):
                raise Forbidden("this gateway accepts reports only with its token", hint="Send x-kaixu-error-token.")
        throttle.require(request.address, "reports")
        if len(request.body.decode("utf-8", "replace")) > MAX_CHARACTERS:
            raise TooLarge(f"a report has at most {MAX_CHARACTERS} characters")
        body = json_object(request.body) if request.body.strip() else {}
        services.monitor.record(monitor_event(body, request))
        return json_reply({"ok": True, "request_id": request.request_id})

    return [
        Route(
            "POST",
            function_paths("client-error-report"),
            report,
            auth="public",
            rate="address",
            max_body_bytes=4 * MAX_CHARACTERS,  # UTF-8 has at most four bytes for a character
        )
    ]


def monitor_event(body: dict[str, Any], request: IncomingRequest) -> MonitorEvent:
    """The report as a monitor event, with every value cut to its maximum size."""
    error = body.get("error", body.get("err"))
    error = error if isinstance(error, dict) else {"message": error}
    client = body.get("client")
    extra = {
        "client": bounded_json(client if isinstance(client, dict) else body),
        "context": bounded_json(body.get("context")),
        "raw": bounded_json(body.get("raw")),
        "stack": bounded_text(error.get("stack"), MAX_STACK),
    }
    return MonitorEvent(
        kind="client_error",
        level="error",
        request_id=request.request_id,
        function_name="client-error-report",
        method=request.method,
        path=request.path[:500],
        user_agent=printable(request.headers.get("user-agent", ""), 240),
        http_status=200,
        error_code=bounded_text(error.get("name"), MAX_NAME),
        error_message=bounded_text(error.get("message"), MAX_MESSAGE),
        extra={name: value for name, value in extra.items() if value is not None},
    )


def bounded_text(value: Any, most: int) -> str | None:
    """A value as text of at most `most` characters; None for None."""
    if value is None:
        return None
    text = value if isinstance(value, str) else encode_json(value)
    return text[:most].replace("\x00", "").encode("utf-8", "replace").decode()


def bounded_json(value: Any) -> Any:
    """A value, or the beginning of its JSON if it is too large."""
    if value is None:
        return None
    text = encode_json(value)
    return value if len(text) <= MAX_EXTRA else {"truncated": True, "preview": text[:MAX_EXTRA]}


def encode_json(value: Any) -> str:
    """A value as JSON, or a note that it is nested too deeply."""
    try:
        return ENCODER.encode(value).decode()
    except RecursionError:
        return '"nested too deeply"'
