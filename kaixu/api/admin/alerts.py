"""`admin-alerts`: the alerts that were raised. `admin-alert-webhook`: a customer's own webhook for its alerts."""

from __future__ import annotations

from kaixu.accounts.alert_webhooks import find_alert_webhook, set_alert_webhook, shown_url, webhook_url
from kaixu.accounts.fields import identifier, require_known
from kaixu.accounts.operator_identity import CUSTOMERS
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.jobs.webhook_signing import customer_secret
from kaixu.ops.sealing import sealer_of
from kaixu.plugin.errors import Invalid
from kaixu.reports.alerts import list_alerts, listed_alert_json

LISTED_BY = ("customer_id", "type", "before_id", "limit")
KNOWN = ("customer_id", "url")


def alert_routes(services: Services) -> list[Route]:
    """The routes of alerts."""
    sealer = sealer_of(services.secrets)

    async def show(request: IncomingRequest) -> Reply:
        given = {name: request.args.get(name) for name in LISTED_BY}
        page = await list_alerts(services.reports, given)
        alerts = [listed_alert_json(row) for row in page.alerts]
        return json_reply({"ok": True, "alerts": alerts, "next_before_id": page.next_before_id})

    async def webhook(request: IncomingRequest) -> Reply:
        customer_id = identifier(Fields(request.args).get("customer_id"), "customer_id")
        url = await find_alert_webhook(services.pool, sealer, customer_id)
        return json_reply({"ok": True, "customer_id": customer_id, "url": url})

    async def change_webhook(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, KNOWN)
        if "url" not in body.value:
            raise Invalid("`url` is missing", hint="null removes the webhook.", field="url")
        customer_id = body.read("customer_id", identifier)
        url = body.read("url", lambda value, name: webhook_url(value, name, services.gateway.jobs))
        await set_alert_webhook(services.pool, sealer, customer_id, url, actor=ACTOR, request_id=request.request_id)
        secret = None if url is None else customer_secret(services.secrets.jwt_secret, customer_id)
        shown = None if url is None else shown_url(url)
        return json_reply({"ok": True, "customer_id": customer_id, "url": shown, "secret": secret})

    return [
        operator_route(services, "GET", "admin-alerts", show),
        operator_route(services, "GET", "admin-alert-webhook", webhook),
        operator_route(services, "PUT", "admin-alert-webhook", change_webhook, access=CUSTOMERS),
    ]
