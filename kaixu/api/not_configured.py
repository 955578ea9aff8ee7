"""The endpoints of integrations that come with the gateway, while they are off: pushes, GitHub, Stripe. All answer 501.

Each has the authentication of the real one, so that only who may use it learns that it is not there. An integration
with an alias of the same name takes its place.
"""

from __future__ import annotations

from kaixu.accounts.operator_identity import MONEY
from kaixu.edge.errors import envelope
from kaixu.edge.operators import operator_route
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.throttle import Throttle
from kaixu.plugin.errors import NotConfigured
from kaixu.plugin.webhook import MOST_WEBHOOK_BYTES

from .user.credential import own_route
from .webhooks import Webhooks

#: This one brings money in.
CHECKOUT = "stripe-create-checkout"

#: An integration with a webhook of this alias takes its place.
STRIPE_WEBHOOK = "stripe-webhook"

#: For operators, by the integration that they belong to.
OPERATORS = {
    "KaixuPush": (
        ("GET", "admin-netlify-token"),
        ("POST", "admin-netlify-token"),
        ("DELETE", "admin-netlify-token"),
        ("GET", "admin-push-projects"),
        ("POST", "admin-push-projects"),
        ("PATCH", "admin-push-projects"),
        ("DELETE", "admin-push-projects"),
        ("GET", "admin-push-deploys"),
        ("GET", "admin-push-jobs"),
        ("GET", "admin-push-invoices"),
        ("POST", "admin-push-invoices"),
    ),
    "GitHub": (
        ("GET", "admin-github-token"),
        ("POST", "admin-github-token"),
        ("DELETE", "admin-github-token"),
        ("GET", "admin-github-repos"),
        ("GET", "admin-gh-jobs"),
    ),
    "Stripe": (("GET", CHECKOUT), ("POST", CHECKOUT)),
}


def not_configured_routes(services: Services) -> list[Route]:
    """The routes of all of them."""
    throttle = Throttle(per_address=120, in_all=12_000, window_s=60)
    webhooks = Webhooks(services)

    def refuse(integration: str) -> NotConfigured:
        return NotConfigured(f"{integration} is not configured", hint="Your operator can set it up.")

    def operators(method: str, name: str, integration: str) -> Route:
        async def handle(request: IncomingRequest) -> Reply:
            error = refuse(integration)
            if method != "GET":
                raise error
            # A look is no failure: pages ask whether an integration is there, and the monitor would fill up.
            return json_reply(envelope(error, request.request_id), error.status)

        access = MONEY if (method, name) == ("POST", CHECKOUT) else None
        return operator_route(services, method, name, handle, access=access, is_placeholder=True)

    async def checkout(request: IncomingRequest) -> Reply:
        raise refuse("Stripe")

    async def webhook(request: IncomingRequest) -> Reply:
        """It does not raise: everybody may send it, and the monitor would fill up."""
        if (found := webhooks.at_alias(STRIPE_WEBHOOK)) is not None:
            webhooks.throttle.require(request.address)
            return await webhooks.receive(request, found)
        throttle.require(request.address)
        error = refuse("Stripe")
        return json_reply(envelope(error, request.request_id), error.status)

    return [
        *(operators(method, name, integration) for integration, ones in OPERATORS.items() for method, name in ones),
        own_route("POST", "user-topup-checkout", checkout, is_placeholder=True),
        Route(
            "POST",
            function_paths(STRIPE_WEBHOOK),
            webhook,
            auth="public",
            rate="address",
            max_body_bytes=MOST_WEBHOOK_BYTES,
            is_placeholder=True,
        ),
    ]
