"""`user-redeem`: credit a redemption code to the account of a key."""

from __future__ import annotations

from kaixu.accounts.fields import require_known
from kaixu.accounts.redemption import redeem
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.own_key import find_own_key
from kaixu.reports.values import month_name

from .credential import credential_of, own_route

KNOWN = ("code",)


def redeem_routes(services: Services) -> list[Route]:
    """The route for customers: with keys of the roles admin and owner."""

    async def create(request: IncomingRequest) -> Reply:
        own = await find_own_key(services.pool, credential_of(services, request))
        body = read_stored_fields(request)
        require_known(body.value, KNOWN)
        credit = await redeem(
            services.pool,
            key_id=own.key_id,
            key_last4=own.key_last4,
            code=body.get("code"),
            address=request.address,
            peppers=services.secrets.key_peppers,
            request_id=request.request_id,
        )
        done = credit.topped_up
        return json_reply(
            {
                "ok": True,
                "applied": done.applied,
                "month": month_name(done.month),
                "amount_cents": cents_of_nusd(done.amount_nusd),
                "amount_usd": usd(done.amount_nusd),
                "extra_cents": cents_of_nusd(done.extra_nusd),
                "extra_usd": usd(done.extra_nusd),
            }
        )

    return [own_route("POST", "user-redeem", create)]
