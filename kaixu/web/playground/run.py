"""Runs a call of the playground and shows it; both playgrounds, the operator's and the customer's, are made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from kaixu.edge.response import SSE, Reply, json_reply
from kaixu.edge.sse import frame
from kaixu.plugin.errors import Unprocessable
from kaixu.web.addresses import gateway_url
from kaixu.web.api_calls import Api, ApiFailure, json_of
from kaixu.web.components import Card, Form, Markup, Page, Part
from kaixu.web.form_data import filled_again, shown_again
from kaixu.web.visits import NO_STORE, Visit

from .code import code_card, curl_code, python_code
from .request import chat_body
from .result import failed_card, result_card

#: What the calls of the playground are tagged with, to be found in reports.
APP = "playground"

#: The module that streams answers into the page.
SCRIPT = "playground.js"

#: The page with the form, the results below it, and its status.
Shown = Callable[[Form, Sequence[Part], int], Page]

#: The API as a key sees it.
AsKey = Callable[[], Awaitable[Api]]


async def run_playground(visit: Visit, form: Form, *, as_key: AsKey, page: Shown, call_path: str) -> Page | Reply:
    """Answer a form of the playground: with a page, with a stream for the script, or with code.

    `as_key`: a coroutine function that gives the API as the key sees it. `page`: the page with the form and a result.
    """
    wanted = visit.request.headers.get("accept") or ""
    is_second = visit.form.get("use") == "second"
    try:
        body = chat_body(visit.form, second=is_second)
        base = gateway_url(visit)
        if visit.form.has("only_code"):
            if wanted.startswith("application/json"):
                return json_reply({"curl": curl_code(base, body), "python": python_code(base, body)}, headers=NO_STORE)
            return page(filled_again(form, visit.form), [code_card(base, body)], 200)
        api = await as_key()
        if wanted.startswith("text/event-stream"):
            return await stream(visit, api, body)
        bodies = [body] if not visit.form.get("second_model") else [body, chat_body(visit.form, second=True)]
    except (ApiFailure, Unprocessable) as error:
        if wanted.startswith("text/event-stream"):
            return failed_stream(visit, error)
        return page(shown_again(form, visit.form, error), [], error.status)
    width = 12 // len(bodies)
    cards = await asyncio.gather(*(run_once(visit, api, one, call_path, width) for one in bodies))
    return page(filled_again(form, visit.form), [*cards, Card("As code", [code_card(base, body)], open=False)], 200)


def headers_of(visit: Visit) -> dict[str, str]:
    """The headers of the call: the app, and the device if one was named."""
    headers = {"x-kaixu-app": APP}
    if install_id := visit.form.get("install_id"):
        headers["x-kaixu-install-id"] = install_id
    return headers


async def run_once(visit: Visit, api: Api, body: Mapping[str, Any], call_path: str, width: int) -> Card:
    """One call, as a card."""
    began = monotonic()
    href = visit.url(call_path, event=visit.request.request_id)
    try:
        reply = await api.reply("POST", "gateway-chat", body=body, headers=headers_of(visit))
    except ApiFailure as failure:
        took = elapsed_ms(began)
        return failed_card(failure, took_ms=took, call_href=href, width=width, model=str(body["model"]))
    return result_card(
        json_of(reply), took_ms=elapsed_ms(began), request_id=visit.request.request_id, call_href=href, width=width
    )


async def stream(visit: Visit, api: Api, body: Mapping[str, Any]) -> Reply:
    """The key's own stream, as the reply to the page's script."""
    try:
        return await api.reply("POST", "gateway-stream", body=body, headers=headers_of(visit))
    except ApiFailure as failure:
        return failed_stream(visit, failure)


def failed_stream(visit: Visit, error: ApiFailure | Unprocessable) -> Reply:
    """A refusal as the event that a stream would end with, so that the script has one way to read it."""
    body = {
        "error": error.message,
        "code": error.code,
        "hint": error.hint,
        "field": error.field,
        "status": error.status,
        "request_id": visit.request.request_id,
    }
    return Reply(200, {"content-type": SSE, **NO_STORE}, frame("error", body))


def elapsed_ms(began: float) -> int:
    """Milliseconds since a moment."""
    return round((monotonic() - began) * 1000)


def output_part(call_path: str) -> Markup:
    """Where the script writes answers; empty without it."""
    return Markup("playground.html", {"call_href": f"{call_path}?"})
