"""`admin-lane-test`: one small call to a model, through the gate, at the operator's expense.

It is admitted and settled like every call: the vendor's cost is in its usage event, and its price is 0.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from kaixu.accounts.fields import MOST_NAME, require_known
from kaixu.accounts.lane_tests import lane_test_key, note_lane_test
from kaixu.accounts.operator_identity import SETTINGS
from kaixu.api.answers import run_call
from kaixu.catalog.catalog import FREE, Catalog, Deployment
from kaixu.config.mistakes import did_you_mean
from kaixu.config.price import usd
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.metering.admission import Admission
from kaixu.metering.chat import admit_chat
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.metering.embed_ticket import EmbedTicket
from kaixu.metering.embeddings import admit_embed, embed_vectors
from kaixu.metering.gate import Caller
from kaixu.metering.model_ticket import ModelTicket
from kaixu.metering.recent_calls import failure_of
from kaixu.plugin.errors import KaixuError, Unprocessable, UpstreamTimeout
from kaixu.plugin.types import ChatDelta, ChatRequest, EmbedRequest, Message, TextPart

PROMPT = "Reply with OK."
WORD = "ok"

#: Enough for a short answer; some vendors refuse fewer.
MOST_TOKENS = 16

#: A test is no place to wait as long as a customer may.
PATIENCE_S = 60.0

#: The test's name in usage events and in the monitor.
APP = "kaixu-lane-test"

#: The beginning of an answer that is shown.
SHOWN = 200


def lane_test_routes(services: Services) -> list[Route]:
    """The route of test calls."""

    async def test(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, ("lane", "model", "deployment"))
        lane, model = (body.required_text(name, most=MOST_NAME) for name in ("lane", "model"))
        name = body.text("deployment", most=MOST_NAME)
        deployment = chosen(services.catalog, lane, model, name)
        Catalog.ready(deployment)
        key_id = await lane_test_key(
            services.pool, pepper=services.secrets.key_pepper, actor=ACTOR, request_id=request.request_id
        )
        await note_lane_test(services.pool, lane, model, name, actor=ACTOR, request_id=request.request_id)
        caller = Caller(
            None, None, key_id, None, "kaixu lane test", request.request_id, "no-store", APP, facts=request.facts
        )
        return json_reply(
            {"lane": lane, "model": model, **await call(services, caller, await at_no_price(services, deployment))}
        )

    return [operator_route(services, "POST", "admin-lane-test", test, access=SETTINGS)]


def chosen(catalog: Catalog, lane: str, model: str, name: str | None) -> Deployment:
    """A model, or a single one of its deployments. Raises `Unprocessable` for what is not there."""
    models = catalog.models.get(lane)
    if models is None:
        raise Unprocessable(f"there is no lane `{lane}`{did_you_mean(lane, catalog.lanes)}", field="lane")
    found = models.get(model)
    if found is None:
        raise Unprocessable(f"lane `{lane}` has no model `{model}`{did_you_mean(model, models)}", field="model")
    if name is None:
        return found
    one = next((one for one in found.choices if one.name == name), None)
    if one is None:
        names = [one.name for one in found.choices]
        raise Unprocessable(f"there is no deployment `{name}`{did_you_mean(name, names)}", field="deployment")
    return msgspec.structs.replace(one, others=())


async def at_no_price(services: Services, deployment: Deployment) -> Deployment:
    """The deployment at a price of 0, which is stored as a version like every price. Its cost is untouched."""
    prices = services.gate.plan_prices
    assert prices is not None  # every gateway has them
    others = tuple(msgspec.structs.replace(one, price=one.price or FREE) for one in deployment.others)
    priced = msgspec.structs.replace(deployment, price=deployment.price or FREE, others=others)
    return await prices.multiplied(priced, 0)


async def call(services: Services, caller: Caller, deployment: Deployment) -> dict[str, Any]:
    """Make the call; how it ended. Raises what admission refuses: then nothing was called."""
    admission: Admission[ChatTicket] | Admission[EmbedTicket]
    text: str | None = None
    error: Exception | None = None
    if deployment.kind == "chat":
        request = ChatRequest(
            model=deployment.upstream, messages=(Message("user", (TextPart(PROMPT),)),), max_tokens=MOST_TOKENS
        )
        chat = admission = admit_chat(services.gate, caller, deployment, deployment.provider, request, operation="test")
        try:
            async with asyncio.timeout(PATIENCE_S):
                _, events = await run_call(services, chat)
            text = "".join(event.text for event in events if isinstance(event, ChatDelta))[:SHOWN]
        except TimeoutError:
            error = UpstreamTimeout(f"the vendor did not answer within {PATIENCE_S:g} s")
        except KaixuError as raised:
            error = raised
    else:
        embed_request = EmbedRequest(model=deployment.upstream, inputs=(WORD,))
        embed = admission = admit_embed(
            services.gate, caller, deployment, deployment.provider, embed_request, operation="test"
        )
        try:
            async with asyncio.timeout(PATIENCE_S), embed as ticket:
                vectors = await embed_vectors(services.gate, ticket, embed_request)
            text = f"a vector of {len(vectors[0]):,} numbers"
        except TimeoutError:
            error = UpstreamTimeout(f"the vendor did not answer within {PATIENCE_S:g} s")
        except KaixuError as raised:
            error = raised
    if admission.ticket is None:
        assert error is not None
        raise error
    return result_json(admission.ticket, text, error)


def result_json(ticket: ModelTicket, text: str | None, error: Exception | None) -> dict[str, Any]:
    """How the call ended, with what it cost the operator. The vendor's words are cleaned and for operators only."""
    bill = ticket.settlement
    assert bill is not None
    served = ticket.served
    result: dict[str, Any] = {
        "ok": error is None,
        "deployment": None if served is None else served.name,
        "upstream": None if served is None else served.upstream,
        "ms": bill.duration_ms,
        "text": text,
        "usage": {"input_tokens": bill.input_tokens, "output_tokens": bill.output_tokens, "source": bill.usage_source},
        "cost_usd": usd(bill.cost_nusd),
        "vendor_cost_usd": usd(bill.vendor_cost_nusd) if bill.vendor_cost_known else None,
        "tries": [
            {"deployment": one.deployment, "at_ms": one.at_ms, "took_ms": one.took_ms, "error": one.error}
            for one in ticket.tried
        ],
        "has_event": ticket.ask.facts.has_usage_event,
        "request_id": ticket.ask.request_id,
        "failure": None,
    }
    if error is not None:
        failure = failure_of(error)
        message = error.message if isinstance(error, KaixuError) else "the call failed"
        result["failure"] = {
            "code": failure.code,
            "message": message,
            "vendor_status": failure.status,
            "reason": failure.reason,
            "words": failure.words,
        }
    return result
