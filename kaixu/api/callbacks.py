"""`GET /v1/<integration>/callbacks/<name>`, and aliases among the functions: browsers that come back from a vendor.

Everything is answered with a page, for a person reads it. A `POST` confirms what was begun in another browser.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

from kaixu.catalog.catalog import IntegrationState
from kaixu.edge.operator_cookies import read_cookie, require_same_origin
from kaixu.edge.paths import FUNCTION_PREFIXES
from kaixu.edge.question import Question
from kaixu.edge.request import MAX_ARGS, IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.throttle import Throttle
from kaixu.metering.callbacks import AGENT, Noted, Taken, cookie_name, path_of, returned_of, take
from kaixu.metering.gate import Caller
from kaixu.metering.integrations import admit_operation, run_operation
from kaixu.metering.keyless import run_keyless
from kaixu.metering.operation_limits import caller_of
from kaixu.metering.operation_reply import EncodedReply
from kaixu.metering.verdict import Refusal
from kaixu.plugin.callback import Callback, Returned
from kaixu.plugin.errors import Invalid, KaixuError, NotConfigured, PluginFailed
from kaixu.plugin.operation import callback_operation
from kaixu.plugin.replies import Page

#: The longest value that a vendor adds, and how many of them are passed on.
MOST_VALUE = 4000
MOST_STATE = 200

RenderPage = Callable[[IncomingRequest, Page, int], Reply]

Found = tuple[IntegrationState, Callback]


class Callbacks:
    """The callbacks of the integrations in force; a reload may change them.

    `render_page` and `render_question` are set by whoever has the frame of pages.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.render_page: RenderPage | None = None
        self.render_question: Callable[[IncomingRequest, Question], Reply] | None = None
        self.throttle = Throttle(per_address=120, in_all=6_000, window_s=60)

    def at_alias(self, alias: str) -> Found | None:
        """The callback with an alias."""
        for state in self.services.catalog.integrations.values():
            for callback in () if state.integration is None else state.integration.callbacks:
                if alias in callback.aliases:
                    return state, callback
        return None

    def at_name(self, integration: str, name: str) -> Found | None:
        """The callback of an integration."""
        state = self.services.catalog.integrations.get(integration)
        for callback in () if state is None or state.integration is None else state.integration.callbacks:
            if callback.name == name:
                assert state is not None
                return state, callback
        return None

    async def serve(self, request: IncomingRequest, found: Found | None, *, is_confirmed: bool = False) -> Reply:
        """The page for a browser that has come back."""
        assert self.render_page is not None
        try:
            self.throttle.require(request.address)
            if found is None:  # a reload has removed it meanwhile
                raise NotConfigured("this is not configured")
            query = form_of(request.body.decode("utf-8", "replace") if is_confirmed else request.query)
            if is_confirmed:
                require_same_origin(request)
            reply = await self.finish(request, found, query, is_confirmed=is_confirmed)
        except Refusal as refusal:
            return self.failure(request, refusal.error)
        except KaixuError as error:
            return self.failure(request, error)
        if isinstance(reply, Reply):
            return reply
        if isinstance(reply.body, Page):
            return self.render_page(request, reply.body, reply.status)
        assert isinstance(reply.body, bytes)
        return Reply(reply.status, {"cache-control": "no-store"} | reply.headers, reply.body)

    def failure(self, request: IncomingRequest, error: KaixuError) -> Reply:
        """The page of an error."""
        assert self.render_page is not None
        text = error.message[:1].upper() + error.message[1:] + "."
        if error.hint:
            text += f"\n\n{error.hint}"
        return self.render_page(request, Page("This did not work", text), error.status)

    async def finish(
        self, request: IncomingRequest, found: Found, query: dict[str, str], *, is_confirmed: bool
    ) -> EncodedReply | Reply:
        """Take the state, and call the handler; or ask first. Raises `KaixuError`."""
        (integration, callback), services = found, self.services
        require_on(integration)
        state = query.pop("state", "")
        if not state or len(state) > MOST_STATE:
            raise no_state()
        cookie = read_cookie(request.headers, cookie_name(state))
        taken = await take(services.pool, integration.name, callback, state, cookie, is_confirmed=is_confirmed)
        if taken.refused == "ASK":
            return self.ask(request, found, taken, query | {"state": state})
        if taken.refused is not None:
            raise no_state()
        returned, noted = returned_of(services.gate.sealer, callback, taken, state, query)
        return await self.run(request, found, taken, returned, noted)

    def ask(self, request: IncomingRequest, found: Found, taken: Taken, query: Mapping[str, str]) -> Reply:
        """The page that names the account and asks."""
        assert self.render_question is not None
        integration, callback = found
        account = "this gateway" if taken.email is None else f"the account {taken.email}"
        text = (
            f"This was begun elsewhere, not in this browser. If you continue, what you have just allowed is connected "
            f"with {account}.\n\nContinue only if you have begun it yourself, and if that is your account."
        )
        action = path_of(integration.name, callback)
        return self.render_question(request, Question(f"Continue with {integration.name}?", text, action, query))

    async def run(
        self, request: IncomingRequest, found: Found, taken: Taken, returned: Returned, noted: Noted
    ) -> EncodedReply:
        """What the handler answers. Its key is admitted again, if a key began it and it is bound to a browser."""
        (integration, callback), services = found, self.services
        what = callback_operation(integration.name, callback)
        if taken.key_id is None or not taken.is_bound:
            return await run_keyless(
                services.gate, integration, what, returned, returned.begun_by, taken.customer_id, request.request_id
            )
        caller = Caller(
            None,
            None,
            taken.key_id,
            noted.install_id,
            AGENT,
            request.request_id,
            app_id=noted.app_id,
            build_id=noted.build_id,
            facts=request.facts,
        )
        async with admit_operation(services.gate, caller, integration, what, 0) as ticket:
            own = await caller_of(services.gate, ticket, has_session=returned.begun_by.kind == "session")
            reply, _ = await run_operation(services.gate, ticket, integration, what, returned, own)
            return reply


