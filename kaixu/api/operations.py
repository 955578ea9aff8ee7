"""`POST /v1/<integration>/<operation>`: run the operations of integrations."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kaixu.catalog.catalog import IntegrationState
from kaixu.config.mistakes import did_you_mean
from kaixu.edge.authenticate import read_caller
from kaixu.edge.characters import ESCAPED_NUL, require_whole_characters
from kaixu.edge.fields import ALL_STORED, json_object
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import JSON, Reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.threads import run_in_thread
from kaixu.metering.integrations import admit_operation, run_operation
from kaixu.plugin.errors import Invalid, LaneOff, NotFound, PluginFailed, Unprocessable
from kaixu.plugin.operation import Operation

from .call_replies import call_headers

PREFIX = "/v1/"


def operation_routes(services: Services) -> list[Route]:
    """The route of all operations. A reload may add or remove integrations."""

    async def operate(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        state, operation = find_operation(services, request.parameters)
        body = await run_in_thread(len(request.body), lambda: parse_body(operation, request.body))
        async with admit_operation(services.gate, caller, state, operation, len(request.body)) as ticket:
            reply = await run_operation(services.gate, ticket, state, operation, body)
        return Reply(200, {"content-type": JSON} | call_headers(ticket), reply)

    return [
        Route(
            "POST",
            (f"{PREFIX}<integration>", f"{PREFIX}<integration>/<path:operation>"),
            operate,
            auth="key",
            rate="call",
            exists=lambda parameters: parameters["integration"] in services.catalog.integrations,
        )
    ]


def find_operation(services: Services, parameters: Mapping[str, str]) -> tuple[IntegrationState, Operation]:
    """The operation that a path names. Raises `NotFound`, `LaneOff`, `PluginFailed`."""
    state = services.catalog.integrations.get(parameters["integration"])
    if state is None:  # a reload has removed it meanwhile
        raise NotFound("this integration was removed")
    path = parameters.get("operation")
    name = f"{state.name}.{path.replace('/', '.')}" if path else state.name
    if state.state == "off":
        raise LaneOff(f"integration `{state.name}` is off: {state.reason}", hint="Contact your operator.")
    if state.state == "failed":
        # The reason may contain paths and versions: only operators see it, in the log and in `kaixu plugins`.
        raise PluginFailed(f"integration `{state.name}` is not available: it failed", hint="Contact your operator.")
    if name not in services.catalog.operations:
        known = [one for one in services.catalog.operations if one.startswith(f"{state.name}.")]
        paths = ", ".join(f"{PREFIX}{one.replace('.', '/')}" for one in known[:20])
        suggestion = did_you_mean(name[:80], known)
        raise NotFound(f"there is no operation `{name[:80]}`{suggestion}", hint=f"Available: {paths}.")
    return services.catalog.operations[name]


def parse_body(operation: Operation, data: bytes) -> msgspec.Struct:
    """Parse the body to the operation's type. Raises `Invalid`, or `Unprocessable` with the field's path."""
    if ESCAPED_NUL in data:
        json_object(data, free=ALL_STORED)  # the database cannot store a NUL
    try:
        return msgspec.json.decode(data or b"{}", type=operation.body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".")
        raise Unprocessable(
            message[:300] + (f": `{field[:200]}`" if field else ""), field=field[:200] or None
        ) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        require_whole_characters(data)
        raise Invalid("the body is not JSON", code="BAD_JSON") from None
