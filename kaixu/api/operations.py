"""`POST /v1/<integration>/<what>`: the operations of integrations, whichever the catalog has now."""

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
from kaixu.metering.integrations import admit_operation, run_operation
from kaixu.plugin.errors import Invalid, LaneOff, NotFound, PluginFailed, Unprocessable
from kaixu.plugin.operation import Operation

from .calls import call_headers

PREFIX = "/v1/"


def operation_door(services: Services) -> Door:
    """The door of all operations; see `serves`."""

    async def operate(asked: IncomingRequest) -> Reply:
        caller = caller_of(asked, services.secrets)
        state, operation = found(services, asked.path)
        body = await off_loop(len(asked.body), lambda: body_of(operation, asked.body))
        async with admit_operation(services.gate, caller, state, operation, len(asked.body)) as ticket:
            said = await run_operation(services.gate, ticket, state, operation, body)
        return Reply(200, {"content-type": JSON} | call_headers(ticket), said)

    return Door(operate, (), rate="call")


def serves(services: Services, path: str) -> bool:
    """Whether a path belongs to an integration that kaixu.yaml names."""
    return path.startswith(PREFIX) and path[len(PREFIX) :].partition("/")[0] in services.catalog.integrations


def found(services: Services, path: str) -> tuple[IntegrationState, Operation]:
    """The operation at a path. Raises `NotFound`, `LaneOff`, `PluginFailed`."""
    name = path[len(PREFIX) :].strip("/").replace("/", ".")
    state = services.catalog.integrations[name.partition(".")[0]]
    if state.state == "off":
        raise LaneOff(f"integration `{state.name}` is off: {state.reason}", hint="Tell your operator.")
    if state.state == "failed":
        # The reason may show paths and versions: it is the operator's, in the log and in `kaixu plugins`.
        raise PluginFailed(f"integration `{state.name}` is not available: it failed", hint="Tell your operator.")
    if name not in services.catalog.operations:
        known = [one for one in services.catalog.operations if one.startswith(f"{state.name}.")]
        paths = ", ".join(f"{PREFIX}{one.replace('.', '/')}" for one in known[:20])
        meant = did_you_mean(name[:80], known)
        raise NotFound(f"there is no operation `{name[:80]}`{meant}", hint=f"There is: {paths}.")
    return services.catalog.operations[name]


def body_of(operation: Operation, data: bytes) -> msgspec.Struct:
    """The body as the operation's own type. Raises `Invalid` for no JSON, `Unprocessable` with the field's path."""
    if ESCAPED_NUL in data:
        json_object(data, free=frozenset())  # what an integration keeps, it keeps in the database
    try:
        return msgspec.json.decode(data or b"{}", type=operation.body)
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".")
        raise Unprocessable(said[:300] + (f": `{field[:200]}`" if field else ""), field=field[:200] or None) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        insist_on_whole_characters(data)
        raise Invalid("the body is not JSON", code="BAD_JSON") from None
