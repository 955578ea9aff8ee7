"""The operations of integrations: `/v1/<integration>/<path>`, and their aliases among the functions.

Their routes are made from the catalog in force: a reload adds and removes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Literal, get_args

import msgspec

from kaixu.accounts.fields import identifier
from kaixu.accounts.operator_identity import CHANGE, MONEY, READ
from kaixu.accounts.operator_operations import audit_operation, require_customer
from kaixu.catalog.catalog import Catalog, IntegrationState
from kaixu.catalog.input_plan import InputPlan
from kaixu.catalog.operation_paths import FoundOperation, OperationPaths, ServedOperation
from kaixu.config.mistakes import did_you_mean
from kaixu.edge.authenticate import read_caller
from kaixu.edge.operation_input import read_body_object, read_input
from kaixu.edge.operator_cookies import is_own_page, set_cookie
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.paths import FUNCTION_PREFIXES
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply
from kaixu.edge.routes import METHODS, Handler, Match, Route
from kaixu.edge.services import Services
from kaixu.edge.threads import run_in_thread
from kaixu.edge.throttle import Throttle
from kaixu.metering.integrations import admit_operation, run_operation
from kaixu.metering.keyless import run_keyless
from kaixu.metering.operation_limits import caller_of, take_limits
from kaixu.plugin.access import Caller, Operator, Public, Rank
from kaixu.plugin.encoded_reply import EncodedReply
from kaixu.plugin.errors import LaneOff, NotFound, PluginFailed, RoleTooLow
from kaixu.plugin.replies import Events, Page
from kaixu.reports.own_key import Credential, find_own_key

from .call_replies import call_headers
from .operation_stream import stream_reply

PREFIX = "/v1/"

#: The roles of keys, in ascending order.
RANKS: tuple[str, ...] = get_args(Rank)

#: Characters of a name in an error.
MAX_SHOWN = 80
MOST_LISTED = 20

#: Requests of all addresses together, as a multiple of what one address may send.
IN_ALL = 100

#: Renders the page that an operation answers with.
RenderPage = Callable[[IncomingRequest, Page, int], Reply]


class OperationRoutes:
    """The routes of all operations: see `ReloadedRoutes`. `render_page` is set by whoever has the frame of pages."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.render_page: RenderPage | None = None
        self._throttles: dict[tuple[str, int], Throttle] = {}
        self._made_for: tuple[Catalog, object] | None = None
        self._paths = OperationPaths(Catalog())
        self._routes: dict[int, Route] = {}

    def at(self, path: str) -> Mapping[str, Match]:
        """See `ReloadedRoutes.at`."""
        for prefix in FUNCTION_PREFIXES:
            if path.startswith(prefix + "/"):
                return self._matches(self.paths().at_alias(path[len(prefix) + 1 :]))
        if not path.startswith(PREFIX):
            return {}
        name, _, below = path.removeprefix(PREFIX).partition("/")
        if below.startswith(("webhooks/", "callbacks/")):
            return {}  # see `webhooks.py` and `callbacks.py`
        state = self.services.catalog.integrations.get(name)
        if state is None:
            return {}
        if state.state == "on" and (found := self.paths().at_path(name, below)):
            return self._matches(found)
        return refused_routes(state, below)

    def paths(self) -> OperationPaths:
        """The addresses of the catalog in force."""
        catalog = self.services.catalog
        # An integration that fails after the build replaces the operations of its catalog.
        if self._made_for is None or self._made_for[0] is not catalog or self._made_for[1] is not catalog.operations:
            self._made_for = catalog, catalog.operations
            self._paths = OperationPaths(catalog)
            self._routes = {}
        return self._paths

    def _matches(self, found: Mapping[str, FoundOperation]) -> Mapping[str, Match]:
        return {method: Match(self._route(one.served), one.parameters) for method, one in found.items()}

    def _route(self, served: ServedOperation) -> Route:
        """The route of an operation, made once for each catalog."""
        route = self._routes.get(id(served))
        if route is None:
            route = self._routes[id(served)] = self._make_route(served)
        return route

    def _make_route(self, served: ServedOperation) -> Route:
        operation, auth = served.operation, served.operation.auth
        method, paths = operation.method, (f"{PREFIX}{served.state.name}{operation.path_below}",)
        most_bytes = served.plan.most_bytes
        if isinstance(auth, Operator):
            handler = when_on(served, self._by_operator(served, auth))
            access = READ if method == "GET" else MONEY if auth.scope == "money" else CHANGE
            route = operator_route(self.services, method, operation.name, handler, access=access, paths=paths)
            return replace(route, max_body_bytes=most_bytes, is_upload=operation.upload)
        if isinstance(auth, Public):
            handler = when_on(served, self._by_anyone(served, auth))
            most_bytes = min(most_bytes or SMALL_BODY_BYTES, SMALL_BODY_BYTES)
            return Route(method, paths, handler, auth="public", rate="address", max_body_bytes=most_bytes)
        if operation.admission == "key":
            handler = when_on(served, self._by_valid_key(served))
            return Route(method, paths, handler, auth="key", rate="reading", max_body_bytes=most_bytes)
        handler = when_on(served, self._by_key(served))
        return Route(
            method, paths, handler, auth="key", rate="call", max_body_bytes=most_bytes, is_upload=operation.upload
        )

    def _by_key(self, served: ServedOperation) -> Handler:
        """Operations for customers: admitted and billed as every call."""
        services, (state, operation, plan) = self.services, served

        async def operate(request: IncomingRequest) -> Reply:
            gate = services.gate
            caller = read_caller(request, services.secrets)
            body = await run_in_thread(len(request.body), lambda: read_input(plan, request))
            admission = admit_operation(gate, caller, state, operation, body, len(request.body))
            async with AsyncExitStack() as held:
                ticket = await held.enter_async_context(admission)
                assert ticket.verdict.customer_id is not None
                await take_limits(gate, operation, ticket.verdict.customer_id, ticket)
                own = await caller_of(gate, ticket, has_session=caller.key_id is not None)
                reply, call = await run_operation(gate, ticket, state, operation, body, own, request.upload)
                if isinstance(reply.body, Events):
                    held.pop_all()  # the stream settles the call
                    return await stream_reply(services, admission, ticket, call, operation, reply.body)
            return self._sent(request, reply, call_headers(ticket))

        return operate

    def _by_valid_key(self, served: ServedOperation) -> Handler:
        """Operations that a customer can always call: the route has counted the reading, nothing else is limited."""
        services, (state, operation, plan) = self.services, served

        async def operate(request: IncomingRequest) -> Reply:
            caller = read_caller(request, services.secrets)
            own = await find_own_key(services.pool, Credential(caller.key_hash, caller.legacy_hash, caller.key_id))
            if operation.rank is not None and RANKS.index(own.role) < RANKS.index(operation.rank):
                raise RoleTooLow(f"key …{own.key_last4} may not do this", hint=f"It needs the role {operation.rank}.")
            body = await run_in_thread(len(request.body), lambda: read_input(plan, request))
            await take_limits(services.gate, operation, own.customer_id)
            kind: Literal["key", "session"] = "key" if caller.key_id is None else "session"
            reply = await run_keyless(
                services.gate,
                state,
                operation,
                body,
                Caller(kind, own.role, own.key_last4, own.email),
                own.customer_id,
                request.request_id,
                key_id=own.key_id,
            )
            return self._sent(request, reply)

        return operate

    def _by_operator(self, served: ServedOperation, auth: Operator) -> Handler:
        """Operations for operators: changes are written to the audit log, before they are made."""
        services, (state, operation, plan) = self.services, served

        async def operate(request: IncomingRequest) -> Reply:
            def read() -> tuple[msgspec.Struct, object]:
                if auth.customer is None:
                    return read_input(plan, request), None
                body = read_input(plan, request, further=(auth.customer,))
                return body, named_customer(request, plan, auth.customer)

            body, named = await run_in_thread(len(request.body), read)
            customer_id = None
            if auth.customer is not None:
                customer_id = identifier(named, auth.customer)
                await require_customer(services.pool, customer_id)
                await take_limits(services.gate, operation, customer_id)
            if operation.method != "GET":
                await audit_operation(
                    services.pool,
                    operation=operation.name,
                    customer_id=customer_id,
                    method=operation.method,
                    actor=ACTOR,
                    request_id=request.request_id,
                )
            identity = request.identity
            caller = Caller("operator", identity.role, email=identity.email)
            return self._sent(
                request,
                await run_keyless(
                    services.gate, state, operation, body, caller, customer_id, request.request_id, request.upload
                ),
            )

        return operate

    def _by_anyone(self, served: ServedOperation, auth: Public) -> Handler:
        """Operations for everybody: limited by network address."""
        services, (state, operation, plan) = self.services, served
        limit = operation.name, auth.per_minute
        throttle = self._throttles.setdefault(
            limit, Throttle(per_address=auth.per_minute, in_all=auth.per_minute * IN_ALL, window_s=60)
        )

        async def operate(request: IncomingRequest) -> Reply:
            throttle.require(request.address)
            body = read_input(plan, request)
            reply = await run_keyless(services.gate, state, operation, body, Caller("public"), None, request.request_id)
            return self._sent(request, reply)

        return operate

    def _sent(self, request: IncomingRequest, reply: EncodedReply, more: Mapping[str, str] | None = None) -> Reply:
        """The reply as it is sent."""
        headers = {**(more or {})}
        # A page of another origin gets no cookie: whoever comes back from the vendor then is asked first.
        if reply.cookie is not None and is_own_page(request):
            cookie = reply.cookie
            headers["set-cookie"] = set_cookie(cookie.name, cookie.value, max_age_s=cookie.lifetime_s)
        if isinstance(reply.body, Page):
            assert self.render_page is not None
            page = self.render_page(request, reply.body, reply.status)
            page.headers |= headers
            return page
        assert isinstance(reply.body, bytes)
        return Reply(reply.status, {"cache-control": "no-store"} | reply.headers | headers, reply.body)


