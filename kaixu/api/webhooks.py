"""`POST /v1/<integration>/webhooks/<name>`, and aliases among the functions: webhooks of vendors.

A vendor gets its answer as soon as the event is stored; a job handles it. Any failure of the gateway's own is an error
to the vendor, which sends the event again.
"""

from __future__ import annotations

from collections.abc import Mapping

from kaixu.catalog.catalog import IntegrationState
from kaixu.edge.errors import envelope
from kaixu.edge.paths import FUNCTION_PREFIXES
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.throttle import Throttle
from kaixu.jobs.webhook_events import receive_webhook
from kaixu.plugin.errors import Invalid, KaixuError, NotConfigured, NotFound, PluginFailed
from kaixu.plugin.webhook import MOST_WEBHOOK_BYTES, Webhook


class Webhooks:
    """The webhooks of the integrations in force; a reload may change them."""

    def __init__(self, services: Services) -> None:
        self.services = services
        # Vendors send from few addresses; whoever sends without a signature shares these limits.
        self.throttle = Throttle(per_address=6_000, in_all=60_000, window_s=60)

    def at_alias(self, alias: str) -> tuple[IntegrationState, Webhook] | None:
        """The webhook with an alias, whether its integration is on or not."""
        for state in self.services.catalog.integrations.values():
            for webhook in () if state.integration is None else state.integration.webhooks:
                if alias in webhook.aliases:
                    return state, webhook
        return None

    def at_name(self, integration: str, name: str) -> tuple[IntegrationState, Webhook]:
        """The webhook of an integration. Raises `NotFound`, and what `require_on` raises."""
        state = self.services.catalog.integrations.get(integration)
        if state is None:  # a reload has removed it meanwhile
            raise NotConfigured(f"integration `{integration[:80]}` is not configured")
        for webhook in () if state.integration is None else state.integration.webhooks:
            if webhook.name == name:
                return state, webhook
        require_on(state)
        raise NotFound(f"integration `{state.name}` has no webhook `{name[:80]}`")

    async def receive(self, request: IncomingRequest, found: tuple[IntegrationState, Webhook]) -> Reply:
        """Verify and store one event. Raises `PluginFailed`, `DatabaseAway`: the vendor sends it again."""
        state, webhook = found
        services = self.services
        try:
            require_on(state)
            stored = await receive_webhook(
                services.pool,
                services.gate.sealer,
                state,
                webhook,
                request.body,
                request.headers,
                request.request_id,
            )
        except (Invalid, NotConfigured) as error:
            return refusal(error, request)
        if stored:
            services.queue.nudge()
        if webhook.reply is not None:
            return Reply(200, {"content-type": "text/plain; charset=utf-8"}, webhook.reply.encode())
        return json_reply({"received": True, "stored": stored})


def refusal(error: KaixuError, request: IncomingRequest) -> Reply:
    """The reply for an error that is not raised: everybody may send anything, and the monitor would fill up."""
    return json_reply(envelope(error, request.request_id), error.status)


def require_on(state: IntegrationState) -> None:
    """Raises `NotConfigured` for an integration that is off, and `PluginFailed` for one that has failed."""
    if state.state == "off":
        raise NotConfigured(f"integration `{state.name}` is not configured")
    if state.state == "failed":
        raise PluginFailed(f"integration `{state.name}` is not available: it failed", retry_after_s=60)


def webhook_routes(services: Services) -> list[Route]:
    """The routes of all webhooks."""
    webhooks = Webhooks(services)

    async def by_name(request: IncomingRequest) -> Reply:
        webhooks.throttle.require(request.address)
        try:
            found = webhooks.at_name(request.parameters["integration"], request.parameters["webhook"])
        except (NotFound, NotConfigured) as error:
            return refusal(error, request)
        return await webhooks.receive(request, found)

    async def by_alias(request: IncomingRequest) -> Reply:
        webhooks.throttle.require(request.address)
        found = webhooks.at_alias(request.parameters["webhook_alias"])
        if found is None:  # a reload has removed it meanwhile
            raise NotConfigured("this webhook is not configured")
        return await webhooks.receive(request, found)

    def has_integration(parameters: Mapping[str, str]) -> bool:
        return parameters["integration"] in services.catalog.integrations

    def has_alias(parameters: Mapping[str, str]) -> bool:
        return webhooks.at_alias(parameters["webhook_alias"]) is not None

    return [
        Route(
            "POST",
            ("/v1/<integration>/webhooks/<webhook>",),
            by_name,
            auth="public",
            rate="address",
            max_body_bytes=MOST_WEBHOOK_BYTES,
            exists=has_integration,
        ),
        Route(
            "POST",
            tuple(f"{prefix}/<webhook_alias>" for prefix in FUNCTION_PREFIXES),
            by_alias,
            auth="public",
            rate="address",
            max_body_bytes=MOST_WEBHOOK_BYTES,
            exists=has_alias,
        ),
    ]
