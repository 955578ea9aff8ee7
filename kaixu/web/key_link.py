"""The page of a link that was mailed: a button, which makes the key. Opening the page does nothing.

Mail scanners open every link, so only the button's POST uses it.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from kaixu.accounts.key_links import PATH, require_usable, use_link
from kaixu.accounts.selfservice_keys import SelfserviceKey
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.edge.throttle import Throttle

from .addresses import gateway_url
from .api_calls import Api
from .components import Card, Form, Link, Page, Prose, Snippet
from .form_data import FormData
from .navigation import SIGN_IN
from .page import plain_page, shown_as_page
from .site import Site
from .visits import Visit

MAX_FIELDS = 5

ABOUT = (
    "Press the button to get a new key. If you have a self-service key already, it stops working; other keys are not "
    "touched."
)


def key_link_pages(site: Site) -> list[Route]:
    """The routes of the page."""
    services = site.services
    throttle = Throttle(per_address=60, in_all=1200, window_s=60)
    peppers = services.secrets.key_peppers

    async def show(request: IncomingRequest) -> Reply:
        throttle.require(request.address)
        token = request.args.get("token", "")
        await require_usable(services.pool, peppers, token)
        form = Form(action=PATH, fields=[], submit="Make my key", hidden={"token": token}, id="make")
        card = Card("A new key", [Prose(paragraphs=[ABOUT]), form], width=6)
        return plain_page(request, Page(title="Your key", parts=[card]))

    async def use(request: IncomingRequest) -> Reply:
        throttle.require(request.address)
        made = await use_link(
            services.pool,
            services.settings,
            peppers,
            services.selfservice.limits,
            token_in(request.body),
            request_id=request.request_id,
        )
        visit = Visit(services, request, Api(site.api, request), "public", None, FormData())
        return site.page_reply(visit, key_page(visit, made))  # the address of this reply has no token

    return [
        Route(
            method,
            (PATH,),
            shown_as_page(handler, links=[Link("Request a key", "/request-key")]),
            auth="public",
            rate="address",
            max_body_bytes=SMALL_BODY_BYTES,
        )
        for method, handler in (("GET", show), ("POST", use))
    ]


def token_in(body: bytes) -> str:
    """The token of a form; empty if there is none."""
    try:
        fields = parse_qsl(body.decode("ascii"), max_num_fields=MAX_FIELDS)
    except ValueError:
        return ""
    return dict(fields).get("token", "")


def key_page(visit: Visit, made: SelfserviceKey) -> Page:
    """The key, once, how to send it, and the way into the dashboard."""
    first = f'curl {gateway_url(visit)}/v1/models -H "authorization: Bearer {made.key}"'
    about = Prose(
        paragraphs=["Send the key with each request, as in this command. It lists the models that you can call."],
        links=[Link("Documentation", "/docs")],
    )
    sign_in = Form(action=SIGN_IN, fields=[], submit="Open my dashboard", hidden={"key": made.key}, id="open")
    return Page(
        title="Your key",
        parts=[
            Card("The key", [Snippet(made.key, title="Key", secret=True)]),
            Card("Next", [about, Snippet(first, "sh", "A first request"), sign_in]),
        ],
    )