def named_customer(request: IncomingRequest, plan: InputPlan, name: str) -> object:
    """What the body or the query names as the customer; None: nothing."""
    if request.method != "GET" and not plan.has_raw_body and not plan.is_upload:
        value = read_body_object(request.body).get(name)
        if value is not None:
            return value
    return request.args.get(name)


def when_on(served: ServedOperation, handler: Handler) -> Handler:
    """The handler, or for an integration that is off one that says so."""
    return handler if served.state.state == "on" else refusal_of(served.state)


def refusal_of(state: IntegrationState, below: str = "") -> Handler:
    """A handler that says why an integration serves nothing, or nothing at this path."""

    async def refuse(request: IncomingRequest) -> Reply:
        if state.state == "off":
            raise LaneOff(f"integration `{state.name}` is off: {state.reason}", hint="Contact your operator.")
        if state.state == "failed":
            # The reason may contain paths and versions: only operators see it, in the log and in `kaixu plugins`.
            raise PluginFailed(f"integration `{state.name}` is not available: it failed", hint="Contact your operator.")
        assert state.integration is not None
        known = [one.path_below.strip("/") for one in state.integration.operations]
        paths = ", ".join(f"{PREFIX}{state.name}/{one}" for one in known[:MOST_LISTED])
        shown = below[:MAX_SHOWN]
        raise NotFound(
            f"integration `{state.name}` has no operation `{shown}`{did_you_mean(shown, known)}",
            hint=f"Available: {paths}.",
        )

    return refuse


def refused_routes(state: IntegrationState, below: str) -> Mapping[str, Match]:
    """Routes that say why nothing is served at a path of an integration, to whoever has a key."""
    refuse = refusal_of(state, below)
    return {
        method: Match(Route(method, (), refuse, auth="key", rate="call", max_body_bytes=SMALL_BODY_BYTES), {})
        for method in METHODS
        if method != "HEAD"
    }
