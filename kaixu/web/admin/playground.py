"""The operators' playground: chats with any model as any key.

A call runs in the name of a key by a session that `admin-key-session` makes for it, one for each call, so the audit
log has who tried what as whom. The token never leaves this process: the page calls the API in-process with it, and
relays the answer or its stream. A cookie with it would be a second credential in the browser, to be kept apart from
the operator's; in a script or an address it could be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.accounts.operator_identity import CUSTOMERS, KEYS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import Api, ApiFailure
from kaixu.web.components import Card, Field, Form, Link, Notice, Option, Page, Part, Prose
from kaixu.web.navigation import TABS
from kaixu.web.playground.form import models_table, playground_form
from kaixu.web.playground.run import SCRIPT, output_part, run_playground
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .choose_customer import choose_customer
from .key_actions import key_of
from .test_customer import TEST_CUSTOMER, make_test_customer, test_customer_card
from .usage_calls import CALL

TAB = TABS["playground"]
MOST_KEYS = 200


def playground_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return [
        *site.operator_page(TAB.path, playground, tab=TAB, access=KEYS, posts=True),
        *site.operator_page(TEST_CUSTOMER, make_test_customer, tab=TAB, access=CUSTOMERS, posts=True),
    ]


async def playground(visit: Visit) -> Page | Reply:
    """The form, and what it sends."""
    if visit.customer is None:
        return Page(
            title=TAB.title,
            subtitle="Try any model as any customer's key, and see what the call costs.",
            parts=[
                await choose_customer(visit, "The call is made with one of its keys: its limits count, and it pays."),
                await test_customer_card(visit),
            ],
        )
    keys = await usable_keys(visit)
    if not keys:
        way = Link("Create a key", visit.url(TABS["keys"].path, customer_id=visit.customer_id))
        text = f"{visit.customer['email']} has no key that works."
        return Page(title=TAB.title, parts=[Notice(state="warn", text=text, actions=[way])])
    key = await chosen_key(visit, keys)
    if key["revoked_at"] is not None:
        way = Link("Choose another key", visit.url(TAB.path, customer_id=visit.customer_id))
        text = f"Key …{key['key_last4']} is revoked: nothing can be called with it."
        return Page(title=TAB.title, parts=[Notice(state="warn", text=text, actions=[way])], status=409)
    found = await visit.api.get("admin-models", key_id=key["id"])
    action = visit.url(TAB.path, customer_id=visit.customer_id, key_id=key["id"])
    form = playground_form(action, found["models"], {"key_id": str(key["id"])}, pays=who_pays(visit))

    def page(shown: Form, results: Sequence[Part], status: int) -> Page:
        return Page(
            title=TAB.title,
            subtitle=f"As {key['label']} …{key['key_last4']} of {customer_email(visit)}.",
            parts=[
                key_form(visit, keys, key),
                Card("Call", [shown]),
                output_part(CALL),
                *results,
                Card("Models and prices", [models_table(found["models"])], open=False),
                about(),
            ],
            scripts=[SCRIPT],
            status=status,
        )

    async def as_key() -> Api:
        made = await visit.api.send("POST", "admin-key-session", {"key_id": key["id"]})
        return Api(visit.api.routes, visit.request, f"Bearer {made['token']}")

    if visit.is_post:
        return await run_playground(visit, form, as_key=as_key, page=page, call_path=CALL)
    return page(form, [], 200)


def customer_email(visit: Visit) -> str:
    """The address of the selected customer."""
    assert visit.customer is not None
    return str(visit.customer["email"])


async def usable_keys(visit: Visit) -> list[dict[str, Any]]:
    """The keys of the selected customer that are not revoked, newest first."""
    try:
        found = await visit.api.get("admin-keys", customer_id=visit.customer_id, revoked=False, limit=MOST_KEYS)
    except ApiFailure as failure:
        if failure.code == "UNKNOWN_CUSTOMER":
            return []
        raise
    keys: list[dict[str, Any]] = found["keys"]
    return keys


async def chosen_key(visit: Visit, keys: Sequence[dict[str, Any]]) -> Mapping[str, Any]:
    """The key of the address or the form, also one that is not in the list; else the newest. Raises `NotFound`."""
    given = visit.query.get("key_id") or visit.form.get("key_id")
    if not given:
        return keys[0]
    return next((one for one in keys if str(one["id"]) == given), None) or await key_of(visit, given)


def key_form(visit: Visit, keys: Sequence[Mapping[str, Any]], key: Mapping[str, Any]) -> Form:
    """Choosing the key."""
    listed = keys if key["id"] in {one["id"] for one in keys} else [*keys, key]
    options = [Option(str(one["id"]), f"{one['label']} …{one['key_last4']} ({one['role']})") for one in listed]
    return Form(
        action=TAB.path,
        method="get",
        inline=True,
        id="choose-key",
        submit="Use this key",
        hidden={"customer_id": str(visit.customer_id)},
        fields=[Field(name="key_id", label="Key", type="select", value=str(key["id"]), options=options)],
    )


def who_pays(visit: Visit) -> str:
    """Who pays, and what it leaves behind."""
    assert visit.customer is not None
    if visit.customer["price_factor"] == "0":
        return (
            "This customer's plan has the price factor 0: its calls cost it nothing. What the vendor charges you is "
            "recorded all the same."
        )
    return (
        f"{customer_email(visit)} pays for this call, and the key's rates, caps and allowlists apply as to its own "
        "calls. The audit log says that it was you."
    )


def about() -> Prose:
    """What a session for a key is."""
    return Prose(
        tip=True,
        paragraphs=[
            "Each call gets a session of its own for the key, which is made on the server, is written to the audit "
            "log with your name, and is never sent to this page. Nobody needs to tell you a key, and you need not "
            "store one.",
            "Calls from here carry the app tag playground, so reports of usage can leave them out.",
        ],
    )