def no_state() -> Invalid:
    """The error for a state that is missing, unknown, expired or used."""
    return Invalid("this address was used before, or its time is over", hint="Begin again where you came from.")


def require_on(state: IntegrationState) -> None:
    """Raises `NotConfigured` for an integration that is off, and `PluginFailed` for one that has failed."""
    if state.state == "off":
        raise NotConfigured(f"integration `{state.name}` is not configured")
    if state.state == "failed":
        raise PluginFailed(f"integration `{state.name}` is not available: it failed", retry_after_s=60)


def form_of(text: str) -> dict[str, str]:
    """The fields of a query or a form; the first value of a repeated one. Raises `Invalid`."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_ARGS, errors="replace")
    except ValueError:
        raise Invalid("the address has too many fields") from None
    if any(len(name) > MOST_VALUE or len(value) > MOST_VALUE for name, value in pairs):
        raise Invalid("the address has a field that is too long")
    return dict(reversed(pairs))


def callback_routes(callbacks: Callbacks) -> list[Route]:
    """The routes of all callbacks."""

    def by_name(*, is_confirmed: bool) -> Callable[[IncomingRequest], Awaitable[Reply]]:
        async def serve(request: IncomingRequest) -> Reply:
            found = callbacks.at_name(request.parameters["integration"], request.parameters["callback"])
            return await callbacks.serve(request, found, is_confirmed=is_confirmed)

        return serve

    async def by_alias(request: IncomingRequest) -> Reply:
        return await callbacks.serve(request, callbacks.at_alias(request.parameters["callback_alias"]))

    def has_name(parameters: Mapping[str, str]) -> bool:
        return callbacks.at_name(parameters["integration"], parameters["callback"]) is not None

    def has_alias(parameters: Mapping[str, str]) -> bool:
        return callbacks.at_alias(parameters["callback_alias"]) is not None

    path = "/v1/<integration>/callbacks/<callback>"
    routes = [
        Route(
            method,
            (path,),
            by_name(is_confirmed=method == "POST"),
            auth="public",
            rate="address",
            max_body_bytes=SMALL_BODY_BYTES,
            exists=has_name,
        )
        for method in ("GET", "POST")
    ]
    aliases = tuple(f"{prefix}/<callback_alias>" for prefix in FUNCTION_PREFIXES)
    return [
        *routes,
        Route(
            "GET", aliases, by_alias, auth="public", rate="address", max_body_bytes=SMALL_BODY_BYTES, exists=has_alias
        ),
    ]
