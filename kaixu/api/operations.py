"""`POST /v1/<integration>/<what>`: runs the operations of integrations."""

from __future__ import annotations

import msgspec

from kaixu.catalog.catalog import IntegrationState
from kaixu.config.mistakes import did_you_mean
from kaixu.edge.authenticate import caller_of
from kaixu.edge.characters import ESCAPED_NUL, insist_on_whole_characters
from kaixu.edge.exchange import Door
from kaixu.edge.fields import json_object
from kaixu.edge.off_loop import off_loop
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import JSON, Reply
from kaixu.edge.services import Services
from kaixu.plugin.errors import Invalid, LaneOff, NotFound, PluginFailed, Unprocessable
from kaixu.plugin.operation import Operation

from .call_replies import call_headers

PREFIX = "/v1/"


def operation_door(services: Services) -> Door:
    """One door for all operations of the current catalog; see `serves`."""

    async def operate(request: IncomingRequest) -> Reply:
        caller = caller_of(request, services.secrets)
        state, operation = find_operation(services, request.path)
        body = await off_loop(len(request.body), lambda: parse_body(operation, request.body))
        async with services.gate.run(caller, state, operation, len(request.body)) as ticket:
            reply = await services.gate.handled(ticket, state, operation, body)
        return Reply(200, {"content-type": JSON} | call_headers(ticket), reply)

    return Door(operate, (), rate="call")


def serves(services: Services, path: str) -> bool:
    """Whether a path belongs to an integration of kaixu.yaml."""
    return path.startswith(PREFIX) and path[len(PREFIX) :].partition("/")[0] in services.catalog.integrations


def find_operation(services: Services, path: str) -> tuple[IntegrationState, Operation]:
    """The operation at a path. Raises `NotFound`, `LaneOff`, `PluginFailed`."""
    name = path[len(PREFIX) :].strip("/").replace("/", ".")
    state = services.catalog.integrations[name.partition(".")[0]]
    if state.state == "off":
        raise LaneOff(f"integration `{state.name}` is off: {state.reason}", hint="Tell your operator.")
    if state.state == "failed":
        # The reason may contain paths and versions: only operators see it, in the log and in `kaixu plugins`.
        raise PluginFailed(f"integration `{state.name}` is not available: it failed", hint="Tell your operator.")
    if name not in services.catalog.operations:
        known = [one for one in services.catalog.operations if one.startswith(f"{state.name}.")]
        paths = ", ".join(f"{PREFIX}{one.replace('.', '/')}" for one in known[:20])
        suggestion = did_you_mean(name[:80], known)
        raise NotFound(f"there is no operation `{name[:80]}`{suggestion}", hint=f"There is: {paths}.")
    return services.catalog.operations[name]


def parse_body(operation: Operation, data: bytes) -> msgspec.Struct:
    """The body as the operation's type. Raises `Invalid` for no JSON, `Unprocessable` with the field's path."""
    if ESCAPED_NUL in data:
        json_object(data, free=frozenset())  # the database cannot store a NUL
    try:
        return msgspec.json.decode(data or b"{}", type=operation.body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".")
        raise Unprocessable(
            message[:300] + (f": `{field[:200]}`" if field else ""), field=field[:200] or None
        ) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        insist_on_whole_characters(data)
        raise Invalid("the body is not JSON", code="BAD_JSON") from None
